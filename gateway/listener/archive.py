"""Where received files lie: names from digests (never from a UID), moves that survive a power cut."""

import hashlib
from pathlib import Path

from gateway.adapters.durable import make_folder, sync_folder


class Archive:
    """The folders `instances/` and `quarantine/` below the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        for name in ("instances", "quarantine"):
            make_folder(data_dir / name)

    def keep(self, source: Path, study_uid: str, sop_instance_uid: str, content_sha256: str) -> str:
        """Move a file, whose content is durable, to its place; the path below data_dir.

        Raises
        ------
        OSError
        """
        folder = self.data_dir / "instances" / _digest(study_uid)[:32]
        make_folder(folder)
        target = folder / f"{_digest(sop_instance_uid)[:32]}-{content_sha256[:16]}.dcm"
        return self._move(source, target)

    def put_aside(self, source: Path, content_sha256: str) -> str:
        """Move a file, whose content is durable, to the quarantine; the path below data_dir.

        Raises
        ------
        OSError
        """
        return self._move(source, self.data_dir / "quarantine" / f"{content_sha256}.dcm")

    def files(self) -> list[Path]:
        """Every kept instance's file, below data_dir."""
        return [path.relative_to(self.data_dir) for path in (self.data_dir / "instances").glob("*/*.dcm")]

    def _move(self, source: Path, target: Path) -> str:
        source.replace(target)
        sync_folder(target.parent)
        return str(target.relative_to(self.data_dir))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
