"""Every metric, slow and obvious, to check the SQL against: one function each that reads like its definition.

All are over events. A row is a tuple in the order of the metric's columns, with None for what is missing; periods are
naive datetimes (days) or instants (hours). What counts as a pull is `oracle`'s to say.
"""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import pairwise
from math import ceil
from types import SimpleNamespace
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import oracle

from regstats.config import Exclude

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PULL_KINDS = ("pull_by_tag", "pull_by_digest")

# Tags that the tests use, and what they are: told, not computed.
IMMUTABLE = {"1.2.3", "v2.0.1-rc.1", "2026-11-24", "main-3f43b61"}
SIGNATURES = {"sha256-" + "a" * 64, "sha256-" + "b" * 64 + ".sig"}


class Asked(NamedTuple):
    """What is asked of a metric."""

    now: datetime
    since: datetime | None = None
    until: datetime | None = None
    repository: tuple = ()
    tag: tuple = ()
    actor: tuple = ()
    client: tuple = ()
    source: tuple = ()
    interval: str = "total"
    by: tuple = ()
    tz: str = "UTC"
    measure: str = "pulls"
    at: datetime | None = None
    days: int = 90
    exclude: Exclude = Exclude()

    @property
    def end(self):
        return self.now if self.until is None else min(self.until, self.now)

    @property
    def zone(self):
        return ZoneInfo(self.tz)

    def is_place(self, row):
        return _matches(row.source, self.source) and _matches(row.repository, self.repository)

    def is_thing(self, row):
        return self.is_place(row) and _matches(row.tag, self.tag)

    def is_person(self, row):
        return _matches(row.actor, self.actor) and _matches(row.client, self.client)

    def is_past(self, row):
        return row.timestamp <= self.now and (self.until is None or row.timestamp < self.until)

    def is_in_window(self, row):
        return self.is_past(row) and (self.since is None or row.timestamp >= self.since)

    def asks_for(self, row):
        return self.is_thing(row) and self.is_person(row) and self.is_in_window(row)

    def counts(self, row):
        """Whether who did it is not excluded."""
        for glob in self.exclude.clients:
            if _matches(row.user_agent, [glob]) or _matches(row.client, [glob]):
                return False
        if any(_matches(row.actor, [glob]) for glob in self.exclude.actors):
            return False
        return row.client_address is None or not any(
            ip_address(row.client_address) in ip_network(network) for network in self.exclude.networks
        )


def _matches(text, globs):
    return not globs or (text is not None and any(fnmatchcase(text, glob) for glob in globs))


# What happened.


def in_order(rows):
    """As things happened; of what happened at once, by id."""
    return sorted(rows, key=lambda row: (row.timestamp, row.event_id))


def all_pulls(events):
    """Pulls, version checks and lookups: each with what its first request says."""
    first = {event.event_id: event for event in events}
    return [
        SimpleNamespace(
            **msgspec.structs.asdict(first[pull.event_id])
            | {"kind": pull.kind, "requests": pull.requests, "downloaded": pull.blobs > 1}
        )
        for pull in oracle.account(events)
    ]


def changes(events):
    """Pushes of manifests, and deletes."""
    return in_order(
        event
        for event in events
        if event.action == "delete" or (event.action == "push" and event.kind in ("manifest", "index"))
    )


def request_of(event):
    return event.source, event.repository, event.request_id or event.event_id, event.timestamp.date()


def moves(events):
    """When a tag was made to point to a manifest, or to nothing, one after another."""
    points_to, found = {}, []

    def move(tag, event, digest):
        place = (event.source, event.repository, tag)
        found.append(
            SimpleNamespace(
                **msgspec.structs.asdict(event)
                | {"tag": tag, "digest": digest, "before": points_to.get(place), "is_push": digest is not None}
            )
        )
        points_to[place] = digest

    named = {request_of(event) for event in events if event.action == "delete" and event.tag is not None}
    for event in changes(events):
        if event.action == "push" and event.tag is not None:
            move(event.tag, event, event.digest)
        elif event.action == "delete" and event.tag is not None:
            move(event.tag, event, None)
        elif event.action == "delete" and request_of(event) not in named:
            for (source, repository, tag), digest in list(points_to.items()):
                is_meant = event.digest in (None, digest)  # None: the repository was deleted
                if (source, repository) == (event.source, event.repository) and digest and is_meant:
                    move(tag, event, None)
    return found


