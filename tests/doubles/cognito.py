"""A user pool's domain: authorize, token and logout as the page meets them; moto's Cognito makes the tokens.

Whoever comes is signed in at once as `username`: nobody types a password in a test. The token endpoint takes
a code once, and only with the verifier that fits its challenge (RFC 7636, S256).
"""

import base64
import hashlib
import json
import secrets
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3

PASSWORD = "Correct-horse-7"


@dataclass
class UserPool:
    """A pool of moto's with its groups and one client."""

    moto_url: str
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = boto3.client("cognito-idp", region_name="us-east-1")
        self.id = self.client.create_user_pool(PoolName="iris")["UserPool"]["Id"]
        self.client_id = self._client_id("web")
        for group in ("admin", "viewer"):
            self.client.create_group(UserPoolId=self.id, GroupName=group)

    @property
    def issuer(self) -> str:
        return f"https://cognito-idp.us-east-1.amazonaws.com/{self.id}"

    def _client_id(self, name: str) -> str:
        made = self.client.create_user_pool_client(
            UserPoolId=self.id,
            ClientName=name,
            ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )
        return str(made["UserPoolClient"]["ClientId"])

    def add_user(self, name: str, *groups: str) -> None:
        self.client.admin_create_user(UserPoolId=self.id, Username=name)
        self.client.admin_set_user_password(
            UserPoolId=self.id, Username=name, Password=PASSWORD, Permanent=True
        )
        for group in groups:
            self.client.admin_add_user_to_group(UserPoolId=self.id, Username=name, GroupName=group)

    def sign_in(self, name: str, client_id: str = "") -> dict[str, Any]:
        """AccessToken, IdToken, RefreshToken."""
        return self._tokens(client_id, "ADMIN_USER_PASSWORD_AUTH", {"USERNAME": name, "PASSWORD": PASSWORD})

    def renew(self, refresh_token: str) -> dict[str, Any]:
        return self._tokens("", "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": refresh_token})

    def other_client(self) -> str:
        """A second client of the same pool, whose tokens are good somewhere else."""
        return self._client_id("other")

    def _tokens(self, client_id: str, flow: str, parameters: dict[str, str]) -> dict[str, Any]:
        answer = self.client.admin_initiate_auth(
            UserPoolId=self.id, ClientId=client_id or self.client_id, AuthFlow=flow, AuthParameters=parameters
        )
        return dict(answer["AuthenticationResult"])


class CognitoDomain:
    """The domain, listening on loopback."""

    def __init__(self, pool: UserPool, username: str) -> None:
        self.pool, self.username = pool, username
        self.token_lives_s = 3600
        self.refuses = ""
        """The error that the next authorisation ends with; empty: none."""
        self.asked: list[str] = []
        """What was asked for: authorize, authorization_code, refresh_token, logout."""
        self._codes: dict[str, dict[str, str]] = {}
        domain = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._lead(domain.lead(*_parsed(self.path)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, content = domain.exchange({k: v[0] for k, v in parse_qs(body).items()})
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def _lead(self, target: str) -> None:
                self.send_response(302 if target else 400)
                if target:
                    self.send_header("Location", target)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="cognito-domain", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def lead(self, path: str, asked: dict[str, str]) -> str:
        """Where the browser is sent; empty: nowhere."""
        if asked.get("client_id") != self.pool.client_id:
            return ""
        if path == "/logout":
            self.asked.append("logout")
            return asked["logout_uri"]
        if path != "/oauth2/authorize" or asked["response_type"] != "code":
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
            return self._granted(self.pool.renew(given["refresh_token"]))
        asked = self._codes.pop(given["code"], {})
        digest = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest())
        wanted = (digest.rstrip(b"=").decode(), given["redirect_uri"], given["client_id"])
        if (asked.get("code_challenge"), asked.get("redirect_uri"), asked.get("client_id")) != wanted:
            return 400, {"error": "invalid_grant"}
        return self._granted(self.pool.sign_in(self.username))

    def _granted(self, tokens: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        renewed = {"refresh_token": tokens["RefreshToken"]} if tokens.get("RefreshToken") else {}
        return 200, {
            "access_token": tokens["AccessToken"],
            "id_token": tokens["IdToken"],
            "token_type": "Bearer",
            "expires_in": self.token_lives_s,
            **renewed,
        }


def _parsed(path: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(path)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}
