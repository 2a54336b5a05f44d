"""UIDs that follow from what they name: the same work done twice gives the same UID."""

import hashlib
import uuid


def derived_uid(*parts: str) -> str:
    """A UID that follows from `parts` alone (PS3.5 B.2: 2.25 and a UUID as a decimal number)."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"
