"""GitLab's container registry, which grew out of Distribution, and sends the same envelopes.

Source: GitLab's registry documentation of notifications. It says in `actor.user_type` what kind of token somebody
showed, and gives up a delivery after `maxretries`, where Distribution never does.
"""

from regstats.payloads.dialect import Dialect, Payload, Understood
from regstats.payloads.distribution import ADDRESSES, PEOPLE, is_gitlab, read

NAME = "gitlab"


def parse(payload: Payload) -> Understood:
    """The events of an envelope."""
    return read(NAME, payload)


DIALECT = Dialect(NAME, "GitLab", is_gitlab, parse, reports_pulls=True, people=PEOPLE, addresses=ADDRESSES)
