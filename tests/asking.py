"""Readers: they ask a server that takes no deliveries, with or without showing who they are."""

import base64

from regstats.app import create_app
from regstats.config import Read, Settings


def reader(store, **settings):
    """Asks as often as it likes, if nothing else is said."""
    return create_app(Settings(**{"data": str(store.root), "read": Read(rate=0)} | settings), None).test_client()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