def all_pushes(events):
    """Pushes with a tag; an update points it to something else."""
    for move in moves(events):
        if move.is_push:
            yield SimpleNamespace(**vars(move) | {"is_update": move.digest != move.before})


def all_deletes(events):
    """Deletes of tags, manifests and repositories, a row for each tag that went with it; not those of blobs."""
    requests = defaultdict(list)
    for event in events:
        if event.action == "delete":
            requests[event.source, event.repository, event.request_id or event.event_id].append(event)
    for (source, repository, request_id), parts in requests.items():
        with_tags = [event for event in parts if event.tag is not None]
        digest = max((event.digest for event in parts if event.digest), default=None)
        for event in with_tags or parts:
            its_digest = event.digest or digest
            if not with_tags and its_digest and not _was_a_manifest(its_digest, source, repository, events):
                continue
            yield SimpleNamespace(
                **msgspec.structs.asdict(event) | {"request_id": request_id, "digest": its_digest, "media_type": None}
            )


def _was_a_manifest(digest, source, repository, events):
    here = [event for event in events if (event.source, event.repository) == (source, repository)]
    pushed = [event for event in here if event.action == "push" and event.kind in ("manifest", "index")]
    return (
        any(event.digest == digest for event in pushed)
        or any(digest in (event.reference_digests or ()) for event in pushed if event.kind == "index")
        or any(pull.digest == digest for pull in all_pulls(here))
    )


# What most metrics are made of.


def puller(row):
    return row.actor, row.client_address


def period_of(moment, asked):
    """The period that a moment is in."""
    local = moment.astimezone(asked.zone)
    if asked.interval == "total":
        return None
    if asked.interval == "hour":
        return moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    day = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a plain date
    if asked.interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if asked.interval == "month" else day


def grouped(rows, asked, *columns):
    """Rows by period and by what they are split by."""
    groups = defaultdict(list)
    for row in rows:
        key = tuple(getattr(row, column) for column in dict.fromkeys([*columns, *asked.by]))
        groups[(period_of(row.timestamp, asked), *key)].append(row)
    return groups


def nulls_first(values):
    return [(value is not None, "" if value is None else value) for value in values]


def nulls_last(values):
    return [(value is None, "" if value is None else value) for value in values]


def without_period(answer, asked):
    return [row[1:] for row in answer] if asked.interval == "total" else answer


def first(rows):
    return min((row.timestamp for row in rows), default=None)


def last(rows):
    return max((row.timestamp for row in rows), default=None)


def distinct(values):
    return len({value for value in values if value is not None})


def counts_of(rows):
    """Pulls, downloads, version checks."""
    pulled = [row for row in rows if row.kind in PULL_KINDS]
    return (
        len(pulled),
        sum(row.downloaded for row in pulled),
        sum(row.kind == "version_check" for row in rows),
    )


def percentile(values, share):
    """The smallest of the values that so many of them do not exceed."""
    ordered = sorted(values)
    return ordered[ceil(round(share * len(ordered), 9)) - 1] if ordered else None


def used(events, asked):
    return [row for row in all_pulls(events) if asked.counts(row) and asked.asks_for(row)]


def pushed(events, asked):
    return [row for row in all_pushes(events) if asked.counts(row) and asked.asks_for(row)]


def deleted(events, asked):
    return [row for row in all_deletes(events) if asked.counts(row) and asked.asks_for(row)]


