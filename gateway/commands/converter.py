"""The commands `iris convert`, `encode` and `decode`: the converter, on files."""

import atexit
import gc
import signal
from collections.abc import Container
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, NoReturn

import typer

from .console import err, fail, out, plain_errors
from .volumes import SeriesArgument, VolumeOption, WhereOption, choice_of

# Each command imports what it needs when it runs.

if TYPE_CHECKING:
    from converter.label_file import LabelTable
    from converter.pictures.settings import Drawing
    from converter.results.labelled import Writer
    from converter.seg.encoder import Encoding

DEFAULT_TASK: Final = "total"
LONGEST_TEXT: Final = 64
"""PS3.5 6.2, value representation LO."""


SyntaxOption = Annotated[
    str,
    typer.Option(
        "--syntax",
        help="Of seg: explicit, deflated, deflated_frame; a label map also rle (its default), jpegls. "
        "Of overlay: explicit, rle, jpegls, jpeg2000",
    ),
]


def _ends_soon() -> None:
    """What a command of seconds does otherwise than a service.

    It looks for no reference cycles, on which it would spend a fifth of its time, and it tidies up when it is
    told to end by SIGTERM, as for Ctrl-C.
    """
    gc.disable()
    atexit.register(gc.freeze)

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def convert(
    series: SeriesArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT.nii.gz")],
    number: VolumeOption = None,
    where: WhereOption = None,
) -> None:
    """Make a NIfTI of one DICOM series."""
    _ends_soon()
    from converter.nifti.conversion import convert_volume
    from converter.series import read_series

    with plain_errors():
        volume = read_series(series, choice_of(number, where))
        for finding in volume.findings:
            err.print(f"warning: {finding.sentence}")
        converted = convert_volume(volume, target)
    for warning in converted.warnings:
        err.print(f"warning: {warning}")
    out.print(f"{target} ({converted.converter_version})")


def encode(
    series: SeriesArgument,
    labels: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="LABELS.nii.gz")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="OUT.dcm, or a folder for many objects")],
    task: Annotated[
        str,
        typer.Option(show_default="total", help="Whose label table names the values: TASK, or ENGINE/TASK"),
    ] = "",
    names: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            exists=True,
            dir_okay=False,
            metavar="NAMES.json",
            help="Names and codes of the values instead: JSON, CSV, a dataset.json, a bundle's metadata.json",
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="What to make: an output, as a rule has it")] = "seg",
    kind: Annotated[str, typer.Option("--type", help="Of seg: binary, or labelmap")] = "binary",
    syntax: SyntaxOption = "",
    crop: Annotated[bool, typer.Option("--crop", help="Of seg: frames hold only what has labels")] = False,
    background_item: Annotated[
        bool, typer.Option(help="Of a label map: background is described as segment 0")
    ] = True,
    even_grid: Annotated[
        bool, typer.Option("--even-grid", help="Of seg: on an even grid, where slices lean or are uneven")
    ] = False,
    plane: Annotated[
        str, typer.Option(help="Of overlay: source, or axial, coronal, sagittal across the stack")
    ] = "source",
    max_mb: Annotated[
        float | None,
        typer.Option(
            "--max-mb", min=0.001, show_default="500", help="Of overlay: larger shows every n-th slice only"
        ),
    ] = None,
    algorithm_name: Annotated[str, typer.Option(help="What found the structures; with its version")] = "",
    algorithm_version: Annotated[str, typer.Option(help="Of what found the structures")] = "",
    series_description: Annotated[str, typer.Option(help="At most 64 characters")] = "",
    series_number: Annotated[int | None, typer.Option(min=0, max=2**31 - 1)] = None,
    number: VolumeOption = None,
    where: WhereOption = None,
) -> None:
    """Make a DICOM-SEG, or another result, of a label map on the slices of a series."""
    _ends_soon()
    from converter.label_file import Wording, encode_label_file
    from converter.series import read_series

    writer = _writer(form, _How(kind, syntax, crop, background_item, even_grid, plane, max_mb))
    algorithm = _algorithm(algorithm_name, algorithm_version)
    _require_text(series_description, "--series-description")
    table = _label_table(task, names)
    kind_and_title = _number_and_title(form, is_on_even_grid=even_grid)
    wording = Wording(algorithm, series_description, series_number, *kind_and_title)
    with plain_errors():
        volume = read_series(series, choice_of(number, where))
        encoded = encode_label_file(volume, labels, target, table, writer, wording, is_on_even_grid=even_grid)
    for warning in encoded.warnings:
        err.print(f"warning: {warning}")
    out.print(f"{target}: {len(encoded.found)} segments ({', '.join(encoded.found)})")


