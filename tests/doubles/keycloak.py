"""A realm of Keycloak as the gateway and its page meet it: discovery, keys, tokens with `groups`."""

import secrets
import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.doubles.sign_in_service import Places, SignInService

REALM = "/realms/hospital"
HERE = f"{REALM}/protocol/openid-connect"
CLIENT = "iris-gateway"


class KeycloakRealm(SignInService):
    """The realm; its people and their groups are `groups`."""

    def __init__(self, username: str, groups: dict[str, list[str]]) -> None:
        self.groups = groups
        self.keys: list[RSAKey] = []
        self.fetched: list[str] = []
        self.change_key()
        places = Places(f"{HERE}/auth", f"{HERE}/token", f"{HERE}/logout", "post_logout_redirect_uri")
        super().__init__(places, CLIENT, username)

    @property
    def issuer(self) -> str:
        return self.url + REALM

    def change_key(self) -> None:
        """Sign with a new key from now on; it is the only one."""
        kid = secrets.token_hex(8)
        self.keys = [RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})]

    def told(self, path: str) -> dict[str, Any] | None:
        if path not in (f"{REALM}/.well-known/openid-configuration", f"{HERE}/certs"):
            return None
        self.fetched.append(path)
        if path == f"{HERE}/certs":
            return {"keys": [key.as_dict(private=False) for key in self.keys]}
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self.url + self.places.authorize,
            "token_endpoint": self.url + self.places.token,
            "end_session_endpoint": self.url + self.places.logout,
            "jwks_uri": f"{self.url}{HERE}/certs",
        }

    def id_token(self, username: str, **other: Any) -> str:
        """Signed by the realm; `other` claims replace its own."""
        now = int(time.time())
        claims = {
            **{"iss": self.issuer, "aud": CLIENT, "azp": CLIENT, "typ": "ID", "sub": f"sub-of-{username}"},
            **{"iat": now, "exp": now + self.token_lives_s, "preferred_username": username},
            **{"groups": self.groups.get(username, [])},
            **other,
        }
        header = {"alg": "RS256", "typ": "JWT", "kid": self.keys[0].kid}
        return jwt.encode(
            header, {name: value for name, value in claims.items() if value is not None}, self.keys[0]
        )

    def tokens(self, username: str) -> dict[str, str]:
        id_token = self.id_token(username)
        return {
            "access_token": self.id_token(username, aud="account"),
            "id_token": id_token,
            "refresh_token": username,
        }

    def renewed(self, refresh_token: str) -> dict[str, str]:
        return self.tokens(refresh_token)
