"""The catalogue of outputs: what can be made of a job's labels, and where what makes it is loaded from.

One line an output: configuration, the step encode, `iris encode`, the operator's guide and tests read it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple


class Form(NamedTuple):
    """How an object stands in a file: its SOP class and transfer syntax, by their UIDs."""

    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True)
class Output:
    """One output.

    Parameters
    ----------
    about
        What it is, for the operator's guide.
    maker
        `module:attribute` of what gives its maker when it is called with the configuration
        (`gateway.making.makers.Maker`).
    sop_class_uid
        What its objects are, by which a destination is asked whether it takes them; empty: it is not asked.
    writer
        `module:attribute` of the `converter.results.labelled.Writer` with which `iris encode` makes it of
        files, or of what gives it when it is called: with `has_encoding` with an `Encoding`, with
        `has_drawing` with a `Drawing`. Empty: it is only made of a job.
    is_folder
        Whether `iris encode` writes several files of it into a folder.
    title
        What the description of its series begins with, since viewers show the first words; empty: nothing.
    says_nothing_found
        Whether it is also made where nothing was found, and says so.
    files
        The files of the job that it is made as, where it is no DICOM object: it goes to no destination.
    """

    name: str
    about: str
    maker: str
    sop_class_uid: str = field(default="", kw_only=True)
    title: str = field(default="", kw_only=True)
    writer: str = ""
    has_encoding: bool = False
    has_drawing: bool = field(default=False, kw_only=True)
    is_folder: bool = False
    says_nothing_found: bool = False
    files: tuple[str, ...] = field(default=(), kw_only=True)


_OUTPUTS: Final = (
    Output(
        "seg",
        "DICOM-SEG on the original slices",
        "gateway.making.makers.seg:SegMaker",
        "converter.seg.encoder:segmentation_writer",
        has_encoding=True,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
    ),
    Output(
        "sr",
        "measurements as a structured report",
        "gateway.making.makers.sr:SrMaker",
        "converter.report.document:WRITER",
        title="Measurements",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        says_nothing_found=True,
    ),
    Output(
        "rtstruct",
        "contours for radiotherapy",
        "gateway.making.makers.rtstruct:RtStructMaker",
        "converter.contours.document:WRITER",
        title="Contours",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.481.3",
    ),
    Output(
        "overlay",
        "a colour picture of each slice with the contours, for viewers that draw no segmentations",
        "gateway.making.makers.overlay:OverlayMaker",
        "converter.pictures.overlay:overlay_writer",
        has_drawing=True,
        is_folder=True,
        title="Overlay",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
    ),
    Output(
        "summary",
        "a page as a picture: planes, projection, volumes and flags",
        "gateway.making.makers.summary:SummaryMaker",
        "converter.pictures.summary:SUMMARY",
        title="Summary",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        says_nothing_found=True,
    ),
    Output(
        "pdf",
        "the same page as a document",
        "gateway.making.makers.summary:PdfMaker",
        "converter.pictures.summary:PDF",
        title="Report",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.104.1",
        says_nothing_found=True,
    ),
    Output(
        "surface",
        "a surface of each structure for viewers in 3D, as files of the job",
        "gateway.making.makers.surface:SurfaceMaker",
        files=("surface.glb", "surface.obj", "surface.mtl", "surface.json"),
    ),
)
OUTPUTS: Final[Mapping[str, Output]] = MappingProxyType({each.name: each for each in _OUTPUTS})
NOTE: Final = "rejection"
"""Stands as the output of a note that rejects earlier objects (`supersede = "iocm"`): it stands for itself,
whatever its job comes to."""
EVEN_GRID: Final = "even grid"
"""The segmentation's second series, whose number stands beside those of the outputs."""
EVEN_GRID_TITLE: Final = "Even grid"


def files_of(outputs: Iterable[str]) -> list[str]:
    """The files of the job as which these outputs are made."""
    return [file for name in outputs if name in OUTPUTS for file in OUTPUTS[name].files]


def in_order(names: Iterable[str]) -> list[str]:
    """Outputs in the order of the catalogue: a later one may refer to an earlier one."""
    order = list(OUTPUTS)
    return sorted(names, key=lambda name: order.index(name) if name in OUTPUTS else len(order))


def require_known(names: list[str]) -> None:
    """Refuse a list of outputs with a name that is unknown, or there twice.

    Raises
    ------
    ValueError
        The sentence names what there is.
    """
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise ValueError(f"there is no output {', '.join(unknown)}; known: {', '.join(OUTPUTS)}")
    if len(set(names)) < len(names):
        raise ValueError("an output stands there twice; name each once")
