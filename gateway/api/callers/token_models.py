"""The shapes of what is said of who asks, and of tokens."""

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.roles import Role


class Me(BaseModel):
    """Who asks."""

    name: str = Field(description="As the timeline says it")
    role: Role
    expires: str | None = Field(description="When the token or sign-in ends; null: never")


class Token(BaseModel):
    """What is known of a token, which itself is nowhere."""

    name: str
    prefix: str = Field(description="How it begins")
    role: Role
    state: str = Field(description="valid, expired or revoked")
    created: str
    created_by: str
    expires: str | None
    revoked: str | None
    revoked_by: str | None


class TokenList(BaseModel):
    """Every token that there is or was, the latest first."""

    items: list[Token]


class NewToken(BaseModel):
    """A token that is wanted; a misspelt end is not taken for none."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        max_length=64, description="Who or what uses it, which the timeline then says: a-z, 0-9, . _ -"
    )
    role: Role
    expires_days: float | None = Field(None, gt=0, le=36500, description="From now; null: it does not expire")


class MadeToken(Token):
    """A new token: it is told this once."""

    token: str


class SignInCode(BaseModel):
    """A code by which the page signs in once, as whoever asked for it."""

    code: str
    path: str = Field(description="What the gateway's address is opened with")
    good_for_s: int
