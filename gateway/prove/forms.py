"""Which forms of results the PACS keeps: this test makes one of each of the balls, and looks what comes back.

What an engine finds plays no part here: labels are the balls' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import dcmread

from batch_job.contract import find_task
from converter.results.labelled import Labelled, Writer
from converter.results.settings import Algorithm, ResultSettings
from converter.seg.settings import Encoding
from converter.series import volume_of
from converter.uids import derived_uid
from gateway.adapters.dicom.implementation import class_name
from gateway.adapters.dicom.peer import NotReached
from gateway.adapters.dicom.retrieval import NotAnswered
from gateway.adapters.dicom.storing import stored_object
from gateway.config.outputs import OUTPUTS, Form
from gateway.delivery.sending import NotSendable
from gateway.delivery.statuses import Answer, understand
from gateway.making.terms import label_table

from .comparing import Elsewhere, compared, labels_of
from .headers import changes, in_words
from .phantom import MADE_FOR, SAID
from .scene import Finding, Scene
from .stations import FormFound, StationFailed, Verdict
from .way_out import BREAKS_OFF

_SERIES_NUMBER: Final = 9900
_CHANGED: Final = "IRIS TEST changed"


@dataclass(frozen=True)
class Trial:
    """One form that is tried; `encoding` is that of a segmentation: type and transfer syntax."""

    name: str
    output: str
    encoding: tuple[str, str] | None = None


TRIALS: Final = (
    Trial("BINARY", "seg", ("binary", "explicit")),
    Trial("LABELMAP", "seg", ("labelmap", "explicit")),
    Trial("LABELMAP RLE", "seg", ("labelmap", "rle")),
    Trial("SR", "sr"),
    Trial("RTSTRUCT", "rtstruct"),
    Trial("SC", "summary"),
    Trial("PDF", "pdf"),
)


def forms_kept(scene: Scene) -> Finding:
    """Try each form."""
    series = scene.phantom.series[0]
    volume = volume_of(series.files)
    order = [series.sop_instance_uids.index(frame.sop_instance_uid) for frame in volume.frames]
    table = label_table(*find_task(MADE_FOR[1]))
    labelled = Labelled(volume, np.ascontiguousarray(series.labels[order]), table.names)
    for number, trial in enumerate(TRIALS):
        scene.say(f"trying {trial.name}")
        path = scene.folder / f"form-{number}.dcm"
        settings = _settings(scene.phantom.study_uid, trial, number, scene.report.began)
        _writer(trial).write(labelled, settings, path)
        try:
            found = _tried(scene, trial, path)
        except NotReached as error:
            finding, _, fix = str(error).partition("; ")
            raise StationFailed(finding, fix or "look at it there") from None
        scene.report.forms.append(found)
        if trial.encoding is not None and found.verdict is Verdict.PASSED:
            scene.report.proven.append(
                f"A segmentation of the balls as {trial.name}, made by this test, came back in every voxel."
            )
    return _in_short(scene.report.forms)


def _in_short(forms: Sequence[FormFound]) -> Finding:
    kept = [form.name for form in forms if form.verdict is not Verdict.FAILED and not form.fix]
    lost = [form for form in forms if form.verdict is Verdict.FAILED]
    if lost:
        names = ", ".join(form.name for form in lost)
        raise StationFailed(f"it takes {names}, and does not keep what was sent", lost[0].fix)
    others = [form.name for form in forms if form.name not in kept]
    text = f"keeps {', '.join(kept) or 'none'}" + (f"; not {', '.join(others)}" if others else "")
    return Finding(text, verdict=Verdict.NOTED if others else Verdict.PASSED)


def _tried(scene: Scene, trial: Trial, path: Path) -> FormFound:
    pacs, stored = scene.pacs, stored_object(path)
    refusal = pacs.refusal(Form(stored.sop_class_uid, stored.transfer_syntax_uid))
    if refusal is not None:
        return _refused(trial, f"it does not take {refusal.what}", refusal.way_out)
    try:
        (sent,) = pacs.store([path])
    except NotSendable as error:
        return _refused(trial, *str(error).split("; ", 1))
    if sent.status is None:
        finding = f"it broke the association off while {path.stat().st_size} bytes were sent"
        return FormFound(trial.name, Verdict.FAILED, finding, BREAKS_OFF)
    if understand(sent.status) is not Answer.STORED:
        return _refused(trial, sent.meaning)
    lost = f"{class_name(stored.sop_class_uid)}: look in the PACS's log, quarantine and inbox"
    header = dcmread(path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"])
    shown = pacs.shown(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), 1)
    if shown is not None and stored.sop_instance_uid not in shown:
        return FormFound(trial.name, Verdict.FAILED, "answered with success, and not there", lost)
    return _fetched(scene, trial, path, lost)


def _fetched(scene: Scene, trial: Trial, path: Path, lost: str) -> FormFound:
    try:
        fetched = scene.pacs.fetch(path, scene.folder / "fetched" / path.stem)
    except NotAnswered:
        fix = "a viewer that fetches as this test did does not get it; try it by C-MOVE (--listen AE:PORT)"
        return FormFound(
            trial.name, Verdict.NOTED, f"taken; {scene.pacs.fetches_by} does not give it back", fix
        )
    if fetched is None:
        return FormFound(trial.name, Verdict.FAILED, "answered with success, and not given back", lost)
    found = changes(path, fetched)
    if any(change.is_grave for change in found):
        return FormFound(trial.name, Verdict.FAILED, f"changed: {in_words(found)}", lost)
    if trial.encoding is not None:
        try:
            comparison = compared(labels_of(fetched, scene.phantom.series[0]), scene.phantom.series[0].labels)
        except Elsewhere as error:
            return FormFound(trial.name, Verdict.FAILED, str(error), lost)
        if comparison.wrong:
            return FormFound(trial.name, Verdict.FAILED, comparison.sentence, lost)
    elif _content(path) != _content(fetched):
        return FormFound(trial.name, Verdict.FAILED, "came back with other content", lost)
    kept = "every voxel as the balls lie" if trial.encoding is not None else "as it was sent"
    return FormFound(trial.name, Verdict.PASSED, kept + (f"; changed {in_words(found, 3)}" if found else ""))


def _content(path: Path) -> tuple[bytes, bytes, str]:
    """Pixels, document, and the tree of a report or of contours."""
    read = dcmread(path)
    trees = [read.get(keyword) for keyword in ("ContentSequence", "ROIContourSequence")]
    pixels = read.pixel_array.tobytes() if "PixelData" in read else b""
    return pixels, read.get("EncapsulatedDocument", b""), str(trees)


def _refused(trial: Trial, finding: str, way_out: str = "look in its log") -> FormFound:
    without = f"leave {trial.output} out of the outputs for it"
    if trial.encoding is not None and trial.encoding[0] != "binary":
        without = "nothing: the gateway sends BINARY instead"
    return FormFound(trial.name, Verdict.NOTED, finding, f"{way_out}; or {without}")


def _writer(trial: Trial) -> Writer:
    module, _, attribute = OUTPUTS[trial.output].writer.partition(":")
    loaded: Any = getattr(import_module(module), attribute)
    made: Writer = loaded(Encoding.named(*trial.encoding)) if trial.encoding else loaded
    return made


def _settings(study_uid: str, trial: Trial, number: int, made_at: datetime) -> ResultSettings:
    uid = derived_uid(study_uid, "form", trial.name)
    table = label_table(*find_task(MADE_FOR[1]))
    return ResultSettings(
        sop_instance_uid=uid,
        series_uid=derived_uid(uid, "series"),
        series_number=_SERIES_NUMBER + number,
        series_description=f"{SAID}, {trial.name}"[:64],
        made_at=made_at,
        task=table.task,
        algorithm=Algorithm("IRIS test phantom", metadata.version("iris-gateway"), table.terms.family),
        structures=table.terms.structures,
        label_names=tuple(table.names.values()),
    )


def duplicates(scene: Scene) -> Finding:
    """The same object again, and another one under its UID."""
    kept = [n for n, form in enumerate(scene.report.forms) if form.verdict is Verdict.PASSED]
    if not kept:
        return Finding("it keeps nothing of which a second one could be sent", verdict=Verdict.NOT_REACHED)
    path = scene.folder / f"form-{kept[0]}.dcm"
    again = scene.pacs.store([path])[0].meaning
    other = dcmread(path)
    other.SeriesDescription = _CHANGED
    changed = scene.folder / "changed.dcm"
    other.save_as(changed, enforce_file_format=True)
    answer = scene.pacs.store([changed])[0].meaning
    text = f"the same object again: {again}; another under its UID: {answer}"
    try:
        fetched = scene.pacs.fetch(path, scene.folder / "fetched" / "again")
    except NotAnswered:
        return Finding(text)
    if fetched is None:
        return Finding(f"{text}, and neither is given back then", "look in its log", Verdict.NOTED)
    has_new = dcmread(fetched, specific_tags=["SeriesDescription"]).SeriesDescription == _CHANGED
    return Finding(f"{text}, and it keeps the {'newer' if has_new else 'first'} one")
