"""A user pool with its groups, and its domain, where a page signs in; both are moto's Cognito."""

from dataclasses import dataclass, field
from typing import Any

import boto3

from tests.doubles.sign_in_service import Places, SignInService

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


class CognitoDomain(SignInService):
    """A user pool's domain: moto's Cognito makes the tokens."""

    def __init__(self, pool: UserPool, username: str) -> None:
        self.pool = pool
        places = Places("/oauth2/authorize", "/oauth2/token", "/logout", "logout_uri")
        super().__init__(places, pool.client_id, username)

    def tokens(self, username: str) -> dict[str, str]:
        return _named(self.pool.sign_in(username))

    def renewed(self, refresh_token: str) -> dict[str, str]:
        return _named(self.pool.renew(refresh_token))


def _named(tokens: dict[str, Any]) -> dict[str, str]:
    names = {"AccessToken": "access_token", "IdToken": "id_token", "RefreshToken": "refresh_token"}
    return {name: tokens[given] for given, name in names.items() if tokens.get(given)}
