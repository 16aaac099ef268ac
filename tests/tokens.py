"""A token service for a real registry (distribution's "Token Authentication Specification"), on loopback."""

import base64
import json
import secrets
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from makers import NOW, days

USERS = {"alice": "alice-password", "reader": "reader-password"}
REFRESH = "refresh-token"
AUTH = """
auth:
  token: {{realm: "http://127.0.0.1:%d/token", service: test, issuer: tests, rootcertbundle: "{folder}/root.pem"}}
"""


class TokenService:
    """Gives tokens to alice for everything, to reader for pulls, and to nobody else."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self._certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
            .serial_number(1).not_valid_before(NOW - days(9)).not_valid_after(NOW + days(9999))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        self.asked = []
        """Who asked for what: user, scopes."""

    @property
    def root(self):
        """What the registry trusts, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def answer(self, user, scopes):
        """A token for what somebody may do of what is asked."""
        self.asked.append((user, scopes))
        access = [self._access(user, *scope.split(":")) for scope in scopes]
        return self._signed({
            "iss": "tests", "sub": user, "aud": "test", "exp": time.time() + 60, "nbf": time.time() - 5,
            "iat": time.time() - 5, "jti": secrets.token_hex(8), "access": access,
        })  # fmt: skip

    def _access(self, user, kind, name, actions):
        allowed = {"pull"} if user == "reader" else {"pull", "push", "delete", "*"}
        return {"type": kind, "name": name, "actions": sorted(allowed.intersection(actions.split(",")))}

    def _signed(self, claims):
        chain = base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [chain]}
        claims = {key: int(value) if isinstance(value, float) else value for key, value in claims.items()}
        text = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_service():
    """One, until the end of the block; with its port."""
    service = TokenService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            kind, _, shown = self.headers.get("Authorization", "").partition(" ")
            user, _, password = base64.b64decode(shown).decode().partition(":") if kind == "Basic" else ("", "", "")
            query = parse_qs(urlsplit(self.path).query)
            self._say(user, USERS.get(user) == password, query)

        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._say("alice", form.get("refresh_token") == [REFRESH], form)

        def _say(self, user, is_known, query):
            scopes = [scope for text in query.get("scope", []) for scope in text.split(" ")]
            said = {"token": service.answer(user, scopes)} if is_known else {}
            self.send_response(200 if is_known else 401)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    service.port = server.server_port
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
