"""What a report says of the change since an earlier result: figures in the groups, the prior once for all."""

from collections.abc import Iterator

from pydicom import Dataset

from converter.results.comparison import Change, Comparison, PriorObject
from converter.results.settings import ResultSettings

from . import concepts
from .items import Items, Relation

CONTAINS = Relation.CONTAINS


def change_items(items: Items, change: Change | None) -> Iterator[bytes]:
    """A structure's volume then and its change, or why that is not said.

    They have names of their own: whoever reads the group's Volume gets the present one only.
    """
    if change is None:
        return
    if change.then_ml is not None:
        yield items.number(CONTAINS, concepts.VOLUME_THEN, change.then_ml, concepts.MILLILITRE)
    if change.ml is not None:
        yield items.number(CONTAINS, concepts.VOLUME_CHANGE, change.ml, concepts.MILLILITRE)
    if change.percent is not None:
        yield items.number(CONTAINS, concepts.RELATIVE_CHANGE, change.percent, concepts.PERCENT)
    if change.why_not is not None:
        yield items.code(CONTAINS, concepts.NOT_COMPARED, concepts.why_not_compared(change.why_not))


def comparison_items(items: Items, comparison: Comparison, settings: ResultSettings) -> Iterator[bytes]:
    """With what, or why with nothing; and what was found then only, which has no group."""
    yield items.text(CONTAINS, concepts.COMPARISON, comparison.sentence)
    if comparison.prior_date is not None:
        yield items.number(CONTAINS, concepts.INTERVAL, comparison.interval_days, concepts.DAY)
    if comparison.prior is not None:
        prior = comparison.prior
        yield items.composite(concepts.PRIOR_REPORT, prior.sop_class_uid, prior.sop_instance_uid)
    for change in comparison.not_found_now():
        words = settings.structure(change.structure).words
        then = f"{words}: {change.then_ml} ml then, not found now."
        yield items.text(CONTAINS, concepts.COMPARISON, then)


def prior_evidence(prior: PriorObject) -> Dataset:
    """The object of another study that the report refers to (PS3.3 C.17.2.3, Pertinent Other Evidence)."""
    study, series, item = Dataset(), Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = prior.sop_class_uid, prior.sop_instance_uid
    series.SeriesInstanceUID, series.ReferencedSOPSequence = prior.series_uid, [item]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = prior.study_uid, [series]
    return study
