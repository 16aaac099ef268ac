"""Requests to one registry: where it is, who we are there, and what is to be said of an answer that is not a good one.

What is only looked at is asked for as `regstats/…`, which is not counted as a pull unless the settings say so; what is
written is sent as `regstats-images/…`.
"""

import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter

from regstats import __version__, config
from regstats.credentials import Login
from regstats.errors import ActionError
from regstats.names import HUB
from regstats.requesting import basic, bearer, is_address, is_passing
from regstats.terminal import visible

Result = TypeVar("Result")

MOST = 4 * 1024 * 1024
"""Bytes of a manifest, as the specification has it; no other answer but a blob is longer."""
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_AGAIN = (429, 502, 503, 504)
_TRIES = 3
_PAUSE = 0.3  # seconds before the first time again
_SHOWN = 300  # characters of what a registry says
_OF_HUB = "registry-1.docker.io"
"""Where the registry of Docker Hub is, which names of images call docker.io."""
_NO_PROXIES: Any = {"http": None, "https": None}
"""On loopback, whatever $HTTP_PROXY says, as it is for docker."""


class Scope(NamedTuple):
    """For what a token is: as far as a request shows it."""

    repository: str
    method: str
    other: str = ""


class Session:
    """Asks one registry, in any number of threads. Raises ActionError where it does not do what it is asked.

    `registry` is `host:port`, or an address with `https://` or `http://`. An `insecure` one may have any certificate,
    or none; unless something is said, those on loopback are. `ca`: a file with the certificate of who vouches for it.
    `writes_as`: the name of the program that the registry is told when something is written.
    """

    def __init__(
        self,
        registry: str,
        login: Login | None = None,
        *,
        insecure: bool | None = None,
        ca: str | None = None,
        timeout: float = 60,
        tries: int = _TRIES,
        jobs: int = 1,
        writes_as: str = "regstats-images",
    ) -> None:
        scheme, _, host = registry.rpartition("://")
        self.registry = urlsplit(f"//{host}").netloc
        self._place = _OF_HUB if self.registry in HUB else self.registry
        self._login, self._timeout, self._scheme, self._writes_as = login, timeout, scheme, writes_as
        self._is_here = config.is_loopback(self.host)
        self._insecure = self._is_here if insecure is None else insecure
        self._verify: bool | str = ca or (not self._insecure and _trusted())
        self._basic = basic(login.user, login.password) if login is not None and login.user else {}
        self._known: dict[Scope, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._session = requests.Session()
        retry = urllib3.Retry(
            tries - 1, backoff_factor=_PAUSE, status_forcelist=_AGAIN, allowed_methods=("GET", "HEAD", "DELETE"),
            raise_on_status=False,
        )  # fmt: skip
        for prefix in ("https://", "http://"):
            self._session.mount(prefix, HTTPAdapter(pool_maxsize=max(jobs, 10), max_retries=retry))
        if self._insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    @property
    def host(self) -> str:
        """Its name or address, without the port."""
        return urlsplit(f"//{self.registry}").hostname or ""

    def close(self) -> None:
        """Lets go of its connections."""
        self._session.close()

    @cached_property
    def base(self) -> str:
        """Where it is. Of insecure ones it has to be tried: on loopback most have no TLS, elsewhere most have."""
        if self._scheme or not self._insecure:
            return f"{self._scheme or 'https'}://{self._place}"
        reasons = []
        for scheme in ("http", "https") if self._is_here else ("https", "http"):
            try:
                with closing(self._sent("GET", f"{scheme}://{self.registry}/v2/", {})) as answer:
                    if answer.status_code != 400:  # what servers with TLS say to those without
                        return f"{scheme}://{self.registry}"
            except ActionError as error:
                reasons.append(str(error))
        raise ActionError(reasons[0] if reasons else f"{self.registry} is no registry: it says 400 to everything.")

    @contextmanager
    def asked(
        self,
        method: str,
        path: str,
        *,
        scope: Scope | None = None,
        accept: str = "*/*",
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        gone: tuple[int, ...] = (),
    ) -> Iterator[requests.Response]:
        """The answer to a request, if it is a good one, or one of those that say that something is not there."""
        url = urljoin(self.base, path)
        scope = scope or Scope(path.partition("/manifests/")[0].partition("/blobs/")[0], _right(method))
        sent = {"Accept": accept, **(headers or {})}
        with closing(self._authorized(method, url, scope, sent, data)) as answer:
            if not answer.ok and answer.status_code not in gone:
                raise self._refused(answer, method)
            yield answer

    def _authorized(self, method: str, url: str, scope: Scope, headers: dict[str, str], data: Any) -> requests.Response:
        """An answer, after it has been shown who we are, where the registry asks for that."""
        before = self._shown(url, scope)
        answer = self._sent(method, url, headers | before, data)
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code != 401 or not challenge:
            return answer
        with ExitStack() as stack:
            stack.callback(answer.close)
            fresh = self._answer_to(challenge)
            if not fresh or fresh == before:
                stack.pop_all()
                return answer
        with self._lock:
            self._known[scope] = fresh
        return self._sent(method, url, headers | self._shown(url, scope), data)

    def _shown(self, url: str, scope: Scope) -> dict[str, str]:
        """Who we are is nobody's business but the registry's: uploads may go to another server."""
        if urlsplit(url).netloc != self._place:
            return {}
        with self._lock:
            return self._known.get(scope, self._basic)

    def _answer_to(self, challenge: str) -> dict[str, str] | None:
        """The header that the registry asks for; None if we have nothing to show."""
        kind, _, parameters = challenge.partition(" ")
        if kind.lower() == "bearer":
            return bearer(self._token(dict(_PARAMETER.findall(parameters))))
        return self._basic if kind.lower() == "basic" else None

    def _token(self, asked: dict[str, str]) -> str:
        """What a token service gives (distribution's "Token Authentication Specification").

        Raises ActionError: it refuses, or could be overheard where the registry cannot.
        """
        realm, login = asked.pop("realm", ""), self._login
        if not is_address(realm):
            raise ActionError(f"{self.registry} asks for a token, and does not say where to get it.", again=False)
        if self.base.startswith("https:") and not realm.startswith("https:"):
            raise ActionError(
                f"{self.registry} would have our login sent without TLS, to {visible(realm)}.", again=False
            )
        asked.pop("error", None)
        if login is not None and login.identity_token:
            form = asked | {
                "grant_type": "refresh_token",
                "refresh_token": login.identity_token,
                "client_id": "regstats",
            }
            answer = self._sent("POST", realm, {}, form)
        else:
            answer = self._sent("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}", self._basic)
        with closing(answer):
            if not answer.ok:
                raise self._refused(answer, "GET", f"The token service of {self.registry}")
            given = self.decoded(answer, dict[str, Any])
        token = given.get("token") or given.get("access_token")
        if not isinstance(token, str):
            raise ActionError(f"The token service of {self.registry} gave no token.", again=False)
        return token

    def _sent(self, method: str, url: str, headers: dict[str, str], data: Any = None) -> requests.Response:
        """One request. Nobody but us says who we are: requests would take it from ~/.netrc."""
        looks = method in ("GET", "HEAD")
        agent = {"User-Agent": f"{'regstats' if looks else self._writes_as}/{__version__}"}
        try:
            return self._session.request(
                method, url, headers=agent | headers, data=data, timeout=self._timeout, stream=True,
                verify=self._verify, allow_redirects=looks, auth=lambda request: request,
                proxies=_NO_PROXIES if self._is_here else None,
            )  # fmt: skip
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ActionError(f"{self.registry} cannot be reached: {cause(error)}") from None

    def body(self, answer: requests.Response) -> bytes:
        """All of an answer."""
        try:
            body: bytes = answer.raw.read(MOST + 1, decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ActionError(f"{self.registry} broke off: {cause(error)}") from None
        if len(body) > MOST:
            raise ActionError(f"{self.registry} says more than {MOST:,} bytes.", again=False)
        return body

    def decoded(self, answer: requests.Response, kind: type[Result]) -> Result:
        """What is said in JSON."""
        try:
            return msgspec.json.decode(self.body(answer), type=kind)
        except msgspec.DecodeError as error:
            raise ActionError(f"{self.registry} does not answer as a registry does: {error}", again=False) from None

    def _refused(self, answer: requests.Response, method: str, who: str | None = None) -> ActionError:
        """What is to be said of an answer that is not what was hoped for."""
        status, why = answer.status_code, self._said(answer)
        name, user = who or self.registry, f" {visible(self._login.user)}" if self._login and self._login.user else ""
        if status == 401:
            text = f"{name} refuses{user or ' us'}: wrong user or password" if self._login else f"{name} wants a login"
        elif status == 403:
            text = f"{name} does not allow{user or ' us'} to do this ({method})"
        else:
            text = f"{name} answers {status} to {method} {urlsplit(answer.url).path}"
        return ActionError(f"{text}{f': {why}' if why else '.'}", again=is_passing(status))

    def _said(self, answer: requests.Response) -> str:
        """A registry's own words, as the specification has them."""
        try:
            said = msgspec.json.decode(answer.raw.read(MOST, decode_content=True))
            parts = [f"{error['code']} {error.get('message') or ''}".strip() for error in said["errors"]]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, OSError, urllib3.exceptions.HTTPError):
            return ""
        return visible("; ".join(parts))[:_SHOWN]


def cause(error: BaseException) -> str:
    """What is at the bottom of an error that has been wrapped again and again."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return visible(str(getattr(error, "strerror", None) or error or type(error).__name__))


def _trusted() -> str | bool:
    """The certificates that this machine trusts, or `$SSL_CERT_FILE`; requests would bring its own."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _right(method: str) -> str:
    """Requests that need the same right can show the same token."""
    return "GET" if method == "HEAD" else method
