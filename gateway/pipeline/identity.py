"""Same input, same identity: keys and UIDs that a second gateway, or a second try, would make again."""

import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EngineIdentity:
    """What of the engine is part of a job's identity."""

    name: str
    version: str
    weights: str
    converter_version: str


class SiteSecret:
    """The site's secret; losing it changes every identity.

    Parameters
    ----------
    path
        Its file, made with mode 0600 at the first start.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
        self._key = path.read_text(encoding="ascii").strip().encode()
        if len(self._key) < 32:
            raise ValueError(f"the site secret in {path} is too short; restore it from your backup")

    def study_key(self, site_name: str, study_uid: str) -> str:
        """The opaque key of a study: HMAC-SHA256, lower-case hex."""
        return self._hmac(["study", site_name, study_uid])

    def job_key(
        self,
        instances: Iterable[tuple[str, str, str]],
        task: str,
        options: Mapping[str, Any],
        engine: EngineIdentity,
    ) -> str:
        """The key of a job.

        Parameters
        ----------
        instances
            SOP Instance UID, digest of the pixels as stored, digest of geometry and rescale data, of every
            instance of the volume, in any order.
        """
        canonical_options = json.dumps(options, sort_keys=True, separators=(",", ":"))
        return self._hmac(
            [
                "job",
                *(part for instance in sorted(instances) for part in instance),
                task,
                canonical_options,
                engine.name,
                engine.version,
                engine.weights,
                engine.converter_version,
            ]
        )

    def _hmac(self, parts: Iterable[str]) -> str:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            encoded = part.encode()
            mac.update(len(encoded).to_bytes(8, "big"))
            mac.update(encoded)
        return mac.hexdigest()


def derived_uid(*parts: str) -> str:
    """A UID that follows from `parts` alone (PS3.5 B.2: 2.25 and a UUID as a decimal number)."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"
