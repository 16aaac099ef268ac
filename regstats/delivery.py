"""How a message gets to its destination: as a file, as mail, or by a webhook. Whatever fails is a DeliveryError."""

import re
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import format_datetime
from logging import getLogger
from pathlib import Path
from typing import Any

import msgspec

from regstats.agenda import Destination, Mail, revealed
from regstats.config import Settings
from regstats.errors import ConfigError, DeliveryError
from regstats.outbox import Attachment, Message
from regstats.parts import appearing
from regstats.requesting import UnreachableError, ask, is_address
from regstats.terminal import visible

_log = getLogger(__name__)

_TIMEOUT = 30.0
"""Seconds that a server may take for a step."""
_LONGEST = {"slack": 3_000, "mattermost": 16_000}
"""Characters of a text; longer ones are refused or cut by the services."""


def deliver(message: Message, settings: Settings) -> None:
    """Sends a message to its destination. Raises DeliveryError where it does not arrive."""
    destination = settings.destinations.get(message.to)
    if destination is None:
        raise DeliveryError(f"There is no destination {message.to!r} any more.")
    try:
        if destination.directory is not None:
            _to_directory(message, Path(destination.directory))
        elif destination.mail and settings.mail:
            _to_mail(message, destination.mail, settings.mail)
        elif destination.webhook:
            _to_webhook(message, destination)
    except ConfigError as error:
        raise DeliveryError(str(error)) from None


# Files


def _to_directory(message: Message, folder: Path) -> None:
    """Writes what is attached, or else the text, and lets the link `…-latest` point to it."""
    files = message.attachments or [Attachment(f"{message.name}.md", "text/markdown", message.text.encode())]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            stem, suffix = message.name, Path(file.name).suffix
            path = folder / f"{stem}-{message.at:%Y-%m-%dT%H%M}Z{suffix}"
            with appearing(path) as unseen:
                unseen.write_bytes(file.content)
            _link(folder / f"{stem}-latest{suffix}", path.name)
    except OSError as error:
        raise DeliveryError(f"Cannot write to {folder}: {error.strerror or error}.") from None


def _link(link: Path, target: str) -> None:
    """Lets a link point to something else, at one moment."""
    unseen = link.with_name(f".{link.name}.tmp")
    unseen.unlink(missing_ok=True)
    unseen.symlink_to(target)
    unseen.rename(link)


# Mail


def _to_mail(message: Message, addresses: list[str], server: Mail) -> None:
    mail = as_mail(message, addresses, server.sender)
    try:
        with _connected(server) as connection:
            if server.user is not None:
                connection.login(server.user, revealed(server.password or ""))
            refused = connection.send_message(mail)
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"Mail through {server.where[0]}:{server.where[1]} failed: {_why(error)}") from None
    if refused:
        # The others have it: to send it again would give it to them twice.
        _log.warning("The mail server refused some of the addresses.", extra={"fields": {"refused": sorted(refused)}})


def as_mail(message: Message, addresses: list[str], sender: str) -> EmailMessage:
    """The text, the same as HTML if there is that, and what is attached."""
    mail = EmailMessage()
    mail["Subject"] = visible(message.subject)
    mail["From"], mail["To"] = sender, ", ".join(addresses)
    mail["Date"] = format_datetime(message.made_at)
    mail["Message-ID"] = f"<{message.id}@regstats.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html")
    for file in message.attachments:
        main, _, sub = file.type.partition("/")
        mail.add_attachment(file.content, maintype=main, subtype=sub, filename=file.name)
    return mail


def _connected(server: Mail) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=server.ca)
    if server.security == "tls":
        return smtplib.SMTP_SSL(*server.where, timeout=_TIMEOUT, context=context)
    connection = smtplib.SMTP(*server.where, timeout=_TIMEOUT)
    if server.security == "starttls":
        try:
            connection.starttls(context=context)
        except BaseException:
            connection.close()
            raise
    return connection


def _why(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return visible(f"{error.smtp_code} {said}")
    return visible(str(error) or type(error).__name__)


# Webhooks


def _to_webhook(message: Message, destination: Destination) -> None:
    url = revealed(destination.webhook or "")
    if not is_address(url):
        raise DeliveryError(f"The webhook of {message.to!r} is not an address that begins with https:// or http://.")
    headers = {"Content-Type": "application/json", "User-Agent": "regstats", "Idempotency-Key": message.id}
    body = msgspec.json.encode(STYLES[destination.style](message))
    try:
        answer = ask(url, "POST", body, headers, _TIMEOUT)
    except UnreachableError as error:
        raise DeliveryError(f"The webhook of {message.to!r} cannot be reached: {error}") from None
    if not 200 <= answer.status < 300:
        raise DeliveryError(f"The webhook of {message.to!r} answered {answer.status} {answer.text[:200]}".rstrip())


def _as_json(message: Message) -> dict[str, Any]:
    told = {name: getattr(message, name) for name in ("id", "kind", "name", "subject", "text", "at")}
    return told | message.fields


def _as_slack(message: Message) -> dict[str, Any]:
    """Slack's own marks: `*bold*`, and no tables. `<` would begin a link or call somebody."""
    text = re.sub(r"^#+ (.*)$", r"*\1*", message.text, flags=re.MULTILINE)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("**", "*")
    return {"text": _cut(text, _LONGEST["slack"])}


def _as_mattermost(message: Message) -> dict[str, Any]:
    return {"text": _cut(message.text, _LONGEST["mattermost"])}


def _cut(text: str, longest: int) -> str:
    """Whole lines of a text, as many as fit."""
    if len(text) <= longest:
        return text
    return text[:longest].rpartition("\n")[0] + "\n…"


STYLES: dict[str, Callable[[Message], dict[str, Any]]] = {
    "json": _as_json,
    "slack": _as_slack,
    "mattermost": _as_mattermost,
}
"""What is posted."""