class _How(NamedTuple):
    """How a result is to be made, by the names of the options."""

    type: str = "binary"
    syntax: str = ""
    crop: bool = False
    background_item: bool = True
    even_grid: bool = False
    plane: str = "source"
    max_mb: float | None = None

    def require_only(self, wanted: Container[str], form: str) -> None:
        """Refuse what is said of other results."""
        said = [name for name, value in self._asdict().items() if value != self._field_defaults[name]]
        wrong = [f"--{name.replace('_', '-')}" for name in said if name not in wanted]
        if wrong:
            raise typer.BadParameter(f"the options {', '.join(wrong)} are not for --format {form}")


def _writer(form: str, how: _How) -> "Writer":
    """What makes that output of files."""
    from gateway.config.outputs import OUTPUTS

    if form not in OUTPUTS:
        raise typer.BadParameter(f"--format is one of {', '.join(OUTPUTS)}")
    output = OUTPUTS[form]
    if not output.writer:
        made = [name for name, other in OUTPUTS.items() if other.writer]
        fail(f"this version makes --format {' or '.join(made)} only; leave that option out")
    module, _, attribute = output.writer.partition(":")
    loaded = getattr(import_module(module), attribute)
    try:
        if output.has_encoding:
            how.require_only(("type", "syntax", "crop", "background_item", "even_grid"), form)
            loaded = loaded(_encoding(how))
        elif output.has_drawing:
            how.require_only(("syntax", "plane", "max_mb"), form)
            loaded = loaded(_drawing(how))
        else:
            how.require_only((), form)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    writer: Writer = loaded
    return writer


def _encoding(how: _How) -> "Encoding":
    from converter.seg.encoder import Encoding

    return Encoding.named(how.type, how.syntax, is_cropped=how.crop, has_background_item=how.background_item)


def _drawing(how: _How) -> "Drawing":
    from converter.pictures.settings import MOST_MB, Drawing

    most_mb = MOST_MB if how.max_mb is None else how.max_mb
    return Drawing.named(how.plane, how.syntax or "explicit", most_mb)


def _number_and_title(form: str, *, is_on_even_grid: bool) -> tuple[int, str]:
    """By what series of one source are told apart: its place in the catalogue, and what it is called."""
    from gateway.config.outputs import EVEN_GRID, EVEN_GRID_TITLE, OUTPUTS

    titles = {**{name: output.title for name, output in OUTPUTS.items()}, EVEN_GRID: EVEN_GRID_TITLE}
    kind = EVEN_GRID if is_on_even_grid else form
    return list(titles).index(kind), titles[kind]


def _algorithm(name: str, version: str) -> tuple[str, str] | None:
    if bool(name) != bool(version):
        raise typer.BadParameter("--algorithm-name and --algorithm-version belong together; give both")
    _require_text(name, "--algorithm-name")
    _require_text(version, "--algorithm-version")
    return (name, version) if name else None


def _require_text(text: str, option: str) -> None:
    """Refuse what the value representation LO does not take (PS3.5 6.2)."""
    if len(text) > LONGEST_TEXT or "\\" in text or not text.isprintable():
        raise typer.BadParameter(f"{option} is a text of at most {LONGEST_TEXT} characters without backslash")


def _label_table(task: str, names: Path | None) -> "LabelTable":
    """What the values mean: as a task of an engine has it, or as a file says."""
    from dataclasses import replace

    from batch_job.contract import ContractError, find_task
    from converter.label_file import LabelTable
    from converter.labels import Labels
    from gateway.making.terms import label_table

    with plain_errors():
        own = None if names is None else Labels.read(names)
    if own is not None and not task:
        return LabelTable.of_own(own)
    try:
        table = label_table(*find_task(task or DEFAULT_TASK))
    except ContractError as error:
        raise typer.BadParameter(str(error), param_hint="--task") from None
    if own is None:
        return table
    terms = replace(table.terms, structures={**table.terms.structures, **own.structures})
    return replace(table, names=own.names, terms=terms, modality="")


def decode(
    seg: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="SEG.dcm")],
    series: SeriesArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT.nii.gz")],
    number: VolumeOption = None,
    where: WhereOption = None,
) -> None:
    """Make a label map NIfTI of a DICOM-SEG, on the grid that `iris convert` gives."""
    _ends_soon()
    from converter.seg.decoder import decode_segmentation
    from converter.series import read_series

    with plain_errors():
        names = decode_segmentation(seg, read_series(series, choice_of(number, where)), target)
    out.print(f"{target}: " + ", ".join(f"{value} {name}" for value, name in names.items()))
