"""The structured report: read by highdicom, equal to what that makes, valid by PixelMed and dicom3tools."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from highdicom import sr
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from converter.earlier import read_earlier
from converter.measures import measure_labels
from converter.report.document import write_report
from converter.report.groups import SegmentationReference
from converter.results.comparison import Change, Comparison, NotCompared, PriorObject
from converter.results.labelled import Labelled
from converter.results.settings import QualityFlag, ResultSettings
from converter.seg.encoder import Encoded, SegmentationSettings, encode_segmentation
from converter.series import read_series
from converter.terminology import Code, structure

MakeSeries = Callable[..., Path]
NAMES = {1: "kidney_left", 6: "liver", 9: "rib_left_1"}
TRUNCATED = QualityFlag("truncated", "liver", 12.5, "%", "The liver touches the edge of the scan.")
SPACING = QualityFlag("spacing_above_5_mm", None, 6.0, "mm", "Slices lie 6 mm apart.")


@pytest.fixture
def labelled(make_series: MakeSeries) -> Labelled:
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[1:4, 3:8, 4:12] = 1
    labels[2:6, 9:14, 4:12] = 6
    return Labelled(read_series(make_series()), labels, NAMES, (TRUNCATED, SPACING))


@pytest.fixture
def said(settings: SegmentationSettings) -> ResultSettings:
    return replace(settings, parameters=("fast = false",))


def segmented(labelled: Labelled, said: SegmentationSettings, path: Path) -> SegmentationReference:
    made: Encoded = encode_segmentation(
        labelled.volume, labelled.labels, labelled.names, replace(said, sop_instance_uid="2.25.7"), path
    )
    return SegmentationReference(made.sop_class_uid, made.sop_instance_uid, said.series_uid)


@pytest.fixture
def report(labelled: Labelled, said: SegmentationSettings, tmp_path: Path) -> Path:
    reference = segmented(labelled, said, tmp_path / "seg.dcm")
    (written,) = write_report(labelled, said, tmp_path / "sr.dcm", reference)
    return written.path


def figures(group: Any) -> dict[str, float]:
    """Name and derivation of each measurement, and its value."""
    found = {}
    for each in group.get_measurements():
        how = f" {each.derivation.meaning}" if each.derivation else ""
        found[each.name.meaning + how] = each.value
    return found


# -- read by highdicom --------------------------------------------------------------------------------------


def test_report_is_read_by_highdicom_with_figures_sides_and_segments(
    report: Path, labelled: Labelled, tmp_path: Path
) -> None:
    document = sr.srread(report)
    groups = document.content.get_volumetric_roi_measurement_groups()
    seg = dcmread(tmp_path / "seg.dcm")
    assert len(groups) == len(seg.SegmentSequence) == 2
    for group, segment, value in zip(groups, seg.SegmentSequence, (1, 6), strict=True):
        measured = labelled.measurements[value]
        assert figures(group) == {
            "Volume": measured.volume_ml,
            "Attenuation Coefficient Mean": measured.mean,
            "Attenuation Coefficient Standard Deviation": measured.sd,
        }
        assert group.tracking_uid == segment.TrackingUID
        assert group.tracking_identifier == segment.TrackingID
        assert group.reference_type == codes.DCM.ReferencedSegment
        (image,) = (each for each in group[0].ContentSequence if each.ValueType == "IMAGE")
        (referenced,) = image.ReferencedSOPSequence
        assert referenced.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        assert referenced.ReferencedSegmentNumber == segment.SegmentNumber
    (kidney, liver) = groups
    (site,) = kidney.finding_sites
    assert kidney.finding_type.meaning == "Kidney"
    assert site.laterality is not None
    assert (site.value.meaning, site.laterality.meaning) == ("Kidney", "Left")
    assert liver.finding_sites[0].laterality is None


def test_report_says_of_each_structure_whether_it_is_cut_and_what_was_noticed(report: Path) -> None:
    kidney, liver = sr.srread(report).content.get_volumetric_roi_measurement_groups()
    said = [
        [(each.name.value, each.value.value) for each in group.get_qualitative_evaluations()]
        for group in (kidney, liver)
    ]
    said = [[each for each in group if each[0] in ("TRUNCATED", "FLAG")] for group in said]
    assert said == [
        [("TRUNCATED", codes.SCT.No.value)],
        [("TRUNCATED", codes.SCT.Yes.value), ("FLAG", "truncated")],
    ]
    assert TRUNCATED.sentence in texts(dcmread(report))
    evaluations = container(dcmread(report), "Qualitative Evaluations")
    (flag, sentence) = evaluations.ContentSequence
    assert flag.ConceptCodeSequence[0].LongCodeValue == "spacing_above_5_mm"
    assert sentence.TextValue == SPACING.sentence
    earlier = read_earlier(report)
    assert earlier is not None
    assert earlier.flags == {"truncated", "spacing_above_5_mm"}


def test_report_names_images_algorithm_and_observer(report: Path, labelled: Labelled) -> None:
    document = dcmread(report)
    (group,) = container(document, "Image Library").ContentSequence
    images = [each for each in group.ContentSequence if each.ValueType == "IMAGE"]
    listed = [each.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for each in images]
    assert listed == [frame.sop_instance_uid for frame in labelled.volume.frames]
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        o.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for o in s.ReferencedSOPSequence
    }
    assert evidence == {*listed, "2.25.7"}
    said = texts(document)
    assert {"threshold tissue", "1.0.0", "fast = false", "iris-gateway"} <= set(said)


def test_report_says_which_imaging_procedure_was_analysed(report: Path) -> None:
    said = {each.ConceptNameCodeSequence[0].CodeValue: each for each in dcmread(report).ContentSequence}
    assert said["121058"].ConceptCodeSequence[0].CodeMeaning == "CT unspecified body region"


def test_report_without_a_segmentation_refers_to_the_images_of_each_structure(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    write_report(labelled, said, tmp_path / "sr.dcm")
    content = sr.srread(tmp_path / "sr.dcm").content
    groups = content.get_image_measurement_groups()
    uids = [frame.sop_instance_uid for frame in labelled.volume.frames]
    assert [list(sources(group)) for group in groups] == [uids[1:4], uids[2:6]]
    assert [figures(group)["Volume"] for group in groups] == [
        labelled.measurements[value].volume_ml for value in (1, 6)
    ]


def test_report_on_frames_of_one_object_lists_the_object_once_and_refers_to_its_frames(
    make_multiframe: Callable[..., Path], said: ResultSettings, tmp_path: Path
) -> None:
    volume = read_series(make_multiframe())
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[2:4, 3:8, 4:12] = 6
    write_report(Labelled(volume, labels, NAMES), said, tmp_path / "sr.dcm")
    (group,) = container(dcmread(tmp_path / "sr.dcm"), "Imaging Measurements").ContentSequence
    (image,) = (each for each in group.ContentSequence if each.ValueType == "IMAGE")
    (reference,) = image.ReferencedSOPSequence
    wanted = [frame.frame_number for frame in volume.frames[2:4]]
    assert list(reference.ReferencedFrameNumber) == wanted
    (library,) = container(dcmread(tmp_path / "sr.dcm"), "Image Library").ContentSequence
    assert [each.ValueType for each in library.ContentSequence].count("IMAGE") == 1


def test_report_on_labels_without_anything_says_that_nothing_was_found(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    empty = replace(labelled, labels=np.zeros_like(labelled.labels), flags=())
    write_report(empty, said, tmp_path / "sr.dcm")
    document = dcmread(tmp_path / "sr.dcm")
    (finding,) = container(document, "Qualitative Evaluations").ContentSequence
    assert finding.ConceptCodeSequence[0].CodeMeaning == "No structure was found"
    assert container(document, "Imaging Measurements") is None


def test_report_of_the_same_work_has_the_same_bytes(
    labelled: Labelled, said: ResultSettings, tmp_path: Path
) -> None:
    written = [write_report(labelled, said, tmp_path / name)[0] for name in ("one.dcm", "two.dcm")]
    assert written[0].path.read_bytes() == written[1].path.read_bytes()
    assert written[0].sha256 == written[1].sha256


@pytest.mark.parametrize(("modality", "name", "unit"), [("MR", "110852", "1"), ("PT", "INTENSITY", "1")])
def test_intensities_of_other_modalities_are_called_what_they_are(
    make_series: MakeSeries, said: ResultSettings, tmp_path: Path, modality: str, name: str, unit: str
) -> None:
    def edit(header: Dataset, _: int) -> None:
        header.Modality = modality

    volume = read_series(make_series(edit=edit))
    labels = np.zeros((6, 16, 24), np.uint8)
    labels[2:4, 3:8, 4:12] = 6
    write_report(Labelled(volume, labels, NAMES), said, tmp_path / "sr.dcm")
    (group,) = sr.srread(tmp_path / "sr.dcm").content.get_image_measurement_groups()
    _, mean, _ = group.get_measurements()
    assert (mean.name.value, mean.unit.value) == (name, unit)
    assert mean.value == measure_labels(volume, labels)[6].mean


def container(document: Dataset, meaning: str) -> Any:
    found = [e for e in document.ContentSequence if e.ConceptNameCodeSequence[0].CodeMeaning == meaning]
    return found[0] if found else None


def sources(group: Any) -> Any:
    for each in group[0].ContentSequence:
        if each.ValueType == "IMAGE":
            yield each.ReferencedSOPSequence[0].ReferencedSOPInstanceUID


def texts(item: Dataset) -> list[str]:
    """Every text of the tree."""
    own = [item.TextValue] if "TextValue" in item else []
    return own + [text for each in item.get("ContentSequence", []) for text in texts(each)]


PRIOR = PriorObject("1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.7", "1.2.3.6", "1.2.3.5")
COMPARED = Comparison(
    prior_date=date(2024, 2, 3),
    interval_days=92,
    changes=(
        Change("kidney_left", 0.5, 0.75),
        Change("liver", 1.0, 1.5, NotCompared.CUT_NOW),
        Change("spleen", 12.5, None, NotCompared.NOT_FOUND_NOW),
    ),
    prior=PRIOR,
)


@pytest.fixture
def compared(labelled: Labelled, said: ResultSettings, tmp_path: Path) -> Path:
    reference = segmented(labelled, said, tmp_path / "seg.dcm")
    over_time = replace(labelled, comparison=COMPARED)
    return write_report(over_time, said, tmp_path / "compared.dcm", reference)[0].path


def test_report_says_the_change_since_the_prior_or_why_it_does_not(compared: Path) -> None:
    document = dcmread(compared)
    groups = container(document, "Imaging Measurements").ContentSequence
    kidney, liver = ({name_of(item): item for item in group.ContentSequence} for group in groups)
    figures = {name: float(kidney[name].MeasuredValueSequence[0].NumericValue) for name in CHANGES}
    assert figures == {"VOLUME_THEN": 0.5, "VOLUME_CHANGE": 0.25, "RELATIVE_CHANGE": 50.0}
    assert liver["NOT_COMPARED"].ConceptCodeSequence[0].CodeValue == "cut_now"
    assert set(CHANGES) & set(liver) == {"VOLUME_THEN"}
    assert [sum(name_of(item) == "118565006" for item in group.ContentSequence) for group in groups] == [1, 1]


def test_report_names_the_prior_its_age_and_what_was_found_then_only(compared: Path) -> None:
    document = dcmread(compared)
    assert "Compared with the result of the scan of 2024-02-03, 92 days before." in texts(document)
    assert "Spleen: 12.5 ml then, not found now." in texts(document)
    evaluations = container(document, "Qualitative Evaluations").ContentSequence
    (interval,) = (item for item in evaluations if name_of(item) == "INTERVAL")
    assert interval.MeasuredValueSequence[0].NumericValue == 92
    (referred,) = (item for item in evaluations if item.ValueType == "COMPOSITE")
    assert referred.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == PRIOR.sop_instance_uid
    (study,) = document.PertinentOtherEvidenceSequence
    assert study.StudyInstanceUID == PRIOR.study_uid
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == PRIOR.series_uid


CHANGES = ("VOLUME_THEN", "VOLUME_CHANGE", "RELATIVE_CHANGE")


def name_of(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].get("CodeValue", ""))


# -- equal to what highdicom makes --------------------------------------------------------------------------


def concept(code: Code) -> sr.CodedConcept:
    return sr.CodedConcept(code.value, code.scheme, code.meaning)


def by_highdicom(
    labelled: Labelled, said: ResultSettings, reference: SegmentationReference, value: int
) -> Any:
    """The group of a structure without flags."""
    name, measured = labelled.names[value], labelled.measurements[value]
    found = structure(name)
    side = concept(found.type_modifier) if found.type_modifier else None
    unit, attenuation = codes.UCUM.HounsfieldUnit, concept(Code("112031", "DCM", "Attenuation Coefficient"))
    number = labelled.values.index(value) + 1
    seg = dcmread(labelled.volume.frames[0].path.parent.parent / "seg.dcm")
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(seg.SegmentSequence[number - 1].TrackingUID, name),
        referenced_segment=sr.ReferencedSegment(
            reference.sop_class_uid,
            reference.sop_instance_uid,
            number,
            source_series=sr.SourceSeriesForSegmentation(labelled.volume.series_uid),
        ),
        finding_category=concept(found.category),
        finding_type=concept(found.type),
        finding_sites=[sr.FindingSite(concept(found.type), side)],
        algorithm_id=sr.AlgorithmIdentification(
            said.algorithm.name, said.algorithm.version, list(said.parameters), concept(said.algorithm.family)
        ),
        measurements=[
            sr.Measurement(codes.SCT.Volume, measured.volume_ml, sr.CodedConcept("ml", "UCUM", "milliliter")),
            sr.Measurement(attenuation, measured.mean, unit, derivation=codes.SCT.Mean),
            sr.Measurement(attenuation, measured.sd, unit, derivation=codes.SCT.StandardDeviation),
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                sr.CodedConcept("TRUNCATED", "99IRIS", "Truncated at the edge of the scan"), codes.SCT.No
            )
        ],
    )[0]


def test_group_is_what_highdicom_makes_of_the_same(
    report: Path, labelled: Labelled, said: SegmentationSettings, tmp_path: Path
) -> None:
    reference = segmented(labelled, said, tmp_path / "seg.dcm")
    ours = container(dcmread(report), "Imaging Measurements").ContentSequence[0]
    theirs = by_highdicom(labelled, said, reference, 1)
    theirs.RelationshipType, theirs.ContinuityOfContent = "CONTAINS", "SEPARATE"
    assert without_order(ours.to_json_dict()) == without_order(theirs.to_json_dict())


def without_order(tree: Mapping[str, Any]) -> Any:
    """Items of one container may stand in any order."""
    plain = dict(tree)
    for tag, element in tree.items():
        if "Value" in element and element["vr"] == "SQ":
            items = [without_order(item) for item in element["Value"]]
            plain[tag] = {"vr": "SQ", "Value": sorted(items, key=partial(json.dumps, sort_keys=True))}
    return plain


# -- valid by others ----------------------------------------------------------------------------------------


def pixelmed_errors(path: Path) -> list[str]:
    """What DicomSRValidator complains of; newer Javas limit the size of its rules, hence the options.

    To run once it is not worth optimizing, which took more time than the rest.
    """
    limits = [f"-Djdk.xml.xpath{each}=0" for each in ("ExprOpLimit", "TotalOpLimit", "ExprGrpLimit")]
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *limits, "-cp", "/usr/share/java/*"]
    done = subprocess.run(
        [*java, "com.pixelmed.validate.DicomSRValidator", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert any("validation complete" in line.lower() for line in said), said
    return [line for line in said if line.startswith("Error")]


@pytest.mark.peer("pixelmed")
def test_report_is_valid_by_pixelmed(compared: Path) -> None:
    assert pixelmed_errors(compared) == []


@pytest.mark.long
@pytest.mark.peer("pixelmed")
@pytest.mark.parametrize("count", [1, 0], ids=["without a segmentation", "nothing found"])
def test_report_without_segments_is_valid_by_pixelmed(
    labelled: Labelled, said: ResultSettings, tmp_path: Path, count: int
) -> None:
    write_report(replace(labelled, labels=labelled.labels * np.uint8(count)), said, tmp_path / "sr.dcm")
    assert pixelmed_errors(tmp_path / "sr.dcm") == []


@pytest.mark.peer("dicom3tools")
def test_report_is_valid_by_dciodvfy(compared: Path) -> None:
    program = shutil.which("dciodvfy")
    assert program is not None
    done = subprocess.run([program, str(compared)], capture_output=True, text=True, check=False)
    assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []
    assert hd.sr.srread(compared).Modality == "SR"
