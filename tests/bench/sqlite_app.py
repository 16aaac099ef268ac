"""What one would write without regstats: a route, a table, a commit per delivery. For comparison only.

Written to be fast at what it does: a connection per thread, kept open; a write-ahead log; no index but the row number.
"""

import hmac
import json
import os
import sqlite3
import threading
from pathlib import Path

from flask import Flask, Response, abort, request

TABLE = """
    create table if not exists events (
      number integer primary key, id text, timestamp text, action text, repository text, tag text, digest text,
      media_type text, size integer, method text, address text, user_agent text, actor text, received text default
      current_timestamp, body text
    )
"""
COLUMNS = "id, timestamp, action, repository, tag, digest, media_type, size, method, address, user_agent, actor, body"


def create_app():
    app, opened = Flask("with_sqlite"), threading.local()
    file, token = Path(os.environ["BENCH_FOLDER"]) / "events.sqlite", os.environ["BENCH_TOKEN"]

    def database():
        if not hasattr(opened, "connection"):
            opened.connection = connect(file)
        return opened.connection

    connect(file).execute(TABLE)

    @app.post("/events")
    def receive():
        if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {token}"):
            abort(401)
        rows = [row(event) for event in json.loads(request.get_data())["events"]]
        with database() as connection:  # one transaction
            connection.executemany(f"insert into events ({COLUMNS}) values ({','.join('?' * 13)})", rows)
        return Response(status=204)

    return app


def connect(file):
    connection = sqlite3.connect(file, timeout=60)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")  # the commit is on disk; in WAL mode `normal` would not do
    return connection


def row(event):
    target, cause = event["target"], event["request"]
    return (
        event["id"],
        event["timestamp"],
        event["action"],
        target.get("repository"),
        target.get("tag"),
        target.get("digest"),
        target.get("mediaType"),
        target.get("size"),
        cause.get("method"),
        cause.get("addr"),
        cause.get("useragent"),
        event["actor"].get("name"),
        json.dumps(event),
    )


def stored(folder):
    return sqlite3.connect(folder / "events.sqlite").execute("select count(*) from events").fetchone()[0]