def _series(answer, asked, width):
    """Group → counts, with zeros for each period of the window in which there was nothing."""
    if asked.interval != "total" and answer:
        groups = {key[1:] for key in answer}
        for period in _periods(asked, [key[0] for key in answer]):
            for group in groups:
                answer.setdefault((period, *group), (0,) * width)
    ordered = sorted(answer, key=nulls_first)
    return without_period([(*key, *answer[key]) for key in ordered], asked)


def _periods(asked, seen):
    """Every period from the start of the window, or else the first one with something, until its end."""
    if asked.since is not None:
        moment, found = asked.since, {period_of(asked.since, asked)}
    else:
        start = min(seen) if asked.interval == "hour" else min(seen).replace(tzinfo=asked.zone)
        moment, found = start.astimezone(UTC), {min(seen)}
    while moment < asked.end:
        found.add(period_of(moment, asked))
        moment += timedelta(minutes=15) if asked.interval == "hour" else timedelta(hours=11)
    if asked.since is None or asked.since < asked.end:
        found.add(period_of(asked.end - timedelta(microseconds=1), asked))
    return found | set(seen)


# The metrics.


def pulls(events, asked):
    """How often is it pulled, over time?"""
    groups = grouped(used(events, asked), asked)
    answer = {key: (*counts_of(rows), sum(row.requests for row in rows)) for key, rows in groups.items()}
    return _series(answer, asked, 4)


def pushes(events, asked):
    """How often is it pushed, over time?"""
    happened, gone = grouped(pushed(events, asked), asked), grouped(deleted(events, asked), asked)
    answer = {
        key: (
            len(happened[key]),
            sum(row.is_update for row in happened[key]),
            distinct(row.request_id for row in gone[key]),
        )
        for key in [*happened, *gone]
    }
    return _series(answer, asked, 3)


def _totals(uses, written):
    """What `repositories` and `tags` count alike, before and after what they count apart."""
    pulled = [row for row in uses if row.kind in PULL_KINDS]
    before = (*counts_of(uses), len(written), sum(row.is_update for row in written))
    after = (
        distinct(row.actor for row in [*uses, *written]),
        distinct(puller(row) for row in pulled),
        first(pulled), last(pulled), first(written), last(written),
    )  # fmt: skip
    return before, after


def repositories(events, asked):
    """What is there?"""
    uses = grouped((row for row in used(events, asked) if row.kind != "lookup"), asked, "repository")
    written = grouped(pushed(events, asked), asked, "repository")
    answer = []
    for key in dict.fromkeys([*uses, *written]):
        before, after = _totals(uses[key], written[key])
        tags_ = distinct(row.tag for row in [*uses[key], *written[key]])
        answer.append((*key, *before, tags_, *after))
    width = len(dict.fromkeys(["repository", *asked.by])) + 1
    answer.sort(key=lambda row: (nulls_first(row[:1]), -row[width], -row[width + 3], nulls_first(row[1:width])))
    return without_period(answer, asked)


def _is_of_row(key, asked, row):
    """Whether it is of the tag that a row of the answer is about; if asked by source, of the same source."""
    of_row = dict(zip(dict.fromkeys(["period", "repository", "tag", *asked.by]), key, strict=True))
    return all(getattr(row, column) == of_row[column] for column in ("repository", "tag", "source") if column in of_row)


def tags(events, asked):
    """What is there, tag by tag?"""
    uses = grouped((row for row in used(events, asked) if row.kind != "lookup"), asked, "repository", "tag")
    written = grouped(pushed(events, asked), asked, "repository", "tag")
    answer = []
    for key in dict.fromkeys([*uses, *written]):
        before, after = _totals(uses[key], written[key])
        of_tag = partial(_is_of_row, key, asked)
        mine = [row for row in moves(events) if asked.is_thing(row) and asked.is_past(row) and of_tag(row)]
        seen = [row for rows in uses.values() for row in rows if of_tag(row)]  # in the window, whatever it is split by
        last_seen = max(seen, key=lambda row: (row.timestamp, row.digest), default=None)
        digest = in_order(mine)[-1].digest if mine else last_seen.digest if key[2] is not None else None
        answer.append((*key, digest, *before, *after))
    width = len(dict.fromkeys(["repository", "tag", *asked.by])) + 1
    answer.sort(key=lambda row: (nulls_first(row[:1]), -row[width + 1], -row[width + 4], nulls_first(row[1:width])))
    return without_period(answer, asked)


