"""The command `iris volumes`, and how the converter's commands are told which volume of a series is meant."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import JsonOption, out, plain_errors, print_json, say_table

# Each command imports what it needs when it runs.

if TYPE_CHECKING:
    from converter.series import Choice, Judgement, Volume

SeriesArgument = Annotated[
    Path,
    typer.Argument(
        exists=True, metavar="SERIES", help="A folder of DICOM files, one with a DICOMDIR, a file, or a zip"
    ),
]
VolumeOption = Annotated[
    int | None, typer.Option("--volume", metavar="N", min=1, help="Of several volumes the one of that number")
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEYWORD=VALUE",
        help="Of several volumes the one with this, as EchoTime=5",
    ),
]


def choice_of(number: int | None, where: list[str] | None) -> "Choice":
    """What the options say."""
    from converter.series import Choice

    pairs = [text.partition("=") for text in where or ()]
    wrong = [text for text, sign, value in pairs if not (text and sign and value)]
    if wrong:
        raise typer.BadParameter(f"--where {wrong[0]} is no KEYWORD=VALUE, as EchoTime=5 is")
    return Choice(number, {keyword.strip(): value.strip() for keyword, _, value in pairs})


def volumes(series: SeriesArgument, as_json: JsonOption = False) -> None:
    """List the volumes of a series: their numbers, what tells them apart, and whether they can be used."""
    from converter.choice import distinctions
    from converter.series import judge

    with plain_errors():
        judgement = judge(series)
    apart = distinctions(judgement.volumes)
    items = [
        {"number": number, **_described(volume), "told_apart": told}
        for number, (volume, told) in enumerate(zip(judgement.volumes, apart, strict=True), start=1)
    ]
    if as_json:
        print_json({"items": items, "left_over": _left_over(judgement)})
        return
    rows = []
    for item in items:
        row_mm, column_mm = item["pixel_spacing_mm"]
        spacing = f"{row_mm:.4g} x {column_mm:.4g} x {item['slice_spacing_mm']:.4g} mm"
        told = ", ".join(f"{keyword}={value}" for keyword, value in item["told_apart"].items())
        size = f"{item['rows']} x {item['columns']}"
        verdict = item["usability"].replace("_", " ")
        rows.append((str(item["number"]), str(item["images"]), size, spacing, told, verdict))
    if rows:
        say_table(("volume", "images", "size", "spacing", "told apart by", "verdict"), rows)
    for item in items:
        for finding in item["findings"]:
            out.print(f"volume {item['number']}: {finding['sentence']}")
    for left in _left_over(judgement):
        out.print(f"{left['files']} left out: {left['sentence']}")


def _described(volume: "Volume") -> dict[str, Any]:
    from converter.reading.headers import text_of

    return {
        "images": len(volume.frames),
        "modality": text_of(volume.header, "Modality"),
        "rows": volume.rows,
        "columns": volume.columns,
        "pixel_spacing_mm": list(volume.pixel_spacing_mm),
        "slice_spacing_mm": volume.slice_spacing_mm,
        "usability": str(volume.usability),
        "findings": [vars(finding) for finding in volume.findings],
    }


def _left_over(judgement: "Judgement") -> list[dict[str, Any]]:
    from collections import Counter

    counts = Counter(finding for _, finding in judgement.left_over)
    return [{"files": count, **vars(finding)} for finding, count in counts.items()]
