"""Where the page signs in by itself, with a client that has no secret."""

from dataclasses import dataclass
from typing import Final, Protocol

from gateway.config import Config

from .access import Caller

SIGN_IN_PATH: Final = "/page/sign-in.json"
"""Among the page's own files: it is read before anybody has signed in."""


class SignIn(Protocol):
    """One place where it does."""

    @property
    def origin(self) -> str:
        """Scheme and host, which the page may ask."""

    def settings(self) -> dict[str, str]:
        """What the page has to know: see sign-in.js. CannotTell where nobody can sign in now."""


class People(SignIn, Protocol):
    """Those who sign in there."""

    @property
    def complaint(self) -> str:
        """Why somebody may not be able to, in a sentence; empty: nothing is wrong."""

    def by_jwt(self, token: str) -> Caller:
        """Whose token this is; NotKnown, NotMapped or CannotTell where that is nobody who may ask."""


@dataclass(frozen=True)
class CognitoSignIn:
    """At a user pool's own pages.

    Parameters
    ----------
    url
        Scheme and host of its domain.
    client
        Its client that the page is.
    """

    url: str
    client: str

    @property
    def origin(self) -> str:
        """See `SignIn.origin`."""
        return self.url

    def settings(self) -> dict[str, str]:
        """See `SignIn.settings`."""
        return {
            "name": "Cognito",
            "client": self.client,
            "authorize": f"{self.url}/oauth2/authorize",
            "token": f"{self.url}/oauth2/token",
            "logout": f"{self.url}/logout",
            "back": "logout_uri",
            "scope": "openid",
            "sends": "access",
        }


def people_of(config: Config) -> People | None:
    """Who signs in at the identity provider that a gateway's configuration names; None: it names none."""
    if config.api.auth != "oidc":
        return None
    from .issuer import Issuer  # late: most gateways need neither
    from .people import IssuersPeople

    return IssuersPeople(config.api.oidc, Issuer(config.api.oidc.issuer))
