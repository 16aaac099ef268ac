"""What pages need beside their text: our style and script, and plotly.js. Nothing is fetched from anywhere else."""

import functools
import gzip
import hashlib
from importlib import resources
from typing import NamedTuple

import plotly.offline
from flask import Blueprint, Response, request, url_for
from werkzeug.exceptions import NotFound

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"
NAMES = ("page.css", "page.js", "sort.js", "plotly.js", "icon.svg")


class Asset(NamedTuple):
    """A file, and a mark that changes with it."""

    content: bytes
    packed: bytes
    mark: str


@functools.cache
def _asset(name: str) -> Asset:
    if name == "plotly.js":
        content: bytes = plotly.offline.get_plotlyjs().encode()
    else:
        content = (resources.files("regstats") / "static" / name).read_bytes()
    return Asset(content, gzip.compress(content, 6), hashlib.sha256(content).hexdigest()[:16])


def blueprint() -> Blueprint:
    """The routes. Nobody needs to show anything for them: they are the same everywhere."""
    routes = Blueprint("assets", __name__)

    @routes.get("/static/<mark>/<name>")
    def asset(mark: str, name: str) -> Response:
        if name not in NAMES or _asset(name).mark != mark:
            raise NotFound(f"There is no {name!r} of that version; load the page again.")
        response = Response(_asset(name).content, content_type=f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8")
        if "gzip" in request.accept_encodings.values():
            response.set_data(_asset(name).packed)
            response.content_encoding = "gzip"
        response.headers["Cache-Control"], response.headers["Vary"] = _FOR_EVER, "Accept-Encoding"
        return response

    @routes.app_template_global()
    def asset_url(name: str) -> str:
        return url_for("assets.asset", mark=_asset(name).mark, name=name)

    return routes
