"""Who may ask in the cloud: whom API Gateway's JWT authoriser let in, by the groups in the token.

The authoriser has checked signature, issuer, audience and expiry; what it read stands in the event that the
function gets, where no client can put anything. A route without an authoriser has no claims, and is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi.responses import Response
from starlette.types import Scope

from .guard import OPEN_FOLDER, SAFE_METHODS
from .problems import problem

ADMIN: Final = "admin"
VIEWER: Final = "viewer"
EVENT: Final = "aws.event"
"""Where Mangum leaves the event of the function in an ASGI scope."""
GROUPS: Final = "cognito:groups"
PAGES: Final = frozenset({"/", "/docs"})
PROBES: Final = frozenset({"/healthz", "/readyz"})


class CognitoPolicy:
    """Viewers read, admins act too; the two probes are for everybody whom API Gateway lets through.

    Parameters
    ----------
    opens_page
        Whether the page is, too: it then signs in by itself, and its files hold nothing of any study.
    """

    def __init__(self, *, opens_page: bool = False) -> None:
        self._opens_page = opens_page

    def refusal(self, scope: Scope) -> Response | None:
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
        if ADMIN in groups or (VIEWER in groups and scope["method"] in SAFE_METHODS):
            return None
        if VIEWER in groups:
            return problem(403, f"only the group {ADMIN} may do that; ask who runs the user pool")
        return problem(403, f"you are in neither group, {VIEWER} nor {ADMIN}; ask who runs the user pool")


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
