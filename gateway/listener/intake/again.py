"""An instance that is known came again: as the same, as a correction, as a contradiction, or to heal a loss.

"The same bytes" means: in the ledger and on the disk. A file that was lost or damaged since (a bad block, a
clean-up, a restore that was not whole) is kept anew when its instance comes again.
"""

from enum import Enum, auto
from pathlib import Path

from gateway.files.kept import is_lost, is_there
from gateway.ledger.records import InstanceRow

from .archive import Archive, content_digest
from .attributes import identifying_digest
from .header import ReadInstance, read_instance
from .refusals import Damaged, NotReadable
from .same_pixels import decode_alike


class Again(Enum):
    """As what a known instance came again."""

    SAME = auto()  # and its file is sound
    RECODED = auto()  # the same in another transfer syntax: the first is kept
    LOST = auto()  # the same bytes; the file that was kept of them is gone or damaged
    CORRECTED = auto()  # another header with the same pixels
    REPLACED = auto()  # it differs, and what it should be compared with is lost: it takes its place
    REMOVED = auto()  # the same; its file was removed for its age, or for room


def came_again(archive: Archive, known: InstanceRow, read: ReadInstance, path: Path) -> Again:
    """Compare what came, which lies at `path`, with what is known and kept.

    Raises
    ------
    Damaged
        It contradicts the one that is kept.
    OSError
        The machine cannot tell.
    """
    _check_place(known, read)
    if known.removed_at is not None:
        return _again_after_removal(archive, known, read)
    is_same_syntax = known.transfer_syntax_uid == read.transfer_syntax_uid
    if is_same_syntax and archive.is_named_for(known.path, content_digest(read)):
        return Again.SAME if _is_sound(archive, known) else Again.LOST
    is_same_header = is_same_syntax and known.header_sha256 == read.header_sha256
    if is_same_syntax and not is_same_header and known.pixel_sha256 == read.pixel_sha256:
        return Again.CORRECTED
    if not _is_sound(archive, known):
        return Again.REPLACED
    kept = archive.data_dir / known.path
    if not is_same_syntax and read_instance(kept).identifying == read.identifying:
        return Again.RECODED
    if not decode_alike(kept, path):
        raise Damaged("same_uid_other_pixels", "the same SOP Instance UID is kept with other pixels")
    return Again.SAME if is_same_header else Again.CORRECTED


def check_our_own(ours: Path, read: ReadInstance) -> None:
    """Compare what came with the result of ours that has its SOP Instance UID.

    A PACS may have written other attributes of the patient into it, or another transfer syntax. Other pixels
    are somebody's work, which is not to be dropped. Where ours is gone there is nothing to compare with.

    Raises
    ------
    Damaged
        It has other pixels, or other frames.
    OSError
        The machine cannot read ours at the moment: what came must come again.
    """
    try:
        made = read_instance(ours)
    except NotReadable:
        return
    except OSError as error:
        if is_lost(error):
            return
        raise
    is_same_syntax = made.transfer_syntax_uid == read.transfer_syntax_uid
    if made.geometry_sha256 != read.geometry_sha256 or (
        is_same_syntax and made.pixel_sha256 != read.pixel_sha256
    ):
        raise Damaged(
            "our_result_other_pixels",
            "it has the SOP Instance UID of a result made here, and other pixels; save it as a new object",
        )


def _again_after_removal(archive: Archive, known: InstanceRow, read: ReadInstance) -> Again:
    """Compare what came with what is known of a file that was removed: its digests.

    Raises
    ------
    Damaged
        It contradicts them.
    """
    if known.transfer_syntax_uid != read.transfer_syntax_uid:
        is_recoded = known.identifying_sha256 in ("", identifying_digest(read.identifying))
        return Again.REMOVED if is_recoded else Again.CORRECTED
    if archive.is_named_for(known.path, content_digest(read)):
        return Again.REMOVED
    if known.pixel_sha256 == read.pixel_sha256:
        return Again.CORRECTED
    raise Damaged("same_uid_other_pixels", "the same SOP Instance UID was kept with other pixels")


def _check_place(known: InstanceRow, read: ReadInstance) -> None:
    place = read.text("StudyInstanceUID"), read.text("SeriesInstanceUID")
    if (known.study_uid, known.series_uid) != place:
        raise Damaged("same_uid_elsewhere", "the same SOP Instance UID is kept under another study or series")
    if known.geometry_sha256 != read.geometry_sha256:
        raise Damaged("same_uid_other_geometry", "the same SOP Instance UID is kept with another geometry")


def _is_sound(archive: Archive, known: InstanceRow) -> bool:
    return is_there(archive.data_dir, known) and archive.is_sound(known.path)
