"""Who may ask in the cloud: whom API Gateway's JWT authoriser let in, by the groups in the token.

The authoriser has checked signature, issuer, audience and expiry; what it read stands in the event that the
function gets, where no client can put anything. A route without an authoriser has no claims, and is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi.responses import Response
from starlette.types import Scope

from gateway.config.roles import Role

from ..problems import problem
from .access import Caller
from .guard import OPEN_FOLDER, let_in

ROLES: Final = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
"""Each is the group of its name; the first that somebody is in counts."""
EVENT: Final = "aws.event"
"""Where Mangum leaves the event of the function in an ASGI scope."""
GROUPS: Final = "cognito:groups"
PAGES: Final = frozenset({"/", "/docs"})
PROBES: Final = frozenset({"/healthz", "/readyz"})


class CognitoPolicy:
    """Groups are roles; the two probes are for everybody whom API Gateway lets through.

    Parameters
    ----------
    opens_page
        Whether the page is, too: it then signs in by itself, and its files hold nothing of any study.
    """

    def __init__(self, *, opens_page: bool = False) -> None:
        self._opens_page = opens_page

    async def refusal(self, scope: Scope) -> Response | None:
        """See `guard.Policy.refusal`."""
        path = scope["path"]
        if path in PROBES or (self._opens_page and (path in PAGES or path.startswith(OPEN_FOLDER))):
            return None
        claims = _claims(scope)
        if claims is None:
            return problem(
                401,
                "sign in, and send the token as Authorization: Bearer TOKEN",
                {"WWW-Authenticate": 'Bearer realm="iris"'},
            )
        groups = _groups(claims)
        role = next((role for role in ROLES if role in groups), None)
        if role is None:
            return problem(
                403, "you are in none of the groups viewer, operator and admin; ask who runs the user pool"
            )
        return let_in(scope, Caller(str(claims.get("username", "")), role))


def _claims(scope: Scope) -> Mapping[str, Any] | None:
    """The claims of the token that the authoriser accepted; None where there was none."""
    found: Any = scope.get(EVENT)
    for name in ("requestContext", "authorizer", "jwt", "claims"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _groups(claims: Mapping[str, Any]) -> frozenset[str]:
    """The groups; HTTP APIs write a claim that is a list as one text, "[admin viewer]"."""
    groups = claims.get(GROUPS, "")
    if isinstance(groups, str):
        groups = groups.removeprefix("[").removesuffix("]").split()
    return frozenset(groups)
