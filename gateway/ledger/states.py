"""The state machines of jobs, deliveries and studies: one enum each, and one table (state, event) -> state.

The same diagram stands in docs/states.md and in schema.sql's CHECKs; a test says that they agree.
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where one volume x one task is."""

    PLANNED = "planned"  # chosen; its volume is frozen
    CONVERTED = "converted"  # the NIfTI lies in the work folder
    STAGED = "staged"  # input and request lie in the job folder
    SUBMITTED = "submitted"  # a run was handed to the queue
    RUNNABLE = "runnable"  # the queue waits for a machine
    RUNNING = "running"  # the engine works
    SEGMENTED = "segmented"  # manifest, labels and digests are verified
    ENCODED = "encoded"  # the result object is on disk, its digest is known
    DELIVERED = "delivered"  # every destination has it, or there was nothing to send
    FAILED = "failed"  # gave up; a person can retry
    CANCELLED = "cancelled"  # a person stopped it
    SUPERSEDED = "superseded"  # a newer revision of the volume took its place
    QUARANTINED = "quarantined"  # held for a person: a gap, or a flag


class JobEvent(StrEnum):
    """What can happen to a job."""

    CONVERTED = "converted"
    STAGED = "staged"
    SUBMITTED = "submitted"
    QUEUED = "queued"
    STARTED = "started"
    SEGMENTED = "segmented"
    ENCODED = "encoded"
    DELIVERED = "delivered"
    FOUND_NOTHING = "found_nothing"
    RUN_LOST = "run_lost"
    HEADER_CORRECTED = "header_corrected"
    FILES_GONE = "files_gone"
    FORM_REFUSED = "form_refused"
    FAILED = "failed"
    RETRIED = "retried"
    CANCELLED = "cancelled"
    REPLANNED = "replanned"
    SUPERSEDED = "superseded"
    HELD = "held"
    RELEASED = "released"


class DeliveryState(StrEnum):
    """Where one object on its way to one destination is."""

    PENDING = "pending"  # to be sent, now or at its next time
    SENT = "sent"  # the destination answered that it has it
    COMMITTED = "committed"  # the destination committed to keep it
    FAILED = "failed"  # refused for good, or unreachable for too long
    CANCELLED = "cancelled"  # a person stopped it
    SUPERSEDED = "superseded"  # a newer object took its place before it was sent


class DeliveryEvent(StrEnum):
    """What can happen to a delivery."""

    SENT = "sent"
    COMMITTED = "committed"
    COMMITMENT_REFUSED = "commitment_refused"
    RESENT = "resent"
    FAILED = "failed"
    RETRIED = "retried"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class CorrectionState(StrEnum):
    """Where a segmentation is that came in, and may be an edited result of ours."""

    WAITING = "waiting"  # to be looked at, or to be compared when its images are here again
    COMPARED = "compared"  # how far it differs from our result is known
    UNREADABLE = "unreadable"  # it is one, and cannot be compared; a sentence says why


class CorrectionEvent(StrEnum):
    """What can happen to a correction."""

    COMPARED = "compared"
    REFUSED = "refused"
    CAME_AGAIN = "came_again"


class StudyState(StrEnum):
    """Where a study is."""

    RECEIVING = "receiving"  # instances come in
    PROCESSING = "processing"  # complete; something is open
    FAILED = "failed"  # something failed: a person is needed
    HELD = "held"  # something is quarantined, nothing failed: a person decides
    DONE = "done"  # nothing is open; the reason says why


class StudyEvent(StrEnum):
    """What can happen to a study."""

    INSTANCE_STORED = "instance_stored"
    COMPLETED = "completed"
    RESUMED = "resumed"
    FINISHED = "finished"
    FAILED = "failed"
    HELD = "held"


