"""The outputs summary and pdf: what stands on the page, and what is said of it."""

import re
import zlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydicom import dcmread

from converter.pictures.change_table import ChangeRow
from converter.pictures.grey import brightness_of
from converter.pictures.ink import in_plain_letters
from converter.pictures.page import Pages, Row, Summary
from converter.pictures.pdf_sheet import PdfSheet, pdf_of
from converter.pictures.sheet import HEIGHT, WIDTH, PictureSheet
from converter.pictures.summary import PDF, SUMMARY
from converter.pictures.views import View, views_of
from converter.results.comparison import Change, Comparison, NotCompared
from converter.results.header import is_our_own
from converter.results.labelled import Labelled, QualityFlag
from converter.series import read_series
from tests.pictures import NAMES, errors_of, labelled, settings
from tests.property.made_up_series import DIRECTIONS, Phantom, written

FLAGS = (
    QualityFlag("wide_spacing", None, 6, "mm", "slices are 6 mm apart"),
    QualityFlag("volume", "liver", 9000, "ml", "the liver has 9000 ml (usual: 900 to 2500)"),
)


@pytest.fixture
def body(small_study: Path) -> Labelled:
    found = labelled(read_series(small_study), lambda hu: hu > 300)
    return Labelled(found.volume, found.labels, NAMES, FLAGS)


def texts(pdf: bytes) -> str:
    """What is written in a PDF, its streams inflated."""
    streams = re.findall(rb"/Filter /FlateDecode /Length (\d+) >>\nstream\n", pdf)
    found = []
    for match in re.finditer(rb"<< /Filter /FlateDecode /Length (\d+) >>\nstream\n", pdf):
        content = zlib.decompress(pdf[match.end() : match.end() + int(match[1])])
        found += re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", content)
    assert streams
    return "\n".join(re.sub(rb"\\(.)", rb"\1", text).decode("cp1252") for text in found)


def document_of(labelled_images: Labelled, folder: Path) -> bytes:
    (made,) = PDF.write(labelled_images, settings(), folder / "report.dcm")
    document = dcmread(made.path)
    return bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])


def test_names_that_the_font_lacks_are_in_plain_letters_or_the_label(body: Labelled, tmp_path: Path) -> None:
    assert [in_plain_letters(words, 7) for words in ("Größe, links", "脾臓", "Liver")] == [
        "Grosse, links",
        "Label 7",
        "Liver",
    ]
    said = texts(document_of(replace(body, names={1: "脾臓"}), tmp_path))
    assert "Label 1" in said.splitlines()


def test_page_has_structures_with_figures_flags_engine_and_research_use(
    body: Labelled, tmp_path: Path
) -> None:
    said = texts(document_of(body, tmp_path))
    measured = body.measurements[1]
    assert "Liver" in said.splitlines()
    assert f"{measured.volume_ml:.1f}" in said.splitlines()
    assert f"{measured.mean:.0f}" in said.splitlines()
    assert {"mean HU", "finder total", "version 1.2", "made 2024-05-06 07:08 UTC"} <= set(said.splitlines())
    assert "Research use only, not for diagnosis" in said
    assert "1 structure found, 2 remarks on quality" in said
    assert "! slices are 6 mm apart" in said
    assert "! the liver has 9000 ml (usual: 900 to 2500)" in said
    assert "* cut off at the edge of the scan" in said  # the spine goes through all slices
    assert "Small" not in said  # the patient's name


def test_page_says_first_how_many_organs_are_flagged_as_cut_off(body: Labelled, tmp_path: Path) -> None:
    flag = QualityFlag("truncated", "liver", 12.5, "%", "the liver is cut off")
    cut = replace(body, flags=(flag,))
    assert "1 structure found, 1 organ cut off" in texts(document_of(cut, tmp_path)).splitlines()
    both = replace(body, flags=(flag, FLAGS[0]))
    said = texts(document_of(both, tmp_path)).splitlines()
    assert "1 structure found, 1 remark on quality, 1 organ cut off" in said


def test_page_is_dated_in_the_time_zone_of_its_site(body: Labelled, tmp_path: Path) -> None:
    tokyo = settings().made_at.astimezone(ZoneInfo("Asia/Tokyo"))
    (made,) = PDF.write(body, settings(made_at=tokyo), tmp_path / "report.dcm")
    document = dcmread(made.path)
    said = texts(bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]))
    assert "made 2024-05-06 16:08 UTC+0900" in said.splitlines()
    assert document.ContentTime.startswith("1608")


def test_page_of_nothing_says_that_nothing_was_found(body: Labelled, tmp_path: Path) -> None:
    empty = Labelled(body.volume, np.zeros_like(body.labels), NAMES)
    assert "Nothing was found" in texts(document_of(empty, tmp_path))
    (made,) = SUMMARY.write(empty, settings(), tmp_path / "summary.dcm")
    assert dcmread(made.path).pixel_array.shape == (HEIGHT, WIDTH, 3)


