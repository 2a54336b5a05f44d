"""Tokens as the ledger keeps them, behind the API's protocols."""

from typing import Final

import structlog

from gateway.config.roles import Role
from gateway.ledger.store import Ledger
from gateway.ledger.tokens import TokenRow, all_tokens, create_token, revoke_token, token_with

from ..store import Json
from .access import Caller, NotKnown
from .authors import AUTHOR

BY_COMMAND: Final = "iris token"
"""Who asks where no gateway runs: whoever may write the ledger."""

log = structlog.get_logger(__name__)


class LedgerTokens:
    """The ledger's tokens; each question reads it anew, so that what is revoked is so at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find(self, key: str) -> Caller:
        """Who has the token of this key.

        Raises
        ------
        NotKnown
        """
        row = token_with(self._ledger, key)
        if row is None:
            raise NotKnown("this is no token of this gateway")
        if row.state != "valid":
            at = row.revoked_at or row.expires_at or ""
            ended = f"the token {row.name} {_ENDED[row.state]} {at[:10]}; ask an admin for a new one"
            raise NotKnown(ended, is_guess=False)
        return Caller(row.name, row.role, row.key, row.expires_at)

    def listed(self) -> list[Json]:
        """See `token_routes.Tokens`."""
        return [_shown(row) for row in all_tokens(self._ledger)]

    def create(self, name: str, role: Role, expires_days: float | None) -> Json:
        """See `token_routes.Tokens`."""
        by = AUTHOR.get() or BY_COMMAND
        with self._ledger.transaction() as transaction:
            token, row = create_token(transaction, name, role, by, expires_days)
        log.info("token_created", token=name, role=role, by=by)
        return {**_shown(row), "token": token}

    def revoke(self, name_or_prefix: str) -> Json:
        """See `token_routes.Tokens`."""
        by = AUTHOR.get() or BY_COMMAND
        with self._ledger.transaction() as transaction:
            row = revoke_token(transaction, name_or_prefix, by)
        log.info("token_revoked", token=row.name, by=by)
        return _shown(row)


_ENDED: Final = {"expired": "expired on", "revoked": "was revoked on"}


def _shown(row: TokenRow) -> Json:
    return {
        "name": row.name,
        "prefix": row.prefix,
        "role": row.role,
        "state": row.state,
        "created": row.created_at,
        "created_by": row.created_by,
        "expires": row.expires_at,
        "revoked": row.revoked_at,
        "revoked_by": row.revoked_by,
    }
