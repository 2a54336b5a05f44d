"""Where received files lie: names from digests (never from a UID), moves that survive a power cut."""

import hashlib
from pathlib import Path

from gateway.adapters.durable import make_folder, sync_folder
from gateway.files.kept import is_lost

from .header import ReadInstance, read_instance
from .refusals import NotReadable

_UID_LETTERS = 32
_DIGEST_LETTERS = 16
"""So much of the digest of its content is in a kept file's name."""


class Archive:
    """The folders `instances/` and `quarantine/` below the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.instances = data_dir / "instances"
        for name in ("instances", "quarantine"):
            make_folder(data_dir / name)

    def keep(self, source: Path, study_uid: str, sop_instance_uid: str, content_sha256: str) -> str:
        """Move a file, whose content is durable, to its place; the path below data_dir.

        Raises
        ------
        OSError
        """
        folder = self.instances / _digest(study_uid)[:_UID_LETTERS]
        make_folder(folder)
        target = folder / f"{uid_part(sop_instance_uid)}-{content_sha256[:_DIGEST_LETTERS]}.dcm"
        try:
            return self._move(source, target)
        except FileNotFoundError:  # the folder was empty, and has just been removed
            make_folder(folder)
            return self._move(source, target)

    def is_named_for(self, kept: str, content_sha256: str) -> bool:
        """Whether a file was kept with this content: its name says so."""
        return Path(kept).stem.endswith(f"-{content_sha256[:_DIGEST_LETTERS]}")

    def is_sound(self, kept: str) -> bool:
        """Whether a kept file still has the content that it was kept with; reads all of it.

        Raises
        ------
        OSError
            The machine cannot tell.
        """
        try:
            return self.is_named_for(kept, content_digest(read_instance(self.data_dir / kept)))
        except NotReadable:
            return False
        except OSError as error:
            if is_lost(error):
                return False
            raise

    def put_aside(self, source: Path, content_sha256: str) -> str:
        """Move a file, whose content is durable, to the quarantine; the path below data_dir.

        Raises
        ------
        OSError
        """
        return self._move(source, self.data_dir / "quarantine" / f"{content_sha256}.dcm")

    def _move(self, source: Path, target: Path) -> str:
        source.replace(target)
        sync_folder(target.parent)
        return str(target.relative_to(self.data_dir))


def uid_part(sop_instance_uid: str) -> str:
    """The part of a kept file's name that says whose it is."""
    return _digest(sop_instance_uid)[:_UID_LETTERS]


def content_digest(read: ReadInstance) -> str:
    """The digest of all that an instance says: header and pixels, not the file's own meta header."""
    return hashlib.sha256(f"{read.header_sha256}{read.pixel_sha256}".encode()).hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
