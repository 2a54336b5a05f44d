"""The step encode (segmented > encoded): label map to result objects.

Where nothing was found only those are made that say so; where none does the job is delivered.

What a job is to give was frozen when it was planned (`outputs`); each output has its maker in `makers`, and
all that they made is recorded at once, and goes where its rule says now. An uploaded NIfTI has no DICOM to go
back to: its label map is the result (segmented > delivered).

An object's UID follows from all that goes into it, so the same work done twice gives the same bytes under the
same UID; the files are on disk before the ledger says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from batch_job.contract import LABELS_NAME, ContractError, Manifest, recorded_facts
from converter.errors import LabelsDoNotFit
from converter.nifti.foreign_image import require_grid_of
from converter.results.settings import Algorithm, Terms, WrittenObject
from converter.source_header import copied_header_digest
from converter.voxels.geometry import labels_on_frames
from converter.voxels.grid import require_own_grid
from gateway.adapters.holdings import Holdings
from gateway.config import Config
from gateway.config.outputs import EVEN_GRID, OUTPUTS, in_order
from gateway.files.results import FilesGone, JobResults, ResultUnusable
from gateway.files.series import series_uid_of
from gateway.files.workplace import Workplace
from gateway.ledger.comparisons import write_measured
from gateway.ledger.job_files import NOTHING_FOUND
from gateway.ledger.lost import make_again
from gateway.ledger.records import JobRow, MeasuredRow, ResultObjectRow, utc_time
from gateway.ledger.results import (
    Result,
    ResultObject,
    current_objects,
    record_result,
    revisions_delivered,
)
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import WhyDone
from gateway.ledger.withdrawals import withdraw_earlier
from gateway.workers.attempts import CannotGoOn

from .allotment import Allotting, Takes
from .arrived import keep_arrival
from .comparing import Comparing
from .doubts import Doubts, doubts_about
from .makers import Maker, Making, load_maker
from .naming import series_description, series_numbers
from .terms import engine_terms

log = structlog.get_logger(__name__)


class Encode:
    """Makes the result objects of a segmented job.

    Parameters
    ----------
    takes
        Asks destinations, by name, what they take.
    holdings
        Looks at destinations, by name, for earlier results.
    """

    def __init__(
        self,
        ledger: Ledger,
        workplace: Workplace,
        results: JobResults,
        config: Config,
        tracking_key: bytes,
        takes: Mapping[str, Takes],
        holdings: Mapping[str, Holdings] | None = None,
    ) -> None:
        self._ledger = ledger
        self._workplace = workplace
        self._results = results
        self._config = config
        self._tracking_key = tracking_key
        self._allot = Allotting(ledger, config, takes)
        self._comparing = Comparing(ledger, config, tracking_key, workplace.data_dir, holdings)

    def __call__(self, job: JobRow) -> None:
        """Take the step.

        Raises
        ------
        ConverterError, CannotGoOn, OSError, Retriable, Permanent, StaleRow
        """
        try:
            self._encode(job)
        except FilesGone as gone:
            log.warning("result_of_a_run_gone", job_key=job.job_key)
            with self._ledger.transaction() as transaction:
                make_again(transaction, job, gone.what)
        except (LabelsDoNotFit, ResultUnusable) as unusable:
            log.warning("result_of_a_run_unusable", job_key=job.job_key, reason=str(unusable))
            self._results.discard(job)
            raise CannotGoOn(f"{unusable} (retried, it is run anew)") from None
        self._workplace.clear(job)

    def _encode(self, job: JobRow) -> None:
        if job.is_upload:
            self._hand_over(job)
            return
        manifest = self._results.manifest(job)
        if manifest.outputs[LABELS_NAME].sha256 != job.labels_sha256:
            raise FilesGone("its labels are not those any more that were taken from the job folder")
        keep_arrival(self._ledger, self._workplace.data_dir, job)
        doubts = doubts_about(self._ledger, self._config, job, manifest)
        if doubts.held_for:
            with self._ledger.transaction() as transaction:
                transaction.move_job(
                    job.job_key, JobEvent.HELD, expect=JobState.SEGMENTED, reason=doubts.held_for
                )
        elif making := self._making(job, manifest, doubts):
            self._make(job, making)
        else:
            with self._ledger.transaction() as transaction:
                transaction.move_job(
                    job.job_key,
                    JobEvent.FOUND_NOTHING,
                    expect=JobState.SEGMENTED,
                    columns={"warnings": (*_without_earlier(job.warnings), _nothing_found(job, ()))},
                )
                withdraw_earlier(transaction, job)

    def _hand_over(self, job: JobRow) -> None:
        """Of an uploaded NIfTI the label map itself is the result, where it lies on the image."""
        labels_path = self._results.fetch(job, self._results.manifest(job), LABELS_NAME)
        require_grid_of(labels_path, self._workplace.uploaded_image(job))
        with self._ledger.transaction() as transaction:
            transaction.move_job(
                job.job_key,
                JobEvent.DELIVERED,
                expect=JobState.SEGMENTED,
                reason=WhyDone.LABEL_MAP_READY,
            )

    def _make(self, job: JobRow, making: Making) -> None:
        """Make every output that somebody gets, then record the set."""
        allotment = self._allot(job)
        measured = self._measured(job, making)
        if measured is not None:
            making = replace(making, comparison=self._comparing.compared(job, measured, making))
        outputs = in_order(
            [*job.outputs, *allotment.instead] if making.labels.any() else _say_nothing_found(job)
        )
        if allotment.instead:
            making = replace(
                making, **self._names(making, revisions_delivered(self._ledger, job)[0], outputs)
            )
        makers = {each: load_maker(each, self._config) for each in outputs if allotment.is_wanted(each)}
        making = replace(making, encodings=allotment.encodings, drawings=allotment.drawings)
        objects: list[ResultObject] = []
        warnings = _without_earlier(allotment.added_to(job.warnings))
        warnings += [] if making.labels.any() else [_nothing_found(job, outputs)]
        for output, made in self._objects(making, makers).items():
            for written in made:
                objects.append(self._recorded(output, written))
                warnings += [warning for warning in written.warnings if warning not in warnings]
        result = Result(tuple(objects), making.header_sha256, tuple(warnings))
        with self._ledger.transaction() as transaction:
            record_result(transaction, job, result, allotment.destinations)
            withdraw_earlier(transaction, job)
            if measured is not None:
                write_measured(transaction, measured)

    def _objects(self, making: Making, makers: Mapping[str, Maker]) -> Mapping[str, Sequence[WrittenObject]]:
        """Make them: the present ones again where nothing changed that they follow from, else a revision."""
        earlier, delivered = revisions_delivered(self._ledger, making.job)
        if earlier < delivered:  # the present result has arrived somewhere
            present = current_objects(self._ledger, making.job.job_key)
            if made := _made(making, makers, present):
                return made
            making = replace(making, **self._names(making, delivered, [*makers]))
        return _made(making, makers)

    def _names(self, making: Making, revision: int, outputs: Sequence[str]) -> dict[str, Any]:
        """What series are called, with so many results of the volume and task before this one."""
        seg, job = self._config.seg, making.job
        further = [EVEN_GRID] if seg.even_grid else []
        alone = [each for each in outputs if each not in job.outputs]
        return {
            "series_numbers": series_numbers(self._ledger, seg.series_number, job, revision, further, alone),
            "series_description": series_description(
                seg, job, making.volume, revision, is_marked=bool(making.flags)
            ),
        }

    def _measured(self, job: JobRow, making: Making) -> MeasuredRow | None:
        """What a later result may be compared with; what only that would need is not asked of a run again."""
        try:
            return self._comparing.measured(job, making)
        except CannotGoOn:
            if self._comparing.is_wanted(job):
                raise
            log.warning("not_measured_for_later", job_key=job.job_key)
            return None

    def _recorded(self, output: str, written: WrittenObject) -> ResultObject:
        return ResultObject(
            output=output,
            form=written.form,
            path=str(written.path.relative_to(self._workplace.data_dir)),
            sha256=written.sha256,
            sop_class_uid=written.sop_class_uid,
            sop_instance_uid=written.sop_instance_uid,
            series_uid=series_uid_of(written.path),
        )

    def _making(self, job: JobRow, manifest: Manifest, doubts: Doubts) -> Making | None:
        """What the outputs are made of; None where nothing was found, and none of them says so."""
        if job.segmented_at is None or job.labels_sha256 is None:
            raise CannotGoOn("the ledger does not say when it was segmented; cancel and retry the job")
        volume = self._workplace.volume(job)
        labels_path = self._results.fetch(job, manifest, LABELS_NAME)
        require_own_grid(labels_path, volume)
        labels = labels_on_frames(labels_path, volume)
        if not labels.any() and not _say_nothing_found(job):
            return None
        terms = _terms_of(job, manifest)
        making = Making(
            job=job,
            volume=volume,
            labels=labels,
            labels_on=partial(labels_on_frames, labels_path),
            labels_sha256=job.labels_sha256,
            manifest=manifest,
            flags=doubts.shown,
            shows_flags=doubts.are_shown,
            file_of_job=partial(self._results.fetch, job, manifest),
            keep_in_job=partial(self._results.keep, job),
            header_sha256=copied_header_digest(volume),
            algorithm=_algorithm(job, manifest, terms),
            terms=terms,
            made_at=self._config.site.local(utc_time(job.segmented_at)),
            issuer_of_patient_id=self._config.site.issuer_of_patient_id,
            tracking_key=self._tracking_key,
            path_of=partial(self._workplace.result_path, job),
            series_numbers={},
            series_description="",
        )
        return replace(making, **self._names(making, revisions_delivered(self._ledger, job)[0], job.outputs))


def _made(
    making: Making, makers: Mapping[str, Maker], present: Sequence[ResultObjectRow] = ()
) -> dict[str, Sequence[WrittenObject]]:
    """Make every output; nothing, and nothing is left, where one is not what it was.

    It is what it was where one of its objects is among the present ones: others are further forms of it.
    """
    made: dict[str, Sequence[WrittenObject]] = {}
    making = replace(making, written=made)
    for output, maker in makers.items():
        made[output] = maker.make(making)
        before = {each.sop_instance_uid for each in present if each.output == output}
        if before and before.isdisjoint(each.sop_instance_uid for each in made[output]):
            known = {each.sop_instance_uid for each in present}
            for other in (one for ones in made.values() for one in ones if one.sop_instance_uid not in known):
                other.path.unlink()
            return {}
    return made


def _say_nothing_found(job: JobRow) -> list[str]:
    """The job's outputs that are made where nothing was found, too."""
    return [output for output in job.outputs if output in OUTPUTS and OUTPUTS[output].says_nothing_found]


def _without_earlier(warnings: Sequence[str]) -> list[str]:
    """A job's warnings but for that of an empty label map."""
    return [each for each in warnings if not each.startswith(NOTHING_FOUND)]


def _nothing_found(job: JobRow, made: Sequence[str]) -> str:
    """A result is one set: what is missing of it is said."""
    left_out = [output for output in job.outputs if output not in made]
    if not left_out:
        return NOTHING_FOUND
    return f"{NOTHING_FOUND}: {', '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} not made"


def _terms_of(job: JobRow, manifest: Manifest) -> Terms:
    try:
        return engine_terms(recorded_facts(job.engine), manifest.structures)
    except ContractError as error:
        raise CannotGoOn(f"its engine was taken out of the catalogue: {error}") from None


def _algorithm(job: JobRow, manifest: Manifest, terms: Terms) -> Algorithm:
    return Algorithm(
        name=f"{manifest.engine.name} {job.task}",
        version=" ".join(filter(None, [manifest.engine.version, manifest.engine.weights])),
        family=terms.family,
    )