def top(events, asked):
    """What is used most?"""
    columns = list(dict.fromkeys(asked.by)) or ["repository"]
    asked = asked._replace(by=columns)
    now = _measured(events, asked)
    total = sum(now.values())
    before = {}
    if asked.since is not None:
        before = _measured(events, asked._replace(since=asked.since - (asked.end - asked.since), until=asked.since))
    answer = []
    for key in sorted(now, key=lambda key: (-now[key], nulls_first(key))):
        rank = 1 + sum(other > now[key] for other in now.values())
        was = None if asked.since is None else before.get(key, 0)
        answer.append((rank, *key, now[key], now[key] / total, was, (now[key] - was) / was if was else None))
    return answer


def _measured(events, asked):
    """The measure of each group in which there is any."""
    uses, written, gone = (
        grouped(rows, asked) for rows in (used(events, asked), pushed(events, asked), deleted(events, asked))
    )
    measured = {}
    for key in dict.fromkeys([*uses, *written, *gone]):
        pulled, downloaded, checked = counts_of(uses[key])
        measured[key[1:]] = {
            "pulls": pulled,
            "downloads": downloaded,
            "version_checks": checked,
            "requests": sum(row.requests for row in uses[key]),
            "pushes": len(written[key]),
            "updates": sum(row.is_update for row in written[key]),
            "deletes": distinct(row.request_id for row in gone[key]),
        }[asked.measure]
    return {key: value for key, value in measured.items() if value}


def cadence(events, asked):
    """How well is it maintained?"""
    mine = [
        row
        for row in in_order(all_pushes(events))
        if asked.counts(row) and asked.is_thing(row) and asked.is_person(row) and asked.is_past(row)
    ]
    mine = [row for row in mine if row.tag not in SIGNATURES]
    updates = defaultdict(list)  # (repository, tag) → per source, when
    for row in mine:
        if asked.is_in_window(row) and row.is_update:
            updates[row.repository, row.tag, row.source].append(row.timestamp)
    for row in mine:
        earlier = [o for o in mine if (o.source, o.repository, o.digest) == (row.source, row.repository, row.digest)]
        if asked.is_in_window(row) and row.timestamp == first(earlier):
            updates[row.repository, None, row.source].append(row.timestamp)
    together = defaultdict(list)
    for (repository, tag, _), times in updates.items():
        together[repository, tag].append(times if tag is not None else _releases(times))
    answer = [_cadence_row(repository, tag, asked, several) for (repository, tag), several in together.items()]
    return sorted(answer, key=lambda row: nulls_first(row[:2]))


def _releases(times):
    """The first of those that are each less than an hour after the one before."""
    return [
        time for earlier, time in zip([None, *times], times, strict=False) if earlier is None or time - earlier >= HOUR
    ]


def _cadence_row(repository, tag, asked, several):
    times = [time for some in several for time in some]
    gaps = [later - earlier for some in several for earlier, later in pairwise(some)]
    kind = "repository" if tag is None else "immutable" if tag in IMMUTABLE else "moving"
    median, p90, age = percentile(gaps, 0.5), percentile(gaps, 0.9), asked.end - max(times)
    overdue = age / median if kind != "immutable" and median else None
    expected = 90 * DAY if len(times) < 3 else min(max(p90 or 7 * DAY, 7 * DAY), 90 * DAY)
    grade = None if kind == "immutable" else next(
        (letter for letter, times_ in zip("ABCDE", (1, 2, 4, 8, 16), strict=True) if age <= times_ * expected), "F"
    )  # fmt: skip
    return (repository, tag, kind, len(times), min(times), max(times), median, p90, age, overdue, grade)