_J, _JE = JobState, JobEvent
_WORK = [_J.PLANNED, _J.CONVERTED, _J.STAGED, _J.SUBMITTED, _J.RUNNABLE, _J.RUNNING, _J.SEGMENTED]
_REACHED_BY = [_JE.CONVERTED, _JE.STAGED, _JE.SUBMITTED, _JE.QUEUED, _JE.STARTED, _JE.SEGMENTED]
AT_THE_QUEUE = frozenset({_J.SUBMITTED, _J.RUNNABLE, _J.RUNNING})
JOB_OPEN = frozenset({*_WORK, _J.ENCODED})

RESUME = object()
"""A target that the row itself names: the last good state, or the state before the quarantine."""


def _job_table() -> dict[tuple[JobState, JobEvent], JobState | object]:
    table: dict[tuple[JobState, JobEvent], JobState | object] = {}
    for index, event in enumerate(_REACHED_BY):  # forward, skips allowed
        for state in _WORK[: index + 1]:
            table[state, event] = _WORK[index + 1]
    table[_J.RUNNING, _JE.QUEUED] = _J.RUNNABLE
    table[_J.SEGMENTED, _JE.ENCODED] = _J.ENCODED
    table[_J.SEGMENTED, _JE.FOUND_NOTHING] = _J.DELIVERED
    for state in (_J.SEGMENTED, _J.ENCODED):  # of an uploaded image the label map is the result
        table[state, _JE.DELIVERED] = _J.DELIVERED
    for state in AT_THE_QUEUE:
        table[state, _JE.RUN_LOST] = _J.STAGED
    for state in (_J.ENCODED, _J.DELIVERED, _J.QUARANTINED):
        table[state, _JE.HEADER_CORRECTED] = _J.SEGMENTED
    for state in (_J.STAGED, _J.SEGMENTED):  # made anew of the instances
        table[state, _JE.FILES_GONE] = _J.PLANNED
    for state in (_J.ENCODED, _J.DELIVERED):  # made anew of the labels
        table[state, _JE.FILES_GONE] = _J.SEGMENTED
        table[state, _JE.FORM_REFUSED] = _J.SEGMENTED
    for state in JOB_OPEN:
        table[state, _JE.FAILED] = _J.FAILED
        table[state, _JE.CANCELLED] = _J.CANCELLED
        table[state, _JE.SUPERSEDED] = _J.SUPERSEDED
    for state in (_J.PLANNED, _J.SEGMENTED, _J.ENCODED):
        table[state, _JE.HELD] = _J.QUARANTINED
    # What no longer runs can be replaced too: a late slice takes a gapped or failed volume's place.
    for state in (_J.FAILED, _J.QUARANTINED):
        table[state, _JE.SUPERSEDED] = _J.SUPERSEDED
    table[_J.FAILED, _JE.RETRIED] = RESUME
    table[_J.QUARANTINED, _JE.RELEASED] = RESUME
    for state in (_J.FAILED, _J.QUARANTINED):
        table[state, _JE.CANCELLED] = _J.CANCELLED
    for state in (_J.CANCELLED, _J.SUPERSEDED):
        table[state, _JE.REPLANNED] = _J.PLANNED
    return table


JOB_TRANSITIONS = _job_table()

_D, _DE = DeliveryState, DeliveryEvent
DELIVERY_TRANSITIONS: dict[tuple[DeliveryState, DeliveryEvent], DeliveryState] = {
    (_D.PENDING, _DE.SENT): _D.SENT,
    (_D.SENT, _DE.COMMITTED): _D.COMMITTED,
    (_D.SENT, _DE.COMMITMENT_REFUSED): _D.PENDING,
    (_D.SENT, _DE.RESENT): _D.PENDING,
    (_D.COMMITTED, _DE.RESENT): _D.PENDING,
    (_D.PENDING, _DE.FAILED): _D.FAILED,
    (_D.SENT, _DE.FAILED): _D.FAILED,  # its destination does not keep it
    (_D.FAILED, _DE.RETRIED): _D.PENDING,
    (_D.PENDING, _DE.CANCELLED): _D.CANCELLED,
    (_D.FAILED, _DE.CANCELLED): _D.CANCELLED,
    (_D.CANCELLED, _DE.SENT): _D.SENT,  # it was under way when it was called off
    (_D.PENDING, _DE.SUPERSEDED): _D.SUPERSEDED,
    (_D.FAILED, _DE.SUPERSEDED): _D.SUPERSEDED,
}
DELIVERY_ARRIVED = frozenset({_D.SENT, _D.COMMITTED})