def test_summary_is_a_colour_capture_that_names_its_sources(body: Labelled, tmp_path: Path) -> None:
    (made,) = SUMMARY.write(body, settings(), tmp_path / "summary.dcm")
    picture = dcmread(made.path)
    assert made.sop_instance_uid == picture.SOPInstanceUID == "2.25.1"
    assert (picture.Modality, picture.ConversionType) == ("OT", "WSD")
    assert picture.ImageType == ["DERIVED", "SECONDARY"]
    assert (picture.Rows, picture.Columns) == (HEIGHT, WIDTH)
    named = {item.ReferencedSOPInstanceUID for item in picture.SourceImageSequence}
    assert named == {frame.sop_instance_uid for frame in body.volume.frames}
    assert is_our_own(picture)
    assert errors_of(made.path) == []


def test_pdf_is_an_encapsulated_document_of_its_study(body: Labelled, tmp_path: Path) -> None:
    (made,) = PDF.write(body, settings(), tmp_path / "report.dcm")
    document = dcmread(made.path)
    assert document.SOPClassUID.name == "Encapsulated PDF Storage"
    assert (document.Modality, document.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert document.StudyInstanceUID == body.volume.study_uid
    assert document.DocumentTitle == "finder total (research use only)"
    assert len(document.SourceInstanceSequence) == len(body.volume.frames)
    assert is_our_own(document)
    assert errors_of(made.path) == []


def test_pdf_has_a_table_that_leads_to_each_of_its_objects(body: Labelled, tmp_path: Path) -> None:
    pdf = document_of(body, tmp_path)
    assert pdf.startswith(b"%PDF-1.4\n")
    assert pdf.endswith(b"%%EOF\n")
    begin = int(re.search(rb"startxref\n(\d+)\n", pdf)[1])  # type: ignore[index]
    assert pdf[begin : begin + 5] == b"xref\n"
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n ", pdf[begin:])]
    for number, place in enumerate(places, start=1):
        assert pdf[place:].startswith(f"{number} 0 obj\n".encode())
    for stream in re.finditer(rb"/Length (\d+) >>\nstream\n", pdf):
        assert pdf[stream.end() + int(stream[1]) :].startswith(b"\nendstream")


@pytest.mark.parametrize("writer", [SUMMARY, PDF], ids=["summary", "pdf"])
def test_same_labels_give_the_same_page(body: Labelled, tmp_path: Path, writer: object) -> None:
    one, two = (
        writer.write(body, settings(), tmp_path / f"{name}.dcm")  # type: ignore[attr-defined]
        for name in "ab"
    )
    assert one[0].path.read_bytes() == two[0].path.read_bytes()


def view(size_mm: tuple[float, float] = (300.0, 200.0)) -> View:
    plane = np.zeros((20, 30), np.uint8)
    return View("axial", ("R", "L", "A", "P"), plane, plane, size_mm)


def summary_of(count: int, flags: int = 0) -> Summary:
    rows = [
        Row(f"Structure {n}, left", (200, 90, 90), 3.0 * n, -20.0, n % 3 == 0, False) for n in range(count)
    ]
    said = [f"remark {n}: something to know that takes some words to say" for n in range(flags)]
    colours = np.zeros((256, 3), np.uint8)
    return Summary("finder", "1", settings().made_at, rows, "HU", said, [view()] * 4, colours)


@pytest.mark.parametrize(("count", "flags", "pages"), [(3, 1, 1), (44, 2, 1), (117, 0, 1), (400, 90, 4)])
def test_every_structure_and_remark_has_its_line_on_as_many_pages_as_that_takes(
    count: int, flags: int, pages: int
) -> None:
    summary = summary_of(count, flags)
    sheets = Pages(summary, PdfSheet).sheets
    said = texts(pdf_of(sheets, "title", settings().made_at)).splitlines()
    assert len(sheets) == pages
    assert {row.name for row in summary.rows} <= set(said)
    assert {f"! {flag}" for flag in summary.flags} <= set(said)
    assert sum("not for diagnosis" in line for line in said) == pages
    assert len(Pages(summary, PictureSheet).sheets) >= pages


@pytest.mark.parametrize(("count", "pages"), [(3, 1), (117, 2)])
def test_change_of_every_structure_has_its_line_below_what_it_is_compared_with(
    count: int, pages: int
) -> None:
    why = {1: NotCompared.CUT_THEN, 2: NotCompared.NOT_FOUND_THEN}
    plain = summary_of(count)
    changes = [
        ChangeRow(row.name, row.rgb, Change(row.name, 1000.0 + n, 1250.0 + n, why.get(n)))
        for n, row in enumerate(plain.rows)
    ]
    compared = Comparison(prior_date=date(2024, 2, 3), interval_days=1).sentence
    summary = replace(plain, compared=compared, changes=changes)
    sheets = Pages(summary, PdfSheet).sheets
    said = texts(pdf_of(sheets, "title", settings().made_at)).splitlines()
    assert len(sheets) == pages
    assert "Compared with the result of the scan of 2024-02-03, 1 day before." in said
    assert {"1000", "1250", "+250", "+25.0", "cut off then", "not found then"} <= set(said)
    assert all(said.count(row.name) == 2 for row in plain.rows)
    assert "Volumes of structures that a scan cuts off, now or then, are not compared." in said


def test_changes_stand_behind_remarks_in_the_order_of_the_table_also_what_was_found_then_only(
    body: Labelled, tmp_path: Path
) -> None:
    changes = (
        Change("kidney_left", 100.0, None, NotCompared.NOT_FOUND_NOW),
        Change("liver", 1000.0, 1000.0),
        Change("spleen", 90.0, None, NotCompared.NOT_FOUND_NOW),
    )
    compared = Comparison(prior_date=date(2024, 2, 3), interval_days=0, changes=changes)
    names = {1: "liver", 2: "spleen", 3: "kidney_left"}
    said = texts(document_of(replace(body, names=names, comparison=compared), tmp_path)).splitlines()
    at = [said.index(f"! {FLAGS[0].sentence}"), said.index(compared.sentence)]
    at += [said.index(name, at[1]) for name in ("Liver", "Spleen", "Kidney, left")]
    assert at == sorted(at)
    assert {"0.00", "0.0"} <= set(said[at[1] :])  # no change has no sign


def test_page_without_a_prior_says_why(body: Labelled, tmp_path: Path) -> None:
    alone = replace(body, comparison=Comparison(why_none="there is none"))
    assert "Not compared with an earlier result: there is none." in texts(document_of(alone, tmp_path))


def test_pages_of_a_long_summary_are_instances_of_one_series(small_study: Path, tmp_path: Path) -> None:
    volume = read_series(small_study)
    labels = np.zeros((8, 64, 64), np.uint8)
    labels[3].reshape(-1)[:4000] = np.arange(4000) % 250 + 1
    names = {value: f"part {value}" for value in range(1, 251)}
    made = SUMMARY.write(Labelled(volume, labels, names), settings(), tmp_path / "summary.dcm")
    pages = [dcmread(one.path) for one in made]
    assert len(pages) > 1
    assert [one.path.name for one in made[:2]] == ["summary.dcm", "summary-2.dcm"]
    assert [page.InstanceNumber for page in pages] == list(range(1, len(pages) + 1))
    assert {page.SeriesInstanceUID for page in pages} == {"2.25.2"}
    assert len({page.SOPInstanceUID for page in pages}) == len(pages)


@pytest.mark.parametrize("direction", sorted(DIRECTIONS))
def test_planes_are_looked_at_as_radiologists_do(tmp_path: Path, direction: str) -> None:
    """The blob lies off the middle: where it is in each picture follows from where it is in the patient."""
    heights = tuple(3.0 * number for number in range(12))
    marked = Phantom(direction, (0.0, 0.0, 0.0), (40, 48), (1.0, 1.25), heights, (0.0, 0.0), tuple(range(12)))
    volume = written(marked, tmp_path / "series")
    found = labelled(volume, lambda hu: hu > 0)
    with brightness_of(volume) as grey:
        views = views_of(found, grey)
    corners = np.array([frame.position_lps_mm for frame in volume.frames])
    row, column = np.reshape(volume.orientation_lps, (2, 3))
    ends = [
        corners,
        corners + row * 1.25 * 47,
        corners + column * 39,
        corners + row * 1.25 * 47 + column * 39,
    ]
    low, high = np.concatenate(ends).min(axis=0), np.concatenate(ends).max(axis=0)
    left, back, up = (marked.blob_mm - low) / (high - low)
    expected = {
        "axial": ("RLAP", left, back),
        "coronal": ("RLHF", left, 1 - up),
        "sagittal": ("APHF", back, 1 - up),
        "from the front": ("RLHF", left, 1 - up),
    }
    for each in views:
        sides, across, down = expected[each.caption]
        assert "".join(each.sides) == sides
        rows, columns = np.nonzero(each.labels)
        assert columns.mean() / (each.labels.shape[1] - 1) == pytest.approx(across, abs=0.06)
        assert rows.mean() / (each.labels.shape[0] - 1) == pytest.approx(down, abs=0.06)
        brightest = np.unravel_index(int(each.grey.argmax()), each.grey.shape)
        assert each.labels[brightest] == 1