def activity(events, asked):
    """Who does what?"""
    uses, written, gone = (
        grouped(rows, asked, "actor") for rows in (used(events, asked), pushed(events, asked), deleted(events, asked))
    )
    answer = []
    for key in dict.fromkeys([*uses, *written, *gone]):
        rows = [*uses[key], *written[key], *gone[key]]
        answer.append((
            *key, first(rows), last(rows),
            len({row.timestamp.astimezone(asked.zone).date() for row in rows}),
            counts_of(uses[key])[0], len(written[key]), distinct(row.request_id for row in gone[key]),
            distinct(row.repository for row in rows), distinct(row.client_address for row in rows),
            distinct(row.client for row in rows),
        ))  # fmt: skip
    width = len(dict.fromkeys(["actor", *asked.by])) + 1
    answer.sort(key=lambda row: (nulls_first(row[:1]), -row[width + 3], -row[width + 4], nulls_first(row[1:width])))
    return without_period(answer, asked)


def usage(events, asked):
    """Who uses which repository?"""
    pulled = [row for row in used(events, asked) if row.kind in PULL_KINDS]
    groups = grouped(pulled, asked, "actor", "repository")
    answer = [(*key, *counts_of(rows)[:2], last(rows)) for key, rows in groups.items()]
    answer.sort(key=lambda row: (nulls_first(row[:1]), -row[-3], nulls_first(row[1:-3])))
    return without_period(answer, asked)


def clients(events, asked):
    """With what do they pull?"""
    uses = [row for row in used(events, asked) if row.kind != "lookup"]
    answer = []
    for key, rows in grouped(uses, asked, "client", "client_version").items():
        distinct_ones = distinct(row.actor for row in rows), distinct(puller(row) for row in rows)
        answer.append((*key, *counts_of(rows), *distinct_ones, last(rows)))
    answer.sort(key=lambda row: (nulls_first(row[:1]), -row[-6], -row[-4], nulls_first(row[1:-6])))
    return without_period(answer, asked)


def history(events, asked):
    """What did a tag point to, when, and who moved it?"""
    stretches = defaultdict(list)
    for move in moves(events):
        if asked.is_thing(move) and asked.is_past(move):
            mine = stretches[move.source, move.repository, move.tag]
            if not mine or move.digest != mine[-1].digest:
                mine.append(move)
    answer = []
    for mine in stretches.values():
        for move, later in zip(mine, [*mine[1:], None], strict=True):
            until = later and later.timestamp
            if asked.is_person(move) and _was_so(move, until, asked):
                answer.append((move, until))
    answer.sort(key=lambda pair: (pair[0].repository, pair[0].tag, pair[0].timestamp, pair[0].event_id))
    return [(m.repository, m.tag, m.digest, m.timestamp, until, m.actor, m.client_address) for m, until in answer]


def _was_so(move, until, asked):
    if asked.at is not None:
        return move.digest is not None and move.timestamp <= asked.at and (until is None or until > asked.at)
    return asked.since is None or until is None or until > asked.since


def unused(events, asked):
    """What has nobody pulled for `days` days?"""
    answer = []
    for source, repository in sorted({(event.source, event.repository) for event in events}):
        here = [event for event in events if (event.source, event.repository) == (source, repository)]
        if asked.is_place(SimpleNamespace(source=source, repository=repository)):
            answer += [(source, row) for row in _unused_in(here, source, repository, asked)]
    answer.sort(key=lambda pair: (-pair[1][5], pair[1][0], nulls_last(pair[1][1:2]), pair[1][2], pair[0]))
    return [row for _, row in answer]


