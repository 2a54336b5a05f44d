"""Who asks, and who may ask: /api/v1/me, tokens, and codes by which the page signs in."""

from collections.abc import Callable
from typing import Annotated, Final, Protocol

from fastapi import APIRouter, Path, Request, Security
from fastapi.security import HTTPBearer

from gateway.config.roles import Role

from ..problems import DOCUMENTED, NOT_IN_THE_CLOUD
from ..store import Json, NotHere
from . import token_models
from .access import CODE_S, Caller

NO_TOKENS: Final = "there are no tokens in the cloud; a user pool says who may ask there"
TokenName = Annotated[str, Path(max_length=128, description="The token's name, or how the token begins")]


class Tokens(Protocol):
    """Tokens that are kept, in the shapes of `token_models`; NotPossible says what cannot be."""

    def listed(self) -> list[Json]:
        """All of them, the latest first."""

    def create(self, name: str, role: Role, expires_days: float | None) -> Json:
        """A new one, with the token itself."""

    def revoke(self, name_or_prefix: str) -> Json:
        """End one at once."""


def token_routes(tokens: Tokens | None, new_code: Callable[[Caller], str] | None) -> APIRouter:
    """Everything about who asks; in the cloud there are neither tokens nor codes."""
    router = APIRouter(
        prefix="/api/v1",
        responses=DOCUMENTED,
        dependencies=[Security(HTTPBearer(auto_error=False))],
        tags=["access"],
    )

    @router.get("/me", response_model=token_models.Me)
    def who_asks(request: Request) -> Json:
        """Who you are here, and in which role."""
        caller: Caller = request.state.caller
        return {"name": caller.name, "role": caller.role, "expires": caller.expires_at}

    @router.get("/tokens", response_model=token_models.TokenList, responses=NOT_IN_THE_CLOUD)
    def list_tokens() -> Json:
        """Every token that there is or was, the latest first."""
        return {"items": _there(tokens).listed()}

    @router.post(
        "/tokens", response_model=token_models.MadeToken, status_code=201, responses=NOT_IN_THE_CLOUD
    )
    def create_token(wish: token_models.NewToken) -> Json:
        """Make a token; it is told here and never again."""
        return _there(tokens).create(wish.name, wish.role, wish.expires_days)

    @router.post("/tokens/{name}/revoke", response_model=token_models.Token, responses=NOT_IN_THE_CLOUD)
    def revoke_token(name: TokenName) -> Json:
        """End a token at once, with the sessions of the page that it began."""
        return _there(tokens).revoke(name)

    @router.post(
        "/sign-in-codes", response_model=token_models.SignInCode, status_code=201, responses=NOT_IN_THE_CLOUD
    )
    def create_code(request: Request) -> Json:
        """Make a code by which a browser signs in once, within ten minutes, as you."""
        if new_code is None:
            raise NotHere("there are no codes here: the page signs in at an identity provider")
        code = new_code(request.state.caller)
        return {"code": code, "path": f"/?code={code}", "good_for_s": CODE_S}

    return router


def _there(tokens: Tokens | None) -> Tokens:
    if tokens is None:
        raise NotHere(NO_TOKENS)
    return tokens
