"""`regstats doctor`: from the registry's configuration to the numbers, where do events get lost?

What is asked of the registry and of the collector changes nothing there, unless a probe is wanted (`probe`).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

from msgspec import Struct

from regstats import received, registry_config, symptoms
from regstats.config import DEFAULT_SOURCE, Exclude, Settings
from regstats.credentials import Login
from regstats.errors import ActionError, ConfigError, RegstatsError
from regstats.findings import CONFIG, Finding, Status
from regstats.probe import AGENT, Probe, is_deployed
from regstats.registry_config import Endpoint, Wanted, is_same, place
from regstats.requesting import UnreachableError, ask, bearer
from regstats.session import Session
from regstats.stats import Stats
from regstats.store import Store, utc_now
from regstats.symptoms import Queue

_PATIENCE = 10.0  # seconds for one answer
_LOOKS, _PAUSE = 10, 0.2  # how often, and after how many seconds, whether what waits goes away
_OWN = "with its token"
_OURSELVES = Exclude(clients=[f"{AGENT}/*"])


class Asked(Struct, frozen=True, kw_only=True):
    """What is there to be checked. What is None is not known."""

    settings: Settings
    has_settings: bool
    """Whether they were found; else they are what holds where nothing is said."""
    data: str | None = None
    registry: str | None = None
    login: Login | None = None
    insecure: bool | None = None
    ca: str | None = None
    config: Path | None = None
    """The registry's."""
    collector: str | None = None
    source: str | None = None
    token: str | None = None
    debug: str | None = None
    probe: str | None = None
    """To which repository."""
    wait: float = 15.0
    """Seconds until events must have come."""


