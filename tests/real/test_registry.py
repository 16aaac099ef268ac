"""A real registry, real clients, a real collector: what the clients did is what regstats says."""

import json

import pytest
from makers import MANIFEST

BY = ("--interval", "total", "--by", "repository,tag,digest,actor,client,client_address")


def test_pushes_and_pulls_of_skopeo(collector, registry, skopeo, make_image, patiently):
    """Who pushed and pulled what, from where and with what, by tag and by digest, seen at once."""
    collector.start()
    first, second = make_image("first"), make_image("second")
    skopeo.push(first, "team/api:1.0")
    skopeo.push(first, "team/api:latest")
    skopeo.push(second, "team/api:latest")
    skopeo.push(second, "team/web:1.0", actor="bob")
    for _ in range(3):
        skopeo.pull("team/api:1.0")
    skopeo.pull("team/api:1.0", actor="bob")
    skopeo.pull(f"team/api@{second.digest}")
    who = {"client": "skopeo", "client_address": "127.0.0.1"}
    pushed = [
        ("team/api", "1.0", first, "alice"),
        ("team/api", "latest", first, "alice"),
        ("team/api", "latest", second, "alice"),
        ("team/web", "1.0", second, "bob"),
    ]
    pulled = [
        ("team/api", None, second, "alice", 1),
        ("team/api", "1.0", first, "alice", 3),
        ("team/api", "1.0", first, "bob", 1),
    ]
    names = ("repository", "tag", "digest", "actor")
    expected = [dict(zip(names, (r, t, i.digest, a), strict=True)) | who | {"pushes": 1, "updates": 1, "deletes": 0}
                for r, t, i, a in pushed]  # fmt: skip
    patiently(sorted_rows(expected), lambda: sorted_rows(collector.ask("pushes", *BY)))
    expected = [dict(zip(names, (r, t, i.digest, a), strict=True)) | who
                | {"pulls": n, "downloads": n, "version_checks": 0, "requests": n}
                for r, t, i, a, n in pulled]  # fmt: skip
    patiently(sorted_rows(expected), lambda: sorted_rows(collector.ask("pulls", *BY)))


def sorted_rows(rows):
    return sorted(rows, key=lambda row: json.dumps([row["repository"], row["tag"] or "", row["actor"], row["digest"]]))


def test_pulls_of_podman(collector, registry, skopeo, podman, make_image, patiently):
    """Another client, cold and warm."""
    collector.start()
    image = make_image("one")
    skopeo.push(image, "team/api:1.0")
    for _ in range(3):
        podman("pull", f"{registry.address}/team/api:1.0")
    who = {"actor": "bob", "client": "podman", "client_address": "127.0.0.1"}
    counts = {"pulls": 3, "downloads": 1, "version_checks": 0, "requests": 3}
    expected = [{"repository": "team/api", "tag": "1.0", "digest": image.digest} | who | counts]
    patiently(expected, lambda: collector.ask("pulls", *BY))


def test_a_delete(collector, registry, skopeo, make_image, patiently):
    """One request, though the registry sends an event for the manifest and for each of its tags."""
    collector.start()
    image = make_image("one")
    for tag in ("1.0", "1", "latest"):
        skopeo.push(image, f"team/api:{tag}")
    skopeo.delete("team/api:1.0", actor="bob")
    patiently(1, lambda: collector.total("activity", "deletes", "--actor", "bob"))


@pytest.mark.slow
def test_a_queue_of_500_events(collector, registry, skopeo, make_image, patiently):
    """The collector is down; when it comes back the registry delivers all of them, and each counts once."""
    collector.start()
    image = make_image("one")
    skopeo.push(image, "team/api:1.0")
    patiently(1, lambda: collector.total("pushes", "pushes"))
    collector.stop()
    path = f"/v2/team/api/manifests/{image.digest}"
    for _ in range(500):
        assert registry.request("GET", path, Accept=MANIFEST) == 200
    assert collector.total("pulls", "pulls") == 0
    collector.start()
    patiently(500, lambda: collector.total("pulls", "pulls"))
    collector.stop()
    assert collector.total("pulls", "requests") == 500
    assert [{"pushes": 1, "updates": 1, "deletes": 0}] == collector.ask("pushes", "--interval", "total")


def test_a_wrong_token_loses_nothing(collector, registry, skopeo, make_image, patiently):
    """The registry waits for the right one, for ever: it is refused, not dropped."""
    right, collector.token = collector.token, "another"
    collector.start()
    skopeo.push(make_image("one"), "team/api:1.0")
    skopeo.pull("team/api:1.0")
    assert [] == collector.ask("pulls")
    collector.stop()
    collector.token = right
    collector.start()
    patiently(1, lambda: collector.total("pulls", "pulls"))
    patiently(1, lambda: collector.total("pushes", "pushes"))


def test_garbage_disturbs_no_count(collector, registry, skopeo, make_image, patiently):
    """What anybody posts goes to quarantine with its reason, and the registry's events go on counting."""
    collector.start()
    image = make_image("one")
    skopeo.push(image, "team/api:1.0")
    garbage = [b"not JSON", b'{"text": "hello"}', b"", bytes(1_000_000), b'{"events": [{"id": "\xff"}]}', b"[]"]
    assert [204] * len(garbage) == [collector.post(body) for body in garbage]
    assert 401 == collector.post(b"{}", token="wrong")
    assert 413 == collector.post(bytes(5_000_000))
    skopeo.pull("team/api:1.0")
    patiently(1, lambda: collector.total("pulls", "pulls"))
    collector.stop()
    assert 1 == collector.total("pulls", "requests")
    assert 1 == collector.total("pushes", "pushes")
    quarantined = collector.ask("quarantine")
    assert sorted(len(body) for body in garbage) == sorted(row["bytes"] for row in quarantined)
    assert all(row["error"] for row in quarantined)
