"""Frames as the metrics return them, built by hand: `n` repositories, what they are called, and what happened to them.

Numbers are made by counting on, so that they differ and are the same every time.
"""

from datetime import UTC, datetime, timedelta

import pandas as pd

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)><b>"$x^2$%{x}&amp;\u202e'
LOOKS_LIKE_VALUES = ["1.2", "2026-01-01", "1e5", "0", "10:00", "true", "NaN"]
LONG = "team/" + "a" * 123 + "/" + "b" * 120 + ":one"
CLIENTS = ["docker", "containerd", "podman", "skopeo", None, "trivy", "kubelet", "crane", "helm", "buildkit"]
DTYPES = {int: "int64", float: "float64", str: "str"}


def called(n):
    """Names of `n` repositories."""
    return [f"team-{i % 7}/service-{i:03}" for i in range(n)]


def digest(number):
    return f"sha256:{number:064x}"


def some(i, most=1000):
    """A number for each thing: the first has the most."""
    return most * 7 // (i * i % 97 + 3 * i + 7)


def times(values):
    return pd.to_datetime(pd.Series(values, dtype="object"), utc=True).dt.as_unit("us")


def spans(values):
    return pd.to_timedelta(pd.Series(values, dtype="object")).dt.as_unit("us")


def frame_of(metric, columns, *, since=None, until=None, interval="total"):
    """A frame with the attributes that a metric gives it; times and durations have microseconds."""
    frame = pd.DataFrame(columns)
    frame.attrs = {"metric": metric, "since": since, "until": until, "interval": interval, "excluded": {}}
    return frame


def texts(values):
    return pd.Series(list(values), dtype="str")


def counts(values):
    return pd.Series(list(values), dtype="int64")


def periods(number, interval="day", tz=None):
    """The latest of so many periods."""
    steps = {"hour": "h", "day": "D", "week": "W-MON", "month": "MS"}
    index = pd.date_range(
        end=NOW.replace(tzinfo=None), periods=number, freq=steps.get(interval, "D"), normalize=interval != "hour"
    )
    return (
        pd.Series(index, dtype="datetime64[us]") if tz is None else pd.Series(index).dt.tz_localize(tz).dt.as_unit("us")
    )


def split(number, by, interval, tz=None):
    """The first columns of a series: a period, and a row of each group in it."""
    when, groups = periods(number, interval, tz), range(max((len(values) for values in by.values()), default=1))
    rows = [(at, group) for at in range(number) for group in groups]
    columns = {"period": when.iloc[[at for at, _ in rows]].reset_index(drop=True)} if interval != "total" else {}
    return columns | {key: texts(values[group] for _, group in rows) for key, values in by.items()}, rows