def _unused_in(events, source, repository, asked):  # noqa: C901
    """Of one repository."""
    written = {}  # what became of each manifest at last
    pushed_at, lists, emptied = {}, defaultdict(set), None
    for event in filter(asked.is_past, changes(events)):
        if event.digest is not None:
            written[event.digest] = event
        elif event.tag is None:
            emptied = event.timestamp
            written |= dict.fromkeys((digest for digest, it in written.items() if it.action == "push"), event)
        if event.action == "push":
            pushed_at[event.digest] = event.timestamp
            lists[event.digest].update(event.reference_digests or ())  # not every push of it tells
    stored = [event for event in written.values() if event.action == "push"]
    uses = [
        row
        for row in all_pulls(events)
        if row.kind != "lookup" and asked.counts(row) and asked.is_person(row) and asked.is_past(row)
    ]
    points_to = {move.tag: move.digest for move in moves(events) if asked.is_past(move)}
    for row in sorted(uses, key=lambda row: (row.timestamp, row.digest)):
        if row.tag is not None and not any(m.tag == row.tag for m in moves(events) if asked.is_past(m)):
            gone = written.get(row.digest)
            is_gone = gone is not None and gone.action == "delete" and gone.timestamp >= row.timestamp
            is_gone = is_gone or (emptied is not None and emptied >= row.timestamp)
            points_to[row.tag] = None if is_gone else row.digest
    children = {event.digest: lists[event.digest] for event in stored if event.kind == "index"}
    there = [(tag, digest) for tag, digest in points_to.items() if digest is not None]
    for event in stored:
        is_child = any(event.digest in listed for listed in children.values())
        if event.digest not in points_to.values() and not is_child:
            there.append((None, event.digest))
    for tag, digest in there:
        of_it = [row for row in uses if row.digest == digest or row.digest in children.get(digest, ())]
        since = max(time for time in (last(of_it), pushed_at.get(digest)) if time is not None)
        idle = (asked.end - since) // DAY
        last_pull = last([row for row in of_it if row.kind in PULL_KINDS])
        if _matches(tag, asked.tag) and idle >= asked.days and tag not in SIGNATURES:
            yield (repository, tag, digest, last_pull, pushed_at.get(digest), idle, None)


def adoption(events, asked):
    """How fast do clients move to a new digest, and who still pulls the old one?"""
    asked = asked._replace(by=tuple(dict.fromkeys(asked.by)))
    tenures = defaultdict(list)
    for move in moves(events):
        is_moving = move.tag not in IMMUTABLE and move.tag not in SIGNATURES
        if asked.is_thing(move) and asked.is_past(move) and is_moving and move.digest != move.before:
            tenures[move.source, move.repository, move.tag].append(move)
    uses = [
        row
        for row in all_pulls(events)
        if row.kind != "lookup"
        and asked.counts(row) and asked.is_place(row) and asked.is_person(row) and asked.is_past(row)
    ]  # fmt: skip
    answer = []
    for (source, repository, tag), mine in tenures.items():
        here = [row for row in uses if (row.source, row.repository) == (source, repository)]
        ends = [move.timestamp for move in mine[1:]] + [None]
        for number, (update, end) in enumerate(zip(mine, ends, strict=True)):
            if update.digest is not None and asked.is_in_window(update):
                rows = _adopted(mine, number, end, [row for row in here if row.tag in (tag, None)], asked)
                answer += [((repository, tag, update.timestamp, number, source), row) for row in rows]
    answer.sort(key=lambda pair: (pair[0], nulls_first(pair[1][5 : 5 + len(asked.by)]), nulls_first(pair[1][:1])))
    return without_period([row for _, row in answer], asked)


