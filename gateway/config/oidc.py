"""How people sign in at an identity provider: the table `[api.oidc]`."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .roles import Role

_ISSUER = r"^(https://[A-Za-z0-9.-]+(:[0-9]+)?|http://(localhost|127\.0\.0\.1)(:[0-9]+)?)(/[^?#\s]*)?$"


class Oidc(BaseModel):
    """OpenID Connect: whose sign-ins count, and what their groups may."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field("", pattern=rf"^$|{_ISSUER}")
    """As the provider's discovery document says it, to the letter; empty: there is none."""
    client_id: str = Field("", max_length=256)
    """The client that the page is there, without a secret."""
    audience: str = Field("", max_length=256)
    """For whom tokens of programs are made; empty: for the client alone."""
    groups_claim: str = Field("groups", min_length=1, max_length=256)
    """Where a token has the groups; "realm_access.roles" is a claim within a claim."""
    groups: dict[Role, list[str]] = {}
    """The groups of each role; who is in several has the highest."""

    @field_validator("groups")
    @classmethod
    def _is_no_group_of_two_roles(cls, groups: dict[Role, list[str]]) -> dict[Role, list[str]]:
        names = [name for of_role in groups.values() for name in of_role]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"a group has one role: {', '.join(sorted(twice))} stands twice")
        return groups

    @property
    def is_whole(self) -> bool:
        """Whether all is there that signing in takes."""
        return bool(self.issuer and self.client_id and any(self.groups.values()))
