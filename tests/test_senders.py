"""Who may send, and whose address that is."""

import hashlib
import hmac

import pytest

from regstats.senders import address_of, is_in, is_signed

PROXIES = ["10.0.0.0/8", "2001:db8::1"]


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "expected"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),  # not a proxy of ours: it says what it likes
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the sender's own beginning is not believed
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),  # through two proxies
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("2001:db8::1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        (None, "198.51.100.1", None),
    ],
)
def test_whose_address_it_is(remote, forwarded_for, expected):
    """X-Forwarded-For is believed as far as our proxies wrote it."""
    assert expected == address_of(remote, forwarded_for, PROXIES)


def test_without_proxies_nobody_is_believed():
    """The default."""
    assert "10.0.0.1" == address_of("10.0.0.1", "198.51.100.1", [])


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("::ffff:10.1.2.3", True), ("2001:db8::1", True), ("2001:db8::2", False),
     ("", False), (None, False), ("10.1.2.3.4", False)],
)  # fmt: skip
def test_networks(address, expected):
    """IPv4 and IPv6, and IPv4 within IPv6."""
    assert expected is is_in(address, PROXIES)


BODY = b'{"a": 1}'
SHA256 = hmac.new(b"secret", BODY, hashlib.sha256).hexdigest()
SHA1 = hmac.new(b"secret", BODY, hashlib.sha1).hexdigest()


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("HTTP_X_HUB_SIGNATURE_256", f"sha256={SHA256}", True),
        ("HTTP_X_GITEA_SIGNATURE", SHA256, True),
        ("HTTP_X_FORGEJO_SIGNATURE", SHA256.upper(), True),
        ("HTTP_X_JFROG_EVENT_AUTH", SHA256, True),
        ("HTTP_X_NEXUS_WEBHOOK_SIGNATURE", SHA1, True),
        ("HTTP_X_HUB_SIGNATURE_256", SHA1, False),
        ("HTTP_X_HUB_SIGNATURE_256", "", False),
        ("HTTP_X_HUB_SIGNATURE_256", "sha256=", False),
        ("HTTP_X_HUB_SIGNATURE_256", "sha256=zz", False),
        ("HTTP_X_HUB_SIGNATURE_256", SHA256[:-2], False),
        ("HTTP_X_HUB_SIGNATURE", f"sha1={SHA1}", False),  # a header that is not known
    ],
)
def test_signatures(header, value, expected):
    """Each sender has a header of its own."""
    assert expected is is_signed({header: value}, BODY, "secret")
    assert not is_signed({header: value}, BODY + b" ", "secret")
    assert not is_signed({header: value}, BODY, "other")


def test_without_a_secret_nothing_needs_to_be_signed():
    """And with one, something does."""
    assert is_signed({}, BODY, None)
    assert not is_signed({}, BODY, "secret")
