"""Tokens: who may ask, by name, role and expiry. The ledger has their digests, and nobody the tokens again.

A token is 256 random bits, so its SHA-256 is enough: nobody guesses it from that, with or without a salt.
"""

import hashlib
import re
import secrets
import sqlite3
from dataclasses import dataclass, replace
from typing import Final

from gateway.config.roles import Role

from .records import utc_in, utc_now
from .store import Ledger
from .transaction import NotPossible, Transaction

BEGINNING: Final = "iris_"
"""Of every token: people, and programs that look for leaked secrets, know it by that."""
SECRET_BYTES: Final = 32
SHOWN: Final = len(BEGINNING) + 6
"""Characters of a token that lists show: 36 bits of 256."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
RESERVED: Final = frozenset({"admin-token", "sender-token", "anyone"})
"""Names that the timeline has for others."""
DAY_S: Final = 86400


@dataclass(frozen=True)
class TokenRow:
    """What is known of a token; times in UTC as the ledger writes them."""

    key: str
    name: str
    prefix: str
    role: Role
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None = None
    revoked_by: str | None = None

    @classmethod
    def of(cls, row: sqlite3.Row) -> "TokenRow":
        """Read a row."""
        return cls(**{**dict(row), "role": Role(row["role"])})

    @property
    def state(self) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= utc_now() else "valid"


def key_of(token: str) -> str:
    """By what the ledger knows a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def create_token(
    transaction: Transaction, name: str, role: Role, created_by: str, expires_days: float | None = None
) -> tuple[str, TokenRow]:
    """Make a token; it is returned here and nowhere else.

    Parameters
    ----------
    expires_days
        From now, fractions allowed; None: it does not expire.

    Raises
    ------
    NotPossible
        The name cannot be had.
    """
    if not NAME.fullmatch(name):
        raise NotPossible(
            "a token's name has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a figure"
        )
    if name in RESERVED:
        raise NotPossible(f"{name} is the name of another; choose one that says who uses the token")
    if transaction.one("SELECT 1 FROM tokens WHERE name = ? AND revoked_at IS NULL", (name,)) is not None:
        raise NotPossible(f"there is a token {name} already; revoke it first, or choose another name")
    token = BEGINNING + secrets.token_urlsafe(SECRET_BYTES)
    row = TokenRow(
        key=key_of(token),
        name=name,
        prefix=token[:SHOWN],
        role=role,
        created_at=utc_now(),
        created_by=created_by,
        expires_at=utc_in(expires_days * DAY_S) if expires_days is not None else None,
    )
    transaction.insert("tokens", vars(row))
    return token, row


def revoke_token(transaction: Transaction, name_or_prefix: str, revoked_by: str) -> TokenRow:
    """End a token at once, by its name or by how it begins; one that expired, too.

    Raises
    ------
    NotPossible
        None is meant by that, or several are.
    """
    rows = transaction.execute("SELECT * FROM tokens WHERE revoked_at IS NULL").fetchall()
    living = [TokenRow.of(row) for row in rows]
    meant = [row for row in living if row.name == name_or_prefix] or [
        row for row in living if row.prefix == name_or_prefix[:SHOWN]
    ]
    if len(meant) != 1:
        how_many = "several tokens begin" if meant else "no token that is not revoked is called or begins"
        raise NotPossible(f"{how_many} so; `iris token list` shows them")
    (row,) = meant
    revoked = replace(row, revoked_at=utc_now(), revoked_by=revoked_by)
    end = {"revoked_at": revoked.revoked_at, "revoked_by": revoked.revoked_by}
    transaction.update("tokens", "key", row.key, end)
    return revoked


def token_with(ledger: Ledger, key: str) -> TokenRow | None:
    """The token of this key, good or not; None: it was never one."""
    rows = ledger.read("SELECT * FROM tokens WHERE key = ?", (key,))
    return TokenRow.of(rows[0]) if rows else None


def all_tokens(ledger: Ledger) -> list[TokenRow]:
    """Every token that there is or was, the latest first."""
    rows = ledger.read("SELECT * FROM tokens ORDER BY created_at DESC, key")
    return [TokenRow.of(row) for row in rows]