def _adopted(tenures, number, end, uses, asked):
    """The rows of one update: one for each group of pullers and period in which some of them moved."""
    update = tenures[number]
    members, got, stale = defaultdict(set), {}, defaultdict(list)
    for row in uses:
        group = tuple(getattr(row, column) for column in asked.by)
        if end is not None and row.timestamp >= end:
            continue
        if _is_of_tag(row, tenures) and row.timestamp >= update.timestamp - 30 * DAY:
            members[group].add(puller(row))
        if row.kind in PULL_KINDS and row.timestamp >= update.timestamp:
            if row.digest == update.digest:
                got[group, puller(row)] = min(row.timestamp, got.get((group, puller(row)), row.timestamp))
            elif any(row.digest == earlier.digest for earlier in tenures[:number]):
                stale[group].append(row)
    for group, its_pullers in members.items():
        times = sorted(got[group, one] for one in its_pullers if (group, one) in got)
        places = [ceil(round(share * len(its_pullers), 9)) for share in (0.5, 0.9)]
        reached = [times[place - 1] - update.timestamp if place <= len(times) else None for place in places]
        # Who has not moved is still where the tag was when it was moved.
        moved = [period_of(got.get((group, one), update.timestamp), asked) for one in its_pullers]
        for period in sorted(set(moved), key=lambda period: nulls_first([period])):
            by_then = sum(period is None or period_of(time, asked) <= period for time in times)
            yield (
                period, update.repository, update.tag, update.digest, update.timestamp, *group,
                len(its_pullers), by_then / len(its_pullers), *reached, last(stale[group]),
            )  # fmt: skip


def _is_of_tag(row, tenures):
    """Whether somebody asked for what the tag pointed to then, by its name or by its digest."""
    pointed = [move for move in tenures if move.timestamp <= row.timestamp]
    if not pointed:
        return row.tag is not None
    return pointed[-1].digest == row.digest


WEEKS = 8
BASELINE = WEEKS * 7 * DAY


def anomalies(events, asked):
    """What is out of the ordinary?"""
    begins = asked._replace(since=asked.since and asked.since - BASELINE)
    uses = [row for row in used(events, begins) if day_of(row, asked) >= _first_day(asked)]
    pulled = [row for row in uses if row.kind in PULL_KINDS]
    written = [row for row in pushed(events, begins) if day_of(row, asked) >= _first_day(asked)]
    answer = []
    for repository in {row.repository for row in pulled}:
        mine = [row for row in pulled if row.repository == repository]
        answer += [*_extremes(repository, mine, asked), *_silences(repository, mine, asked)]
    if seen := [*pulled, *(row for row in [*uses, *written] if row.actor is not None)]:
        known = min(day_of(row, asked) for row in seen)
        answer += [*_new_names(uses, written, known, asked), *_new_pushers(uses, written, known, asked)]
    answer += _loops([row for row in pulled if asked.is_in_window(row)], asked)
    answer.sort(key=lambda row: (*nulls_first((row[0], row[1], row[2])), row[6]))
    answer.sort(key=lambda row: row[3], reverse=True)
    return answer


def day_of(row, asked):
    return row.timestamp.astimezone(asked.zone).date()


def _first_day(asked):
    """Of what things are compared with."""
    return date.min if asked.since is None else asked.since.astimezone(asked.zone).date() - BASELINE


def _is_asked_for(day, asked):
    return asked.since is None or day >= asked.since.astimezone(asked.zone).date()


def _today(asked):
    return asked.end.astimezone(asked.zone).date()


def _extremes(repository, mine, asked):
    """Days on which there was far more or less than on the same weekday before; of days in a row the first."""
    counts = Counter(day_of(row, asked) for row in mine)
    start, day, told = min(counts), min(counts), {}
    while day <= _today(asked):
        before = [counts[day - week * 7 * DAY] for week in range(1, WEEKS + 1) if day - week * 7 * DAY >= start]
        if len(before) >= 4 and _is_asked_for(day, asked):
            expected = percentile(before, 0.5)
            usual = 1.4826 * percentile([abs(count - expected) for count in before], 0.5)
            by_chance = 2 * abs((counts[day] + 0.375) ** 0.5 - (expected + 0.375) ** 0.5)
            far = abs(counts[day] - expected) >= max(20, 6 * usual) and by_chance >= 6
            kind = None
            if far and counts[day] >= 2 * expected:
                kind = "spike"
            elif far and 2 * counts[day] <= expected and day < _today(asked):
                kind = "drop"
            if kind and told.get(kind) != day - DAY:
                reason = f"{counts[day]} pulls on a day; on this weekday it was {expected} "
                reason += f"in the median of {len(before)} weeks"
                begins = datetime(day.year, day.month, day.day, tzinfo=asked.zone).astimezone(UTC)
                yield (kind, repository, None, begins, float(counts[day]), float(expected), reason)
            if kind:
                told[kind] = day
        day += DAY


