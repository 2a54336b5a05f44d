"""Same input, same identity: keys and UIDs that a second gateway, or a second try, would make again."""

import hashlib
import hmac
import json
import os
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.adapters.durable import make_folder, sync_folder
from gateway.config import ConfigError

SHORTEST_SECRET = 32


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

    Raises
    ------
    ConfigError
        It cannot be read or made, or is too short to be one.
    """

    def __init__(self, path: Path) -> None:
        try:
            if not path.exists():
                _make_secret(path)
            self._key = path.read_bytes().strip()
        except OSError as error:
            raise ConfigError(
                f"site.secret_file: {path} cannot be read or made ({error.strerror}); choose another"
            ) from None
        if len(self._key) < SHORTEST_SECRET:
            raise ConfigError(
                f"site.secret_file: the site secret in {path} is shorter than {SHORTEST_SECRET} characters; "
                "restore it from your backup"
            )

    def digest(self) -> str:
        """What tells this secret from others and reveals nothing of it."""
        return self._hmac(["digest"])

    def study_key(self, site_name: str, study_uid: str) -> str:
        """The opaque key of a study: HMAC-SHA256, lower-case hex."""
        return self._hmac(["study", site_name, study_uid])

    def image_key(self, voxels_sha256: str, geometry_sha256: str) -> str:
        """The opaque key of an uploaded NIfTI; its UIDs and the name of its file derive from it."""
        return self._hmac(["nifti", voxels_sha256, geometry_sha256])

    def correction_key(self, sop_instance_uid: str) -> str:
        """The opaque key of a correction, by which it leaves the site."""
        return self._hmac(["correction", sop_instance_uid])

    def tracking_key(self) -> bytes:
        """What keeps the tracking UIDs of patients' structures from being guessed."""
        return bytes.fromhex(self._hmac(["tracking"]))

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
            image of the volume, in any order. A frame of a multi-frame object has the UID and digests of the
            object, and its number behind the UID ("1.2.3#7"): volumes that take other frames of it differ.
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


def volume_digest(instances: Iterable[tuple[str, str, str]]) -> str:
    """What a volume's images are, without a secret: the same for the same images, in any order.

    Parameters
    ----------
    instances
        As for `SiteSecret.job_key`.
    """
    digest = hashlib.sha256()
    for instance in sorted(instances):
        digest.update("\0".join(instance).encode() + b"\n")
    return digest.hexdigest()


def _make_secret(path: Path) -> None:
    """Make a secret that is whole or not there: a crash must not leave an empty one."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(secrets.token_hex(32).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
