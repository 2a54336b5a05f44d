"""What a result is compared with: an earlier one of the same patient and task, by the same model.

A prior is of another study, whose images were taken before; the latest that may be used is. Never used are
those of another person by name or birth date, of another engine or other options, and those with flags, but
for structures that the scan cuts: these are not compared, the others are.
"""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from converter.earlier import EarlierResult
from converter.reading.headers import text_of
from converter.results.comparison import Change, Comparison, NotCompared, PriorObject
from converter.seg.segments import tracked_subject
from gateway.adapters.durable import remove_file, write_durably
from gateway.adapters.holdings import Holdings
from gateway.config import Config
from gateway.ledger.comparisons import (
    KEPT_AS,
    comparison_of,
    earlier_results,
    freeze_comparison,
    measured_studies,
)
from gateway.ledger.flags import flags_of
from gateway.ledger.records import ComparisonRow, JobRow, MeasuredRow
from gateway.ledger.results import current_objects
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import job as job_of

from .elsewhere import TRUNCATED, Asked, Elsewhere
from .makers import Making, series_uid_of
from .whose import STUDY_TIME, acquired, name_of

ASKED: Final = "job.earlier_result_asked"
_NO_ISSUER: Final = "its images do not say who issued the Patient ID (site.issuer_of_patient_id)"
_NO_DATE: Final = "its images do not say when they were taken"
_NO_FIGURES: Final = "nothing was measured in it"
_NO_EARLIER: Final = "there is no earlier one of this patient and task here"


@dataclass(frozen=True)
class _Prior:
    """An earlier result that may be used."""

    measured: MeasuredRow
    job: JobRow