def _silences(repository, mine, asked):
    """No pulls for more than three days, and four times as long as ever before."""
    days = sorted({day_of(row, asked) for row in mine})
    pauses = {day: (later - day).days - 1 for day, later in pairwise([*days, _today(asked)])}
    for day, pause in pauses.items():
        earlier = [other for other in days if day - BASELINE <= other < day]
        before = [pauses[other] for other in earlier]
        if len(before) >= 10 and day - earlier[0] >= 28 * DAY and pause > max(3, 4 * max(before)):
            alarm = day + (max(3, 4 * max(before)) + 1) * DAY
            if _is_asked_for(alarm, asked):
                reason = f"{pause} days without a pull; the longest pause was {max(before)} days"
                at = last([row for row in mine if day_of(row, asked) == day])
                yield ("silence", repository, None, at, float(pause), float(max(before)), reason)


def _by_day(rows, asked):
    days = defaultdict(list)
    for row in rows:
        days[day_of(row, asked)].append(row)
    return sorted(days.items())


def _is_new(day, days):
    return not any(day - BASELINE <= other < day for other in days)


def _new_names(uses, written, known, asked):
    """A name that was not seen before."""
    for actor in {row.actor for row in [*uses, *written]} - {None}:
        days = _by_day([row for row in [*uses, *written] if row.actor == actor], asked)
        for day, rows in days:
            if _is_new(day, dict(days)) and (day - known).days >= 14 and _is_asked_for(day, asked):
                reason = f"not seen in the eight weeks before; {len(rows)} actions on the first day"
                yield ("new_actor", None, actor, first(rows), float(len(rows)), 0.0, reason)


def _new_pushers(uses, written, known, asked):
    """A name that was seen before, but did not push to a repository that others pushed to."""
    for repository, actor in {(row.repository, row.actor) for row in written if row.actor is not None}:
        here = [row for row in written if row.repository == repository and row.actor is not None]
        others = {day_of(row, asked) for row in here if row.actor != actor}
        seen = {day_of(row, asked) for row in [*uses, *written] if row.actor == actor}
        days = _by_day([row for row in here if row.actor == actor], asked)
        for day, rows in days:
            if (
                _is_new(day, dict(days)) and not _is_new(day, others) and not _is_new(day, seen)
                and (day - known).days >= 14 and _is_asked_for(day, asked)
            ):  # fmt: skip
                reason = (
                    "pushes to a repository that others pushed to in the eight weeks before; "
                    f"{len(rows)} pushes on the first day"
                )
                yield ("new_actor", repository, actor, first(rows), float(len(rows)), 0.0, reason)


def _loops(pulled, asked):
    """One client that pulls one manifest again and again."""
    manifests = defaultdict(lambda: defaultdict(list))
    for row in pulled:
        who = row.actor, row.client_address, row.user_agent
        manifests[row.repository, row.digest, day_of(row, asked)][who].append(row)
    found = defaultdict(list)
    for (repository, _, day), clients_ in manifests.items():
        for who, rows in clients_.items():
            others = [len(of_other) for other, of_other in clients_.items() if other != who]
            expected = percentile(others, 0.5) or 1
            if len(rows) >= 50 and len(rows) >= 10 * expected:
                reason = f"{len(rows)} pulls of one manifest on a day by {rows[0].client or who[2] or 'a client'} at "
                reason += who[1] or "an unknown address"
                reason += f"; the median of {len(others)} others is {expected}" if others else ""
                row = ("pull_loop", repository, who[0], first(rows), float(len(rows)), float(expected), reason)
                found[repository, who, day].append(row)
    for (repository, who, day), answer in found.items():
        if (repository, who, day - DAY) not in found:
            yield from answer