_C, _CE = CorrectionState, CorrectionEvent
CORRECTION_TRANSITIONS: dict[tuple[CorrectionState, CorrectionEvent], CorrectionState] = {
    (_C.WAITING, _CE.COMPARED): _C.COMPARED,
    (_C.WAITING, _CE.REFUSED): _C.UNREADABLE,
    **{(state, _CE.CAME_AGAIN): _C.WAITING for state in CorrectionState},
}

_S, _SE = StudyState, StudyEvent
STUDY_TRANSITIONS: dict[tuple[StudyState, StudyEvent], StudyState] = {
    **{(state, _SE.INSTANCE_STORED): _S.RECEIVING for state in StudyState},
    (_S.RECEIVING, _SE.COMPLETED): _S.PROCESSING,
    **{(state, _SE.RESUMED): _S.PROCESSING for state in (_S.FAILED, _S.HELD, _S.DONE)},
    **{(state, _SE.FINISHED): _S.DONE for state in (_S.PROCESSING, _S.FAILED, _S.HELD)},
    **{(state, _SE.FAILED): _S.FAILED for state in (_S.PROCESSING, _S.HELD, _S.DONE)},
    **{(state, _SE.HELD): _S.HELD for state in (_S.PROCESSING, _S.FAILED, _S.DONE)},
}


class UnknownTransition(Exception):
    """An event came that cannot happen in the present state."""

    def __init__(self, kind: str, state: str, event: str) -> None:
        super().__init__(f"a {kind} that is {state} cannot take the event {event}")


def resume_state(failed_in: JobState) -> JobState:
    """Where a job goes on after a failure in `failed_in`.

    What was at the queue needs a new run; what was encoded is encoded again, to the same bytes unless its
    header was corrected meanwhile.
    """
    if failed_in is JobState.ENCODED:
        return JobState.SEGMENTED
    return JobState.STAGED if failed_in in AT_THE_QUEUE else failed_in


def next_job_state(state: JobState, event: JobEvent, resume: JobState | None) -> JobState:
    """Look the transition up; `resume` is what RESUME stands for. Unknown pairs raise UnknownTransition."""
    target = JOB_TRANSITIONS.get((state, event))
    if target is RESUME:
        target = resume
    if not isinstance(target, JobState):
        raise UnknownTransition("job", state, event)
    return target


def next_delivery_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """Look the transition up. Unknown pairs raise UnknownTransition."""
    target = DELIVERY_TRANSITIONS.get((state, event))
    if target is None:
        raise UnknownTransition("delivery", state, event)
    return target


def next_correction_state(state: CorrectionState, event: CorrectionEvent) -> CorrectionState:
    """Look the transition up. Unknown pairs raise UnknownTransition."""
    target = CORRECTION_TRANSITIONS.get((state, event))
    if target is None:
        raise UnknownTransition("correction", state, event)
    return target


def next_study_state(state: StudyState, event: StudyEvent) -> StudyState:
    """Look the transition up. Unknown pairs raise UnknownTransition."""
    target = STUDY_TRANSITIONS.get((state, event))
    if target is None:
        raise UnknownTransition("study", state, event)
    return target


def transition_names() -> list[str]:
    """Every transition by its name in IRIS_KILL_AT and in the timeline: `job.converted`, `study.failed`."""
    return [
        *sorted({f"study.{event}" for _, event in STUDY_TRANSITIONS}),
        *sorted({f"job.{event}" for _, event in JOB_TRANSITIONS}),
        *sorted({f"delivery.{event}" for _, event in DELIVERY_TRANSITIONS}),
    ]