class Doctor:
    """One examination. What comes later knows what came before."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._endpoint: Endpoint | None = None
        self._debug = asked.debug
        self._broken: set[str] = set()

    def examine(self) -> Iterator[Finding]:
        """All findings, as they are made: from the registry to the numbers."""
        checks: list[Callable[[], Iterator[Finding]]] = [
            self._configuration, self._collector, self._registry, self._queue, self._store, self._probe
        ]  # fmt: skip
        for check in checks:
            for finding in check():
                if finding.status == "problem":
                    self._broken.add(finding.check)
                yield finding

    # What it is all about

    @property
    def _base(self) -> str:
        """Where the collector is: as it is said, else as the registry has it, else as the settings have it."""
        if self._asked.collector:
            return place(self._asked.collector)[0]
        if self._endpoint is not None and self._endpoint.source:
            return place(self._endpoint.url)[0]
        return self._near

    @property
    def _near(self) -> str:
        """Where the collector of the settings is."""
        host = self._asked.settings.host
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it may listen, not where we do
        return f"http://{f'[{near}]' if ':' in near else near}:{self._asked.settings.port}"

    @property
    def _is_ours(self) -> bool:
        """Whether our token may be shown: not to whoever a registry's file happens to name."""
        token, endpoint = self._wanted.of(self._source).token, self._endpoint
        if self._asked.collector is not None or endpoint is None or is_same(endpoint.url, self._near):
            return True
        return token is not None and endpoint.shows(token)

    @property
    def _named(self) -> str | None:
        """The source that the collector's address names."""
        source = place(self._asked.collector)[1] if self._asked.collector else None
        return source if source != DEFAULT_SOURCE else None

    @property
    def _source(self) -> str:
        of_endpoint = self._endpoint.source if self._endpoint is not None else None
        return self._asked.source or self._named or of_endpoint or DEFAULT_SOURCE

    @property
    def _url(self) -> str:
        """Where deliveries go."""
        return f"{self._base}/events{'' if self._source == DEFAULT_SOURCE else f'/{self._source}'}"

    @property
    def _wanted(self) -> Wanted:
        asked, settings = self._asked, self._asked.settings
        return Wanted(
            url=asked.collector,
            source=asked.source or self._named,
            token=asked.token or (None if asked.has_settings else settings.token),
            settings=settings if asked.has_settings else None,
            registry=asked.registry.rpartition("://")[2] if asked.registry else None,
        )

    # The checks

    def _configuration(self) -> Iterator[Finding]:
        if self._asked.config is None:
            yield _skipped(registry_config.CHECK, "what the registry is told", f"--registry-config, {CONFIG}")
            return
        try:
            config = registry_config.read(self._asked.config)
        except ConfigError as error:
            yield Finding(registry_config.CHECK, "problem", str(error), "Name the registry's own file.")
            return
        self._debug = self._debug or _here(registry_config.debug_address(config))
        self._endpoint, findings = registry_config.examine(config, self._wanted)
        yield from findings

    def _collector(self) -> Iterator[Finding]:
        settings = self._asked.settings
        token = (settings.read.token or self._asked.token or settings.token) if self._is_ours else None
        try:
            answer = ask(f"{self._base}/healthz", "GET", None, bearer(token) if token else {}, _PATIENCE)
        except UnreachableError as error:
            yield symptoms.unreachable(self._base, str(error), settings)
            return
        yield from symptoms.told(answer, f"{self._base}/healthz")
        yield from symptoms.apart("collector", answer.headers, utc_now())
        yield from self._taken()

    def _taken(self) -> Iterator[Finding]:
        """Whether a delivery would be taken: with the right token if it is known, else with the registry's."""
        right, headers, whose = self._wanted.of(self._source), {}, "without a token"
        if right.token and self._is_ours:
            headers, whose = bearer(right.token), _OWN
        elif self._endpoint is not None and self._endpoint.authorization:
            headers, whose = {"Authorization": self._endpoint.authorization[0]}, "with what the registry shows"
        elif right.signing_secret:
            yield _skipped("collector", "whether a delivery is taken", "a sender that signs")
            return
        try:
            answer = ask(self._url, "OPTIONS", None, headers, _PATIENCE)
        except UnreachableError as error:
            yield symptoms.unreachable(self._url, str(error), self._asked.settings)
            return
        is_unknown = answer.status == HTTPStatus.UNAUTHORIZED
        if is_unknown and not headers and self._endpoint is None:
            yield _skipped("collector", "whether a delivery is taken", "what it wants to be shown: --token")
        elif is_unknown and whose == _OWN:
            yield symptoms.of_another(self._url)
        else:
            yield symptoms.taken(answer, self._source, self._url, whose)

    def _registry(self) -> Iterator[Finding]:
        if self._asked.registry is None:
            yield _skipped("registry", "whether it can be asked", "--registry HOST:PORT")
            return
        with closing(self._session()) as session:
            try:
                with session.asked("GET", "/v2/") as answer:
                    headers = answer.headers
                base = session.base
            except ActionError as error:
                yield symptoms.unasked(str(error), session.registry, self._asked.login)
                return
        yield symptoms.answered(base, headers, self._asked.login)
        yield from symptoms.apart("registry", headers, utc_now())

    def _session(self) -> Session:
        asked = self._asked
        return Session(
            asked.registry or "", asked.login, insecure=asked.insecure, ca=asked.ca, timeout=_PATIENCE, tries=1,
            writes_as=AGENT,
        )  # fmt: skip

    def _queue(self) -> Iterator[Finding]:
        if self._debug is None:
            yield _skipped("queue", "what the registry has not delivered", "--debug URL, of its http.debug.addr")
            return
        url = f"{self._debug.rstrip('/').removesuffix('/debug/vars')}/debug/vars"
        try:
            listed = _listed(url)
        except UnreachableError as error:
            status: Status = "problem" if self._asked.debug is not None else "skipped"
            remedy = "It can be asked on the registry's own machine, or at another address: --debug URL"
            yield Finding("queue", status, f"{url} cannot be reached: {error}", remedy)
            return
        yield from symptoms.queued(listed, self._url, self._endpoint.url if self._endpoint is not None else None)

    def _store(self) -> Iterator[Finding]:
        data, is_given = self._data, self._asked.data is not None
        try:
            root = Store(data).root
            found = list(received.kept(self._stats(), self._stats(_OURSELVES), data, self._asked.source))
        except RegstatsError as error:
            yield Finding(
                "store", "problem" if is_given else "skipped", str(error).partition(". ")[0], "Name it: --data DIR"
            )
            return
        if not os.access(root, os.W_OK):
            remedy = "The collector must: look who it runs as, and whether the disk is read-only."
            yield Finding("store", "hint", f"{data} cannot be written by whoever asks", remedy)
        yield from found

    @property
    def _data(self) -> str:
        return self._asked.data or self._asked.settings.data

    def _stats(self, exclude: Exclude | None = None) -> Stats:
        return Stats(self._data, exclude=exclude or self._asked.settings.exclude)

    def _probe(self) -> Iterator[Finding]:
        repository, what = self._asked.probe, "whether what is pushed is told"
        broken = sorted(self._broken & {"configuration", "collector", "registry", "queue", "store"})
        if repository is None or self._asked.registry is None:
            yield _skipped("probe", what, "--registry HOST:PORT --probe")
        elif broken:
            yield _skipped("probe", what, f"that what is wrong with the {' and the '.join(broken)} is put right")
        elif not Path(self._data).is_dir():
            yield _skipped("probe", what, "the store: --data DIR")
        elif rules := is_deployed(self._asked.settings.deploy, repository):
            what = f"not tried: {', '.join(rules)} of [[deploy]] may deploy what is pushed to {repository}"
            yield Finding("probe", "warning", what, "Name another repository: --probe REPOSITORY")
        else:
            yield from self._tried(repository)

    def _tried(self, repository: str) -> Iterator[Finding]:
        """The probe; and if it finds something wrong, what waits now."""
        is_wrong = False
        with closing(self._session()) as session:
            for finding in Probe(session, self._stats(), repository, self._asked.login).findings(self._asked.wait):
                is_wrong |= finding.status == "problem"
                yield finding
        if is_wrong and self._debug is not None:
            yield from self._queue()


def _skipped(check: str, what: str, needs: str) -> Finding:
    return Finding(check, "skipped", f"not looked at: {what}", f"It needs {needs}.")


def _listed(url: str) -> list[Queue] | None:
    """The registry's queues, when what is just being delivered is."""
    for look in range(_LOOKS):
        time.sleep(_PAUSE if look else 0)
        listed = symptoms.endpoints_of(ask(url, "GET", None, {}, _PATIENCE))
        if not any(queue.metrics.pending for queue in listed or []):
            break
    return listed


def _here(address: str | None) -> str | None:
    """Where to ask a server that listens at `:5001`, or at all addresses."""
    if not address:
        return None
    host, _, port = address.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"  # noqa: S104
