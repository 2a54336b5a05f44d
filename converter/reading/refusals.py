"""Why a file can be no slice of a volume, as far as it tells by itself: what it is instead, in words."""

from pydicom import Dataset
from pydicom.uid import UID

from .headers import Finding, can_be_decoded, numbers_of, text_of, transfer_syntax_of

_WHAT_IT_IS = (
    ("Dose SR", "a dose report"),
    ("SR Storage", "a structured report"),
    ("Presentation State", "a presentation state (marks and window settings for other images)"),
    ("Key Object", "a key image note"),
    ("Structure Set", "RT structures (contours on other images)"),
    ("RT Dose", "a dose distribution"),
    ("RT Image", "a radiotherapy image"),
    ("RT ", "a radiotherapy plan or record"),
    ("Radiation", "a radiotherapy plan or record"),
    ("Encapsulated PDF", "a PDF document"),
    ("Encapsulated", "a document or a printable model"),
    ("Segmentation", "a segmentation of other images"),
    ("Parametric Map", "a parametric map of other images"),
    ("Tractography", "tracts through other images"),
    ("Waveform", "a waveform (ECG, sound and the like)"),
    ("Spectroscopy", "spectra"),
    ("Registration", "a registration of other images"),
    ("Fiducials", "marks in other images"),
    ("Raw Data", "raw data, before reconstruction"),
    ("Real World Value", "a table of values for other images"),
    ("Procedure", "a protocol or log"),
    ("Document", "a document"),
    ("Directory", "a directory of files (DICOMDIR)"),
)
"""Part of a SOP class's name (PS3.6 A), and what a person calls it; the first that fits."""

_UNNAMED = {"1.2.840.10008.5.1.4.1.1.66.7": "a segmentation of other images"}
"""Newer than pydicom's list of names: Label Map Segmentation (PS3.4 B.5)."""

_CAPTURE = "Secondary Capture"


def why_no_image(header: Dataset) -> Finding | None:
    """Why a file holds no slice of a volume; None when it may, whatever its geometry."""
    for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not text_of(header, keyword):
            return Finding("no_uids", f"a file has no {keyword}; repair it at the sender and send it again")
    name = UID(text_of(header, "SOPClassUID")).name
    what = _UNNAMED.get(name) or next((words for part, words in _WHAT_IT_IS if part in name), None)
    if what is None and "Rows" not in header:
        what = f"without pixels ({name})"
    if what is not None:
        return Finding("no_image", f"a file is {what}, not an image; leave it out")
    if not getattr(header, "has_pixels", True):
        return Finding("no_pixels", "an image has a header only, without pixels; send it again")
    samples = numbers_of(header, "SamplesPerPixel", 1)
    has_palette = text_of(header, "PhotometricInterpretation").upper() == "PALETTE COLOR"
    if has_palette or (samples is not None and samples[0] != 1):
        return Finding("colour", "a colour image (a capture or a rendering), not a slice of a volume")
    if _CAPTURE in name and "ImagePositionPatient" not in header and not is_multiframe(header):
        return Finding("no_image", "a capture of a screen or a scanned page, not a slice of a volume")
    syntax = transfer_syntax_of(header)
    if not can_be_decoded(syntax):
        return Finding("undecodable", f"no decoder is installed for {syntax.name}; have it sent uncompressed")
    return None


def is_multiframe(header: Dataset) -> bool:
    """Whether an object holds several frames, or one that is described as a frame (PS3.3 C.7.6.16)."""
    frames = numbers_of(header, "NumberOfFrames", 1)
    return (frames is not None and frames[0] > 1) or "PerFrameFunctionalGroupsSequence" in header
