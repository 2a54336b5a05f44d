"""What a person chose among the volumes of a study: "use this one". It outlives every later completion."""

from gateway.events import VolumeChosen

from .completion import StudyPlan, write_plan
from .records import ChoiceRow, StudyRow, VolumeRow, utc_now
from .states import StudyState
from .store import Ledger
from .transaction import NotPossible, StaleRow, Transaction


def choose_volume(transaction: Transaction, study_uid: str, series_uid: str, number: int) -> None:
    """Record that a person wants this volume used in the place of the others of its scan.

    Parameters
    ----------
    number
        Of the volume in its series, as the study shows it.

    Raises
    ------
    NotPossible
        There is no such volume, no rule would take it, or its study's images are not here any more.
    """
    removed_at = transaction.study(study_uid).images_removed_at
    if removed_at is not None:
        raise NotPossible(
            f"images of this study were removed here on {removed_at[:10]}; `iris forget` it, then send it"
            " again: it is then taken as a new one"
        )
    row = transaction.one(
        "SELECT * FROM volumes WHERE study_uid = ? AND series_uid = ? AND number = ?",
        (study_uid, series_uid, number),
    )
    if row is None:
        raise NotPossible(_why_no_volume(transaction, study_uid))
    volume = VolumeRow.of(row)
    if not volume.can_be_used:
        raise NotPossible(f"no rule would take this volume ({volume.why}); change the rules first")
    transaction.execute(
        "INSERT INTO choices (study_uid, series_uid, number, image, chosen_at, is_open)"
        " VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE"
        " SET number = excluded.number, chosen_at = excluded.chosen_at, is_open = 1",
        (study_uid, series_uid, number, volume.first_image, utc_now()),
    )
    transaction.note("study.volume_chosen", study_uid=study_uid, series_uid=series_uid, number=number)
    transaction.publish(VolumeChosen(study_uid))


def _why_no_volume(transaction: Transaction, study_uid: str) -> str:
    if transaction.study(study_uid).state is StudyState.RECEIVING:
        return "which volumes this study has is not decided yet; wait until it is complete, or say that it is"
    return "this study has no such volume; `iris study` shows which it has"


def choices_of(ledger: Ledger, study_uid: str) -> list[ChoiceRow]:
    """What was chosen in a study, the oldest choice first."""
    rows = ledger.read("SELECT * FROM choices WHERE study_uid = ? ORDER BY chosen_at", (study_uid,))
    return [ChoiceRow.of(row) for row in rows]


def studies_with_an_open_choice(ledger: Ledger) -> list[StudyRow]:
    """The complete studies that are to be planned anew with what a person chose."""
    rows = ledger.read(
        "SELECT s.* FROM choices c INDEXED BY choices_open JOIN studies s USING (study_uid)"
        " WHERE c.is_open = 1 AND s.state <> ? GROUP BY c.study_uid",
        (StudyState.RECEIVING,),
    )
    return [StudyRow.of(row) for row in rows]


def study_with_an_open_choice(ledger: Ledger, study_uid: str) -> StudyRow | None:
    """One study where it is complete and to be planned anew, or None."""
    rows = ledger.read(
        "SELECT s.* FROM studies s WHERE s.study_uid = ? AND s.state <> ?"
        " AND EXISTS (SELECT 1 FROM choices c WHERE c.study_uid = s.study_uid AND c.is_open = 1)",
        (study_uid, StudyState.RECEIVING),
    )
    return StudyRow.of(rows[0]) if rows else None


def replan_study(transaction: Transaction, plan: StudyPlan) -> None:
    """Write a new plan of a complete study, with what a person chose.

    Raises
    ------
    StaleRow
        The study changed since the plan was made.
    """
    study = transaction.study(plan.study_uid)
    if study.generation != plan.generation or study.state is StudyState.RECEIVING:
        raise StaleRow("the study changed while it was planned")
    transaction.note("study.replanned", study_uid=plan.study_uid, jobs=len(plan.jobs))
    write_plan(transaction, plan)
