"""People who signed in at an identity provider (OpenID Connect): whose a token is, and the role by groups.

A token counts that the issuer signed (RFC 7515) by an algorithm of the list, for this client or audience, and
whose time it is (RFC 7519, section 4.1).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import GuestProtocol

from gateway.config.oidc import Oidc
from gateway.config.roles import Role
from gateway.ledger.records import utc_text
from gateway.ledger.tokens import RESERVED

from .access import Caller, NotKnown, NotMapped
from .issuer import Issuer, PublicKey

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key; none that a stranger could make with what everybody knows of the issuer."""
TYPES: Final = frozenset({"jwt", "at+jwt"})
"""Of tokens that say who somebody is; a logout token is none (RFC 9068, section 2.1)."""
SKEW_S: Final = 60
"""So far the clocks here and there may differ."""
HIGHEST_FIRST: Final = (Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.SENDER)
MOST_NAME: Final = 100


class IssuersPeople:
    """Who is known by a JSON Web Token: the `sign_in.People` of a gateway."""

    def __init__(self, config: Oidc, issuer: Issuer) -> None:
        self._config = config
        self._issuer = issuer
        self._audience = {config.client_id, config.audience} - {""}

    @property
    def complaint(self) -> str:
        """See `sign_in.People`."""
        return self._issuer.complaint

    @property
    def origin(self) -> str:
        """See `sign_in.SignIn`."""
        return self._issuer.origin

    def settings(self) -> dict[str, str]:
        """See `sign_in.SignIn`: the page sends the ID token, whose audience is always its client."""
        endpoints = self._issuer.endpoints()
        return {
            "name": self.origin,
            "client": self._config.client_id,
            "authorize": endpoints.authorize,
            "token": endpoints.token,
            "logout": endpoints.logout,
            "back": "post_logout_redirect_uri",
            "scope": "openid profile email",
            "sends": "id",
        }

    def by_jwt(self, token: str) -> Caller:
        """Whose token this is.

        Raises
        ------
        NotKnown, NotMapped, CannotTell
        """
        claims = self._claims(token)
        name = _name(claims)
        groups = _groups(claims, self._config.groups_claim)
        role = next((role for role in HIGHEST_FIRST if groups & set(self._config.groups.get(role, ()))), None)
        if role is None:
            mapped = "; ".join(f"{role}: {', '.join(names)}" for role, names in self._config.groups.items())
            known = f"the groups that may ask here ({mapped})"
            raise NotMapped(f"{name} is in none of {known}; ask who runs {self._issuer.name}")
        return Caller(name, role, expires_at=_time(claims["exp"]))

    def _claims(self, token: str) -> Mapping[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=SKEW_S,
            iss={"essential": True, "value": self._issuer.name},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, self._key, algorithms=ALGORITHMS).claims
            registry.validate(claims)
            _time(claims["exp"])
        except ExpiredTokenError:
            raise NotKnown("this sign-in is over; sign in again", is_guess=False) from None
        except ClaimError as error:
            raise _no_good(f"its {error.claim} is not what it has to be") from None
        except (JoseError, ValueError, OverflowError):
            raise _no_good("its signature is not good") from None
        if not self._audience & _texts(claims.get("aud", claims.get("client_id"))):
            raise _no_good("it is for another audience")
        return claims

    def _key(self, token: GuestProtocol) -> PublicKey:
        headers = token.headers()
        if str(headers.get("typ", "JWT")).lower() not in TYPES:
            raise _no_good("it is of another type")
        key = self._issuer.key(headers.get("kid"))
        if key is None:
            raise _no_good("it is signed with another's key")
        return key


def _no_good(why: str) -> NotKnown:
    return NotKnown(f"this sign-in does not count here: {why}")


def _name(claims: Mapping[str, Any]) -> str:
    """What the timeline says; never what it says of others."""
    for claim in ("preferred_username", "email", "cognito:username", "username", "sub"):
        said = claims.get(claim)
        name = "".join(filter(str.isprintable, said)).strip()[:MOST_NAME] if isinstance(said, str) else ""
        if name and name not in RESERVED:
            return name
    raise _no_good("it names nobody")


def _groups(claims: Mapping[str, Any], where: str) -> frozenset[str]:
    """The claim of this name, or where there is none, the claim within claims."""
    found: Any = claims.get(where)
    if found is None:
        found = claims
        for name in where.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    return _texts(found)


def _texts(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    return frozenset(each for each in values if isinstance(each, str))


def _time(seconds: float) -> str:
    return utc_text(datetime.fromtimestamp(seconds, UTC))
