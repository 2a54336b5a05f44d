"""What signs people in for a page, as the page meets it: authorize, token, logout (RFC 6749, RFC 7636).

Whoever comes is signed in at once as `username`: nobody types a password in a test. The token endpoint takes
a code once, and only with the verifier that fits its challenge (S256). Its kinds say where all this is, and
make the tokens.
"""

import base64
import hashlib
import json
import secrets
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


@dataclass(frozen=True)
class Places:
    """Paths, and what the logout calls the address to come back to."""

    authorize: str
    token: str
    logout: str
    back: str


class SignInService:
    """One, listening on loopback."""

    def __init__(self, places: Places, client_id: str, username: str) -> None:
        self.places, self.client_id, self.username = places, client_id, username
        self.token_lives_s = 3600
        self.refuses = ""
        """The error that the next authorisation ends with; empty: none."""
        self.is_away = False
        """Whether what it tells of itself cannot be had."""
        self.asked: list[str] = []
        """What was asked for: authorize, authorization_code, refresh_token, logout."""
        self._codes: dict[str, dict[str, str]] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, asked = _parsed(self.path)
                told = service.told(path)
                if told is not None:
                    self._tell(503 if service.is_away else 200, told)
                    return
                target = service.lead(path, asked)
                self.send_response(302 if target else 400)
                if target:
                    self.send_header("Location", target)
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                assert urlsplit(self.path).path == service.places.token
                self._tell(*service.exchange({k: v[0] for k, v in parse_qs(body).items()}))

            def _tell(self, status: int, content: dict[str, Any]) -> None:
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="sign-in-service", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self, path: str) -> dict[str, Any] | None:
        """A document of this path; None: there is none."""
        return None

    def tokens(self, username: str) -> dict[str, str]:
        """access_token, id_token, refresh_token."""
        raise NotImplementedError

    def renewed(self, refresh_token: str) -> dict[str, str]:
        """The same for a refresh token."""
        raise NotImplementedError

    def lead(self, path: str, asked: dict[str, str]) -> str:
        """Where the browser is sent; empty: nowhere."""
        if asked.get("client_id") != self.client_id:
            return ""
        if path == self.places.logout:
            self.asked.append("logout")
            return asked[self.places.back]
        if path != self.places.authorize or asked["response_type"] != "code":
            return ""
        self.asked.append("authorize")
        if self.refuses:
            error, self.refuses = self.refuses, ""
            return f"{asked['redirect_uri']}?{urlencode({'error': error, 'state': asked['state']})}"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The token endpoint: a status and what it says."""
        self.asked.append(given["grant_type"])
        if given["grant_type"] == "refresh_token":
            return self._granted(self.renewed(given["refresh_token"]))
        asked = self._codes.pop(given["code"], {})
        digest = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest())
        wanted = (digest.rstrip(b"=").decode(), given["redirect_uri"], given["client_id"])
        if (asked.get("code_challenge"), asked.get("redirect_uri"), asked.get("client_id")) != wanted:
            return 400, {"error": "invalid_grant"}
        return self._granted(self.tokens(self.username))

    def _granted(self, tokens: dict[str, str]) -> tuple[int, dict[str, Any]]:
        return 200, {**tokens, "token_type": "Bearer", "expires_in": self.token_lives_s}


def _parsed(path: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(path)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}
