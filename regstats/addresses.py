"""IP addresses, from what is written before and after them."""

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_in(text: str | None) -> Address | None:
    """`192.0.2.7:39674`, `[2001:db8::7]:443`, `2001:db8::7`; IPv4 within IPv6 is IPv4; None where it is no address."""
    return _address(host_in(text))


def host_in(text: str | None) -> str:
    """What stands before the port, if there is one: a client has another one each time, and mostly the same address."""
    text = (text or "").strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@lru_cache(maxsize=4096)
def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
