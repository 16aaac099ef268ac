"""IP addresses, from what is written before and after them."""

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=4096)
def address_in(text: str | None) -> Address | None:
    """`192.0.2.7:39674`, `[2001:db8::7]:443`, `2001:db8::7`; IPv4 within IPv6 is IPv4; None where it is no address."""
    text = (text or "").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