def pulls(number=30, by=None, *, interval="day", tz=None):
    """Pulls per period; with `by`, of each group."""
    first, rows = split(number, by or {}, interval, tz)
    made = [some(group, 200) * (3 + at % 7) // 5 for at, group in rows]
    columns = {"pulls": made, "downloads": [n // 2 for n in made], "version_checks": [n // 3 for n in made]}
    columns["requests"] = [2 * n for n in made]
    return frame_of("pulls", first | {k: counts(v) for k, v in columns.items()}, interval=interval)


def pushes(number=30, by=None, *, interval="day", tz=None):
    """Pushes per period; with `by`, of each group."""
    first, rows = split(number, by or {}, interval, tz)
    made = [(at * 7 + group) % 11 * ((at + group) % 3) for at, group in rows]
    columns = {"pushes": made, "updates": [n - n // 3 for n in made], "deletes": [n // 5 for n in made]}
    return frame_of("pushes", first | {k: counts(v) for k, v in columns.items()}, interval=interval)


def used(n):
    made = [some(i) for i in range(n)]
    first = times([NOW - timedelta(days=40 + i % 60) for i in range(n)])
    last = times([NOW - timedelta(hours=5 * i) for i in range(n)])
    numbers = {"pulls": made, "downloads": [m // 2 for m in made], "version_checks": [m // 3 for m in made]}
    numbers |= {name: [i % 9 for i in range(n)] for name in ("pushes", "updates", "tags", "actors", "pullers")}
    moments = {"first_pull": first, "last_pull": last, "first_push": first, "last_push": last}
    return {name: counts(values) for name, values in numbers.items()} | moments


def repositories(names):
    return frame_of("repositories", {"repository": texts(names)} | used(len(names)), since=NOW - timedelta(days=30))


def tags(names):
    rows = {"repository": texts(names), "tag": texts(None if i % 5 == 4 else f"1.{i}" for i in range(len(names)))}
    rows["digest"] = texts(None if i % 5 == 4 else digest(i) for i in range(len(names)))
    rest = used(len(names))
    del rest["tags"]
    return frame_of("tags", rows | rest)


def top(names, measure="pulls", *, key="repository", before=True):
    """A leaderboard."""
    n = len(names)
    made = sorted((some(i) for i in range(n)), reverse=True)
    earlier = [float(made[-1 - i] if i % 3 else 0) if before else None for i in range(n)]
    change = [(now - then) / then if then else None for now, then in zip(made, earlier, strict=True)]
    columns = {"rank": counts(range(1, n + 1)), key: texts(names), measure: counts(made)}
    columns["share"] = pd.Series([m / (sum(made) or 1) for m in made], dtype="float64")
    columns |= {"before": pd.Series(earlier, dtype="float64"), "change": pd.Series(change, dtype="float64")}
    return frame_of("top", columns, since=NOW - timedelta(days=7), until=NOW)


def cadence(names):
    """A row for the repository, one for a moving tag, one for an immutable one; every seventh was updated once."""
    rows = [(i, kind) for i in range(len(names)) for kind in ("repository", "moving", "immutable")]
    usual = [timedelta(days=1 + i % 40, hours=5 * (kind == "moving")) for i, kind in rows]
    once = [i % 7 == 6 or kind == "immutable" for i, kind in rows]
    age = [timedelta(days=i % 90, hours=3) for i, _ in rows]
    overdue = [None if one else had / each for one, had, each in zip(once, age, usual, strict=True)]
    columns = {
        "repository": texts(names[i] for i, _ in rows),
        "tag": texts({"repository": None, "moving": "latest", "immutable": "1.2.3"}[kind] for _, kind in rows),
        "kind": texts(kind for _, kind in rows),
        "updates": counts(1 if one else 2 + i % 30 for one, (i, _) in zip(once, rows, strict=True)),
        "first_update": times([NOW - timedelta(days=400)] * len(rows)),
        "last_update": times([NOW - had for had in age]),
        "median_interval": spans(None if one else each for one, each in zip(once, usual, strict=True)),
        "p90_interval": spans(None if one else each * 2 for one, each in zip(once, usual, strict=True)),
        "age": spans(age),
        "overdue": pd.Series(overdue, dtype="float64"),
        "grade": texts(None if part is None else "ABCDEF"[min(int(part * 2), 5)] for part in overdue),
    }
    return frame_of("cadence", columns)


def neglect(names):
    """What is pulled, with how well it is maintained."""
    kept = cadence(names)
    return repositories(names).drop(columns="updates").merge(kept[kept["kind"] == "repository"], on="repository")


def activity(names, number=None):
    """What each actor did; with `number`, in each of so many days."""
    first, rows = split(number or 1, {"actor": names}, "day" if number else "total")
    at = [NOW - timedelta(days=period) for period, _ in rows]
    columns = {"first_seen": times(at), "last_seen": times(at), "active_days": counts(1 + i % 30 for _, i in rows)}
    columns |= {"pulls": counts(some(i, 300) for _, i in rows), "pushes": counts(i % 7 * 9 for _, i in rows)}
    columns |= {name: counts(i % 4 for _, i in rows) for name in ("deletes", "repositories", "addresses", "clients")}
    return frame_of("activity", first | columns, interval="day" if number else "total")


def usage(actors, names):
    """Every actor pulls some repositories."""
    rows = [(a, r) for a in range(len(actors)) for r in range(len(names)) if (a * 5 + r * 3) % 7 < 3 or a == r == 0]
    made = [some(a + r, 5000) for a, r in rows]
    columns = {"actor": texts(actors[a] for a, _ in rows), "repository": texts(names[r] for _, r in rows)}
    columns |= {"pulls": counts(made), "downloads": counts(n // 2 for n in made)}
    return frame_of("usage", columns | {"last_pull": times([NOW - timedelta(hours=n % 500) for n in made])})


def history(names):
    """Each tag moves every few days, comes back to what it was, and is deleted for a while."""
    rows = [(i, step) for i in range(len(names)) for step in range(2 + i * 7 % 9)]
    size = [timedelta(days=1 + i % 5, hours=7) for i, _ in rows]
    began = [NOW - timedelta(days=50) + each * step for each, (_, step) in zip(size, rows, strict=True)]
    is_last = [position + 1 == len(rows) or rows[position + 1][0] != i for position, (i, _) in enumerate(rows)]
    columns = {
        "repository": texts(names[i] for i, _ in rows),
        "tag": texts("latest" for _ in rows),
        "digest": texts(None if step == 3 else digest(step % 4) for _, step in rows),
        "since": times(began),
        "until": times([None if last else at + each for last, at, each in zip(is_last, began, size, strict=True)]),
        "actor": texts([None, "ci-builder", "alice"][step % 3] for _, step in rows),
        "client_address": texts("192.0.2.7" for _ in rows),
    }
    return frame_of("history", columns)


def adoption(names, number=None, *, by=None):
    """An update of each; with `number`, its share at the end of so many days."""
    first, rows = split(number or 1, {"repository": names}, "day" if number else "total")
    share = [min(1.0, (period + 1) / (2 + i % 20)) for period, i in rows] if number else [i % 11 / 10 for _, i in rows]
    pushed = [NOW.replace(hour=10) - timedelta(days=(number or 30) - i % 3) for _, i in rows]
    rest = {
        "tag": texts("latest" for _ in rows),
        "digest": texts(digest(i) for _, i in rows),
        "pushed_at": times(pushed),
        "pullers": counts(40 - i % 37 for _, i in rows),
        "share": pd.Series(share, dtype="float64"),
        "time_to_50": spans(timedelta(hours=3 + 7 * i % 100) if i % 11 >= 5 else None for _, i in rows),
        "time_to_90": spans(timedelta(hours=9 + 19 * i % 400) if i % 11 >= 9 else None for _, i in rows),
        "last_old_pull": times([NOW if i % 2 else None for _, i in rows]),
    }
    if by:
        rest = (
            {k: v for k, v in rest.items() if k in ("tag", "digest", "pushed_at")}
            | {key: texts(values[i % len(values)] for _, i in rows) for key, values in by.items()}
            | rest
        )
    return frame_of("adoption", first | rest, interval="day" if number else "total")


def unused(names):
    n = len(names)
    columns = {
        "repository": texts(names),
        "tag": texts(None if i % 4 == 3 else f"0.{i}" for i in range(n)),
        "digest": texts(digest(i) for i in range(n)),
        "last_pull": times([None if i % 3 == 0 else NOW - timedelta(days=30 + i) for i in range(n)]),
        "last_push": times([NOW - timedelta(days=30 + i) for i in range(n)]),
        "idle_days": counts(30 + i for i in range(n)),
        "size": pd.Series([None if i % 6 == 5 else 3 ** (i % 25) * 1000 for i in range(n)], dtype="Int64"),
    }
    return frame_of("unused", columns)


def clients(names):
    n = len(names)
    columns = {"client": texts(names), "client_version": texts(None if i % 3 == 2 else f"{i}.1" for i in range(n))}
    rest = used(n)
    columns |= {name: rest[name] for name in ("pulls", "downloads", "version_checks", "actors", "pullers")}
    return frame_of("clients", columns | {"last_seen": rest["last_pull"]})


def anomalies(names):
    kinds = ["spike", "drop", "silence", "new_actor", "pull_loop"]
    rows = [(i, kinds[(i + again) % 5]) for i in range(len(names)) for again in range(1 + i * 5 % 4)]
    columns = {
        "kind": texts(kind for _, kind in rows),
        "repository": texts(None if kind == "silence" else names[i] for i, kind in rows),
        "actor": texts(f"robot-{i % 10}" if kind in ("new_actor", "pull_loop") else None for i, kind in rows),
        "at": times([NOW - timedelta(hours=(i * 31 + 5 * at) % 900) for at, (i, _) in enumerate(rows)]),
        "observed": pd.Series([some(i) * 1.0 for i, _ in rows], dtype="float64"),
        "expected": pd.Series([some(i) / 3 for i, _ in rows], dtype="float64"),
        "reason": texts("far more than in any of the 28 days before" for _ in rows),
    }
    return frame_of("anomalies", columns, since=NOW - timedelta(days=40), until=NOW)


def health(names):
    n = len(names)
    made = {name: counts(some(i) // part for i in range(n)) for name, part in (("deliveries", 2), ("events", 1))}
    made |= {name: counts(some(i) // 50 for i in range(n)) for name in ("duplicates", "quarantined")}
    at = times([NOW - timedelta(hours=1)] * n)
    rest = {"silence": timedelta(hours=1), "lag": timedelta(seconds=2), "max_lag": timedelta(minutes=2)}
    columns = {"source": texts(names)} | made | {"first_received": at, "last_received": at}
    columns |= {name: spans([value] * n) for name, value in rest.items()} | {"gaps": counts([1] * n)}
    columns |= {"longest_gap": spans([None] * n), "instances": counts([2] * n), "restarts": counts([1] * n)}
    return frame_of("health", columns)


def people(names):
    """Actors, the first of them anonymous."""
    return [None, *names[1:]] if names else []


FRAMES = {
    "pulls": lambda names: pulls(min(len(names), 30)),
    "pulls by": lambda names: pulls(7, {"repository": names}),
    "pulls in all": lambda names: pulls(1, {"repository": names, "actor": people(names)}, interval="total"),
    "pulls by the hour": lambda names: pulls(48, {"client": names[:40]}, interval="hour", tz="Europe/Berlin"),
    "pushes": lambda names: pushes(min(len(names), 30)),
    "pushes by": lambda names: pushes(7, {"actor": people(names)}),
    "repositories": repositories,
    "tags": tags,
    "top": top,
    "top by": lambda names: top(people(names), "deletes", key="actor", before=False),
    "cadence": cadence,
    "activity": lambda names: activity(people(names)),
    "activity by day": lambda names: activity(people(names), 7),
    "usage": lambda names: usage(people(names)[:70], names[:90]),
    "history": history,
    "adoption": adoption,
    "adoption by": lambda names: adoption(names, by={"client": CLIENTS}),
    "adoption by day": lambda names: adoption(names, 7),
    "adoption by day by": lambda names: adoption(names, 7, by={"client": CLIENTS}),
    "unused": unused,
    "clients": clients,
    "anomalies": anomalies,
    "health": health,
    "neglect": neglect,
    "calendar": lambda names: pushes(min(len(names), 1) and 700, {"repository": names[:3]}),
}
"""A frame of so many names, for each way to draw a metric; the first word is the metric."""
