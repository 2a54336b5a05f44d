"""Hands files to the running gateway by its own STOW-RS door (PS3.18 10.5)."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from gateway.adapters.dicomweb import multipart
from gateway.adapters.errors import Away, Permanent
from gateway.api.callers.access import SENDER_TOKEN_NAME, TOKEN_NAME
from gateway.api.callers.guard import BACKFILL_HEADER, STOW_PATH
from gateway.files.names import API_ADDRESS_NAME

TIMEOUT: Final = httpx.Timeout(600.0, connect=10.0)
"""A gateway answers when all objects of a request are on its disk for good."""
_TAKEN: Final = (200, 202, 409)
"""Each instance has its answer; which of them are there the ledger says."""


class GatewayDoor:
    """The gateway that runs on a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def require_open(self) -> None:
        """See whether it takes studies now.

        Raises
        ------
        Away
            It does not run, or does not take any; one sentence.
        """
        try:
            answer = httpx.get(f"{self._address()}/readyz", timeout=TIMEOUT, trust_env=False)
            reasons = [str(reason) for reason in answer.json().get("reasons", ())]
        except (httpx.HTTPError, ValueError):
            raise _not_there() from None
        if answer.status_code != 200:
            raise Away(f"the gateway takes no studies now: {'; '.join(reasons)}")

    def hand_over(self, files: Sequence[Path]) -> None:
        """Send files in one request, which is what an association is.

        Raises
        ------
        Away
            It does not run, or takes nothing now.
        Permanent
            It refuses the request.
        """
        # Its own sender's token is gone where senders have tokens of their own.
        tokens = [self._data_dir / name for name in (SENDER_TOKEN_NAME, TOKEN_NAME)]
        token = next(filter(Path.is_file, tokens), None)
        boundary = secrets.token_hex(16)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
            BACKFILL_HEADER: "1",
            **({"Authorization": f"Bearer {token.read_text().strip()}"} if token is not None else {}),
        }
        address, body = f"{self._address()}{STOW_PATH}", multipart(boundary, files)
        try:
            answer = httpx.post(address, content=body, headers=headers, timeout=TIMEOUT, trust_env=False)
        except httpx.HTTPError:
            raise _not_there() from None
        if answer.status_code == 503:
            raise Away("the gateway takes nothing now; its log and /readyz say why")
        if answer.status_code not in _TAKEN:
            raise Permanent(f"the gateway answered {answer.status_code} to what was fetched; look at its log")

    def _address(self) -> str:
        try:
            return (self._data_dir / API_ADDRESS_NAME).read_text(encoding="utf-8").strip()
        except OSError:
            raise _not_there() from None


def _not_there() -> Away:
    return Away("the gateway does not answer; `iris serve` starts it")
