"""From the PACS back here: the stations of the results."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from converter.seg.settings import SOP_CLASSES
from gateway.adapters.dicom.peer import NotReached
from gateway.adapters.dicom.retrieval import NotAnswered

from .at_gateway import Made, Study
from .comparing import Comparison, Elsewhere, balls_found, compared, label_map_on, labels_of
from .headers import Change, changes, in_words
from .phantom import Series
from .scene import Finding, Returned, Scene
from .stations import StationFailed, Verdict
from .way_out import require_same_identity


def results_found(scene: Scene) -> Finding:
    """The PACS shows the results that it answered with success."""
    by_series: dict[str, set[str]] = defaultdict(set)
    for _, _, made in _made(scene):
        header = dcmread(made.path, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"])
        by_series[str(header.SeriesInstanceUID)].add(str(header.SOPInstanceUID))
    if not by_series:
        return Finding("there is no result to look for", verdict=Verdict.NOTED)
    missing, more = 0, 0
    for series_uid, wanted in by_series.items():
        shown = scene.pacs.shown(scene.phantom.study_uid, series_uid, len(wanted))
        if shown is None:
            return Finding("it answers no C-FIND at IMAGE level", verdict=Verdict.NOTED)
        missing, more = missing + len(wanted - shown), more + len(shown - wanted)
    if missing:
        raise _not_found(scene, missing, set(by_series))
    number = sum(map(len, by_series.values()))
    text = f"it shows all {number} results in the phantom's study"
    if more:
        fix = "look for them there: each result is to stand there once"
        return Finding(f"{text}, and {more} objects more in their series", fix, Verdict.NOTED)
    return Finding(text)


def results_fetched(scene: Scene) -> Finding:
    """The PACS gives them back."""
    scene.say("fetching the results")
    for job, series, made in _made(scene):
        folder = scene.folder / "fetched" / job["job_key"][:12]
        try:
            fetched = scene.pacs.fetch(made.path, folder)
        except (NotReached, NotAnswered) as error:
            finding, _, fix = str(error).partition("; ")
            raise StationFailed(
                finding,
                (f"{fix}; " if fix else "")
                + "or enter an AE title of this machine there for C-MOVE, and give it as --listen AE:PORT",
            ) from None
        if fetched is None:
            raise StationFailed(
                f"{made.output} came back without the object that was sent", "look for it in the PACS's log"
            )
        scene.returned.append(Returned(made, job, series, fetched))
    return Finding(f"{len(scene.returned)} results by {scene.pacs.fetches_by}")


def results_unchanged(scene: Scene) -> Finding:
    """What came back is what the gateway made, but for what a PACS may add."""
    found: list[Change] = []
    for one in scene.returned:
        found += changes(one.made.path, one.fetched)
    scene.report.facts["Changed in results"] = in_words(found) or "nothing"
    require_same_identity(found, "results")
    if found:
        return Finding(f"the PACS changed {in_words(found)}", "see that no viewer needs them", Verdict.NOTED)
    return Finding("the PACS changed nothing in their headers")


def voxels_compared(scene: Scene) -> Finding:
    """Every voxel of every segmentation is what it must be."""
    total, exact, of_map = 0, 0, 0
    seen = ""
    on_slices, elsewhere = _read(scene)
    for one, labels in on_slices:
        found = _against_label_map(scene, one, labels)
        if found is not None:
            _require_right(found, one.series.pose.name, "the label map that the gateway kept")
            of_map += 1
        if scene.gateway.is_exact(one.job):
            found = compared(labels, one.series.labels)
            _require_right(found, one.series.pose.name, "the balls")
            exact += 1
            seen = seen or balls_found(labels)
        total += labels.size
        scene.came_back[one.series.pose.name] = labels
    if not exact + of_map:
        return Finding("no segmentation came back: there is nothing to compare", verdict=Verdict.NOTED)
    _say_proven(scene, total, exact, of_map)
    text = f"all {total} voxels of {max(exact, of_map)} segmentations are right"
    if elsewhere:
        text += f", {elsewhere} on an even grid of their own not compared"
    return Finding(f"{text} ({seen})" if seen else text)


_CHECK = "do not use this PACS's copy; compare the object there with the gateway's own, byte by byte"


def _read(scene: Scene) -> tuple[list[tuple[Returned, NDArray[np.uint8]]], int]:
    """The labels of each segmentation that lies on the slices, and how many lie on a grid of their own.

    Raises
    ------
    StationFailed
        One lies elsewhere that is to lie on the slices: with `seg.even_grid` a job has one that does, too.
    """
    on_slices, elsewhere = [], []
    for one in scene.returned:
        if one.made.sop_class_uid in SOP_CLASSES.values():
            try:
                on_slices.append((one, labels_of(one.fetched, one.series)))
            except Elsewhere as error:
                elsewhere.append((one, error))
    has_one = {one.job["job_key"] for one, _ in on_slices}
    for one, why in elsewhere:
        if not scene.gateway.config.seg.even_grid or one.job["job_key"] not in has_one:
            raise StationFailed(f"the segmentation of {one.series.pose.name}: {why}", _CHECK)
    return on_slices, len(elsewhere)


def _made(scene: Scene) -> list[tuple[Study, Series, Made]]:
    """The results of the phantom's jobs, with the series that each is of."""
    return [
        (job, series, made)
        for job in scene.jobs()
        if (series := scene.series_named(job["series_uid"])) is not None
        for made in scene.gateway.made(job["job_key"])
    ]


def _not_found(scene: Scene, missing: int, known: set[str]) -> StationFailed:
    images = {each.series_uid for each in scene.phantom.series}
    others = (scene.pacs.series_of(scene.phantom.study_uid) or set()) - images - known
    if others:
        return StationFailed(
            f"{missing} results are not there under their UIDs, but {len(others)} series that nobody sent: it"
            " gives objects new UIDs",
            "turn that off for what comes from this AE title: what refers to a result by its UID finds none",
        )
    return StationFailed(
        f"it answered C-STORE of the results with success, and shows {missing} of them nowhere",
        "it drops or loses them: look in its log and quarantine; allow Segmentation Storage"
        " (1.2.840.10008.5.1.4.1.1.66.4), and what else the rule's outputs are",
    )


def _against_label_map(scene: Scene, one: Returned, labels: NDArray[np.uint8]) -> Comparison | None:
    target: Path = scene.folder / f"{one.job['job_key'][:12]}.nii.gz"
    path = scene.gateway.label_map(one.job["job_key"], target)
    if path is None:
        return None
    return compared(labels, label_map_on(path, one.series))


def _require_right(found: Comparison, pose: str, with_what: str) -> None:
    if found.wrong:
        raise StationFailed(f"{pose}, compared with {with_what}: {found.sentence}", _CHECK)


def _say_proven(scene: Scene, total: int, exact: int, of_map: int) -> None:
    where = f"the segmentations that the PACS gave back ({total} voxels)"
    if exact:
        scene.report.proven.append(
            f"Every voxel of {where} is labelled as the balls lie at that place and side of the patient."
        )
    if of_map:
        scene.report.proven.append(
            f"Every voxel of {where} is that of the engine's own label map at the same place in mm."
        )
    if not exact:
        scene.report.proven.append(
            f"What the engine ({scene.report.facts.get('Engine', '')}) finds in balls is not judged: with the"
            " engine threshold each label is known beforehand."
        )