class Comparing:
    """Measures results for later ones, and compares them with earlier ones where their rule says so.

    Parameters
    ----------
    key
        Keeps digests of names from being guessed.
    data_dir
        Where a copy of what was chosen lies beside the results.
    holdings
        By destination, what looks there for earlier results that this ledger does not know.
    """

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        key: bytes,
        data_dir: Path,
        holdings: Mapping[str, Holdings] | None = None,
    ) -> None:
        self._ledger, self._config, self._key, self._data_dir = ledger, config, key, data_dir
        self._elsewhere = Elsewhere(config, holdings or {})

    def measured(self, job: JobRow, making: Making) -> MeasuredRow:
        """What there is to know of a result for one that comes later.

        Raises
        ------
        ConverterError, CannotGoOn, OSError
        """
        header, cut = making.volume.header, _cut(making)
        kind, *who = tracked_subject(making.volume, making.issuer_of_patient_id)
        return MeasuredRow(
            job_key=job.job_key,
            subject=self._digest("subject", job.task, *who) if kind == "patient" else "",
            name=self._digest("name", name_of(header)),
            birth_date=self._digest("birth date", text_of(header, "PatientBirthDate")),
            acquired=acquired(header),
            volumes={
                name: (measured.volume_ml, measured.is_truncated or name in cut)
                for name, measured in sorted(making.measured.items())
            },
        )

    def is_wanted(self, job: JobRow) -> bool:
        """Whether its rule, as it is now, wants it."""
        rule = self._config.rule_named(job.rule)
        return rule is not None and rule.compare

    def compared(self, job: JobRow, now: MeasuredRow, making: Making | None = None) -> Comparison | None:
        """What a job's result says of change, as it was chosen when it was first encoded.

        None where its rule does not want it.

        Parameters
        ----------
        making
            Whose images these are; without it nothing is looked for elsewhere.

        Raises
        ------
        CalledOff
            The gateway stops.
        StaleRow
            The earlier result is being forgotten at this moment.
        OSError
        """
        if not self.is_wanted(job):
            return None
        chosen_for = _chosen_for(job, now)
        row = comparison_of(self._ledger, job.job_key)
        kept = self._kept(job)
        if row is None and kept is not None and kept.chosen_for == chosen_for:
            row = kept
            with self._ledger.transaction() as transaction:
                freeze_comparison(transaction, row, is_known_prior=True)
        elif row is None or row.chosen_for != chosen_for:
            row, asked = self._choose(job, now, chosen_for, making)
            with self._ledger.transaction() as transaction:
                freeze_comparison(transaction, row)
                for one in asked:
                    transaction.note(ASKED, study_uid=job.study_uid, job_key=job.job_key, **asdict(one))
        if row != kept:
            self._keep(row)
        return _as_shown(row)

    def _kept(self, job: JobRow) -> ComparisonRow | None:
        """The copy of what was chosen; None where there is none that can be read."""
        try:
            return ComparisonRow.model_validate_json(self._path(job.job_key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _keep(self, row: ComparisonRow) -> None:
        write_durably(self._path(row.job_key), row.model_dump_json().encode())
        if comparison_of(self._ledger, row.job_key) != row:
            remove_file(self._path(row.job_key))
            raise StaleRow("what it was compared with is being forgotten; encode it again")

    def _path(self, job_key: str) -> Path:
        return self._data_dir / KEPT_AS.format(job_key=job_key)

    def _choose(
        self, job: JobRow, now: MeasuredRow, chosen_for: str, making: Making | None
    ) -> tuple[ComparisonRow, Sequence[Asked]]:
        why = _NO_ISSUER if not now.subject else _NO_DATE if not now.acquired else ""
        why = why or ("" if now.volumes else _NO_FIGURES)
        none = ComparisonRow(job_key=job.job_key, chosen_for=chosen_for, why_none=why)
        if why:
            return none, ()
        prior, why = self._latest(job, now)
        if prior is not None:
            return _compared(
                none,
                now,
                prior.measured,
                prior_job_key=prior.job.job_key,
                prior_study_uid=prior.job.study_uid,
                prior_object=self._object_of(prior.job),
            ), ()
        if making is None:
            return none.model_copy(update={"why_none": why}), ()
        found = self._elsewhere(job, making, now, measured_studies(self._ledger, now.subject))
        if found.result is None:
            why = "; ".join(filter(None, (why, found.why_none)))
            return none.model_copy(update={"why_none": why}), found.asked
        return _as_compared(none, now, found.result), found.asked

    def _latest(self, job: JobRow, now: MeasuredRow) -> tuple[_Prior | None, str]:
        """The latest earlier result that may be used, else why none may."""
        refused: Counter[str] = Counter()
        for measured in earlier_results(self._ledger, now, job.study_uid):
            then = job_of(self._ledger, measured.job_key)
            if then is None:
                continue
            refusal = self._why_not(job, now, then, measured)
            if not refusal:
                return _Prior(measured, then), ""
            refused[refusal] += 1
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(refused.items()))
        return None, f"no earlier one can be used ({reasons})" if reasons else _NO_EARLIER

    def _why_not(self, job: JobRow, now: MeasuredRow, then: JobRow, measured: MeasuredRow) -> str:
        if any(
            one and other and one != other
            for one, other in ((now.name, measured.name), (now.birth_date, measured.birth_date))
        ):
            return "of another name or birth date"
        if (then.engine, _model(then)) != (job.engine, _model(job)):
            return "by another engine or with other options"
        if any(flag.code != TRUNCATED for flag in flags_of(self._ledger, then.job_key)):
            return "with quality flags"
        return "" if measured.volumes else "without figures"

    def _object_of(self, prior: JobRow) -> dict[str, str]:
        """The prior's report, else its segmentation: what a report of now refers to."""
        objects = current_objects(self._ledger, prior.job_key)
        found = [row for output in ("sr", "seg") for row in objects if row.output == output]
        if not found:
            return {}
        uid = found[0].sop_instance_uid
        return {
            "sop_class_uid": found[0].sop_class_uid,
            "sop_instance_uid": uid,
            "series_uid": series_uid_of(uid),
            "study_uid": prior.study_uid,
        }

    def _digest(self, *parts: str) -> str:
        """Empty where the last part is."""
        if not parts[-1]:
            return ""
        message = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


# -- what is compared ---------------------------------------------------------------------------------------


def _compared(none: ComparisonRow, now: MeasuredRow, then: MeasuredRow, **prior: Any) -> ComparisonRow:
    """With what was measured then."""
    day = _day(then.acquired)
    said = {
        "why_none": "",
        "prior_date": day.isoformat(),
        "interval_days": (_day(now.acquired) - day).days,
        "changes": tuple(_line(change) for change in _changes(then, now)),
    }
    return none.model_copy(update={**said, **prior})


def _as_compared(none: ComparisonRow, now: MeasuredRow, result: EarlierResult) -> ComparisonRow:
    """With a result of which there is only an object."""
    header = result.header
    when, volumes = acquired(header, [STUDY_TIME]), dict(result.volumes)
    then = now.model_copy(update={"acquired": when, "volumes": volumes})
    of_object = {
        "sop_class_uid": text_of(header, "SOPClassUID"),
        "sop_instance_uid": text_of(header, "SOPInstanceUID"),
        "series_uid": text_of(header, "SeriesInstanceUID"),
        "study_uid": text_of(header, "StudyInstanceUID"),
    }
    return _compared(none, now, then, prior_study_uid=of_object["study_uid"], prior_object=of_object)


def _changes(then: MeasuredRow, now: MeasuredRow) -> Iterator[Change]:
    """A line for each structure of either, those of now first."""
    for name in [*now.volumes, *(each for each in then.volumes if each not in now.volumes)]:
        then_ml, then_cut = then.volumes.get(name, (None, False))
        now_ml, now_cut = now.volumes.get(name, (None, False))
        why = {
            (False, False): None,
            (True, False): NotCompared.CUT_THEN,
            (False, True): NotCompared.CUT_NOW,
            (True, True): NotCompared.CUT_BOTH,
        }[then_cut, now_cut]
        if now_ml is None:
            why = NotCompared.NOT_FOUND_NOW
        elif then_ml is None:
            why = NotCompared.NOT_FOUND_THEN
        yield Change(name, then_ml, now_ml, why)


def _line(change: Change) -> dict[str, Any]:
    """As ledger and API have it."""
    return {
        "structure": change.structure,
        "then_ml": change.then_ml,
        "now_ml": change.now_ml,
        "change_ml": change.ml,
        "change_percent": change.percent,
        "not_compared": change.why_not.value if change.why_not else None,
    }


def _as_shown(row: ComparisonRow) -> Comparison:
    if row.prior_date is None:
        return Comparison(why_none=row.why_none)
    changes = (
        Change(
            line["structure"],
            line["then_ml"],
            line["now_ml"],
            NotCompared(line["not_compared"]) if line["not_compared"] else None,
        )
        for line in row.changes
    )
    prior = PriorObject(**row.prior_object) if row.prior_object else None
    day = date.fromisoformat(row.prior_date)
    return Comparison("", day, row.interval_days, tuple(changes), prior)


def _chosen_for(job: JobRow, now: MeasuredRow) -> str:
    """What is compared: where any of it is another, another prior may be right."""
    content = json.dumps([now.model_dump(), job.labels_sha256], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _model(job: JobRow) -> dict[str, Any]:
    """The options that a figure may depend on."""
    return {name: value for name, value in job.options.items() if name != "statistics"}


def _cut(making: Making) -> set[str | None]:
    return {flag.structure for flag in making.manifest.flags if flag.code == TRUNCATED}


def _day(acquired: str) -> date:
    return date(int(acquired[:4]), int(acquired[4:6]), int(acquired[6:8]))
