"""The outputs summary and pdf: what was found on one page, or as many as it takes.

The first is a series of colour pictures (Secondary Capture), which every viewer shows; the second the same
pages as Encapsulated PDF (PS3.3 A.45.1). Both are made where nothing was found, too, and say so.
"""

import zlib
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from converter.measures import intensity_unit
from converter.results.file import write_object
from converter.results.header import ObjectKind
from converter.results.labelled import Labelled, Writer
from converter.results.settings import ResultSettings, WrittenObject, made_with
from converter.staged_file import flush_folder, write_whole
from converter.uids import derived_uid

from .change_table import ChangeRow
from .grey import brightness_of
from .ink import RESEARCH_USE, in_plain_letters
from .instances import Instances, OwnFacts, add_references, picture_header, result_object
from .page import Pages, Row, Summary
from .pdf_sheet import PdfSheet, pdf_of
from .sheet import HEIGHT, WIDTH, PictureSheet
from .views import views_of

PathOf = Callable[[int, str], Path]
"""Where page so many (from 1), with this UID, is to lie."""

KIND_OF_PDF: Final = ObjectKind(EncapsulatedPDFStorage, "DOC", ExplicitVRLittleEndian)
SAID_BY_MARK: Final = "truncated"
"""The flag that the table's own mark says, of each structure that the scan cuts."""


def summary_version() -> str:
    """Changes whenever the bytes of a summary would."""
    return f"{made_with('5')} pillow {metadata.version('pillow')}"


def pdf_version() -> str:
    """Changes whenever the bytes of a PDF would."""
    return f"{made_with('5')} pillow {metadata.version('pillow')} zlib {zlib.ZLIB_RUNTIME_VERSION}"


def encode_summary(
    labelled: Labelled, settings: ResultSettings, path_of: PathOf
) -> tuple[WrittenObject, ...]:
    """Write the pages as colour pictures, one series; the first has the settings' UID.

    Raises
    ------
    EncodingFailed
        They cannot be made with this series' header.
    ConversionFailed
        The images' pixels cannot be read.
    OSError
    """
    pages = Pages(_summary(labelled, settings), PictureSheet).sheets
    shape = (HEIGHT, WIDTH)
    said = f"Summary of {len(labelled.values)} structures found in the images; research use only"
    shared = picture_header(labelled.volume, settings, shape, ExplicitVRLittleEndian, said)
    shared.PatientOrientation = ""
    instances = Instances(shared, labelled.volume)
    written = []
    for number, page in enumerate(pages, start=1):
        uid = settings.sop_instance_uid
        uid = uid if number == 1 else derived_uid(uid, "page", str(number))
        out = path_of(number, uid)
        out.parent.mkdir(parents=True, exist_ok=True)
        own = OwnFacts(uid, number, range(len(labelled.volume.frames)))
        digest = write_whole(out, instances.file(own, page.pixels))
        flush_folder(out.parent)
        written.append(
            WrittenObject(
                path=out, sha256=digest, sop_instance_uid=uid, sop_class_uid=instances.sop_class_uid
            )
        )
    return tuple(written)


def encode_pdf(labelled: Labelled, settings: ResultSettings, out: Path) -> tuple[WrittenObject]:
    """Write the pages as one Encapsulated PDF.

    Raises
    ------
    EncodingFailed, ConversionFailed, OSError
        As `encode_summary`.
    """
    summary = _summary(labelled, settings)
    title = f"{summary.algorithm} ({RESEARCH_USE.lower()})"
    content = pdf_of(Pages(summary, PdfSheet).sheets, title, settings.made_at)
    document = result_object(labelled.volume, settings, KIND_OF_PDF)
    document.ConversionType, document.BurnedInAnnotation = "WSD", "NO"
    document.AcquisitionDateTime, document.ConceptNameCodeSequence = "", []
    document.DocumentTitle, document.MIMETypeOfEncapsulatedDocument = title, "application/pdf"
    add_references(document, labelled.volume, "SourceInstanceSequence")
    document.EncapsulatedDocument = content + bytes(len(content) % 2)
    document.EncapsulatedDocumentLength = len(content)
    return (write_object(document, out),)


def _write_summary(labelled: Labelled, settings: ResultSettings, out: Path) -> Sequence[WrittenObject]:
    def path_of(number: int, _: str) -> Path:
        return out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")

    return encode_summary(labelled, settings, path_of)


SUMMARY: Final = Writer(summary_version(), _write_summary)
"""What `iris encode` makes a summary with; further pages get their number behind the name."""
PDF: Final = Writer(pdf_version(), encode_pdf)


def _summary(labelled: Labelled, settings: ResultSettings) -> Summary:
    colours = np.zeros((256, 3), np.uint8)
    rows = []
    marked = [flag for flag in labelled.flags if flag.code != SAID_BY_MARK or flag.structure is None]
    flagged = {flag.structure for flag in marked}
    cut = {flag.structure for flag in labelled.flags if flag not in marked}
    for value, measured in labelled.measurements.items():
        name = labelled.names[value]
        found = settings.structure(name)
        colours[value] = found.rgb
        rows.append(
            Row(
                in_plain_letters(found.words, value),
                found.rgb,
                measured.volume_ml,
                measured.mean,
                is_cut=measured.is_truncated,
                is_flagged=name in flagged,
            )
        )
    with brightness_of(labelled.volume) as grey:
        views = views_of(labelled, grey)
    return Summary(
        algorithm=settings.algorithm.name,
        version=settings.algorithm.version,
        made_at=settings.made_at,
        rows=rows,
        unit=intensity_unit(labelled.volume),
        flags=list(dict.fromkeys(flag.sentence for flag in marked)),
        cut=len(cut),
        views=views,
        colours=colours,
        compared=labelled.comparison.sentence if labelled.comparison else "",
        changes=_changes(labelled, settings),
    )


def _changes(labelled: Labelled, settings: ResultSettings) -> list[ChangeRow]:
    """In the order of the table of what was found, and what was found then only among them."""
    order = {name: value for value, name in labelled.names.items()}
    changes = labelled.comparison.changes if labelled.comparison else ()
    ordered = sorted(changes, key=lambda change: order.get(change.structure, len(order)))
    return [
        ChangeRow(in_plain_letters(found.words, order.get(change.structure)), found.rgb, change)
        for change in ordered
        for found in [settings.structure(change.structure)]
    ]
