"""Readers: they ask a server that takes no deliveries, with or without showing who they are."""

import base64

from makers import fill

from regstats.app import create_app
from regstats.config import Read, Settings
from regstats.sealing import seal
from regstats.store import Store


def filled(folder):
    """A store that nobody writes to any more."""
    store = Store(folder / "store", create=True)
    fill(store)
    seal(store)
    return store


def reader(store, **settings):
    """Asks as often as it likes, if nothing else is said."""
    return create_app(Settings(**{"data": str(store.root), "read": Read(rate=0)} | settings), None).test_client()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
