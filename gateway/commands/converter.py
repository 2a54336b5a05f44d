"""The commands `iris convert`, `encode` and `decode`: the converter, on files."""

import atexit
import gc
import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .console import err, fail, out, plain_errors

# Each command imports what it needs when it runs.

FORMATS = ("seg",)
"""The outputs that `iris encode` makes without a gateway."""


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
    series_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.nii.gz")],
) -> None:
    """Make a NIfTI of one DICOM series."""
    _ends_soon()
    from converter.nifti import convert_volume
    from converter.series import read_series

    with plain_errors():
        volume = read_series(series_dir)
        for finding in volume.findings:
            err.print(f"warning: {finding.sentence}")
        converted = convert_volume(volume, target)
    for warning in converted.warnings:
        err.print(f"warning: {warning}")
    out.print(f"{target} ({converted.converter_version})")


def encode(
    series_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    labels: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="LABELS.nii.gz")],
    target: Annotated[Path, typer.Argument(metavar="OUT.dcm")],
    task: Annotated[
        str, typer.Option(help="Whose label table names the values: TASK, or ENGINE/TASK")
    ] = "total",
    kind: Annotated[str, typer.Option("--type", help="binary, or labelmap")] = "binary",
    syntax: Annotated[
        str,
        typer.Option(
            "--syntax", help="explicit, deflated, deflated_frame; a label map also rle (its default), jpegls"
        ),
    ] = "",
    crop: Annotated[bool, typer.Option("--crop", help="Frames hold only what has labels")] = False,
    form: Annotated[str, typer.Option("--format", help="What to make: seg")] = "seg",
) -> None:
    """Make a DICOM-SEG of a label map on the slices of a series."""
    _ends_soon()
    from batch_job.contract import ContractError, find_task
    from converter.label_file import encode_label_file
    from converter.segmentation import Encoding
    from gateway.config.outputs import OUTPUTS
    from gateway.making.terms import label_table

    if form not in OUTPUTS:
        raise typer.BadParameter(f"--format is one of {', '.join(OUTPUTS)}")
    try:
        encoding = Encoding.named(kind, syntax, is_cropped=crop)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if form not in FORMATS:
        fail(f"this version makes --format {' or '.join(FORMATS)} only; leave that option out")
    try:
        table = label_table(*find_task(task))
    except ContractError as error:
        fail(str(error))
    with plain_errors():
        encoded = encode_label_file(series_dir, labels, target, table, encoding)
    for warning in encoded.warnings:
        err.print(f"warning: {warning}")
    out.print(f"{target}: {len(encoded.segments)} segments ({', '.join(encoded.segments)})")


def decode(
    seg: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="SEG.dcm")],
    series_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.nii.gz")],
) -> None:
    """Make a label map NIfTI of a DICOM-SEG, on the grid that `iris convert` gives."""
    _ends_soon()
    from converter.segmentation_reader import decode_segmentation
    from converter.series import read_series

    with plain_errors():
        names = decode_segmentation(seg, read_series(series_dir), target)
    out.print(f"{target}: " + ", ".join(f"{value} {name}" for value, name in names.items()))
