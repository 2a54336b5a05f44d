"""What can happen, as frozen dataclasses in the past tense, and the bus that tells whoever listens.

Facts may have many listeners; a listener that fails is logged and disturbs nobody. Events are published after
the ledger's commit, so whoever hears of something finds it in the ledger.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True)
class InstanceStored(Event):
    """An instance is on disk and in the ledger; its study is receiving."""

    study_uid: str
    association: int


@dataclass(frozen=True)
class AssociationClosed(Event):
    """An association ended, by release or by abort."""

    association: int
    released: bool
    study_uids: frozenset[str]
    sender: str
    """Its calling AE title."""


@dataclass(frozen=True)
class StudyCameAgain(Event):
    """Everything of a study came again that its results were made of."""

    study_uid: str


@dataclass(frozen=True)
class PacsAnswered(Event):
    """The PACS told something new about what it holds of a study that is receiving."""

    study_uid: str


@dataclass(frozen=True)
class InstancesNamed(Event):
    """Somebody named instances, by a storage commitment request or an availability notice.

    Or another study of such a list was closed.
    """

    study_uids: frozenset[str]
    """Studies of which some are here; none where nothing came yet."""


@dataclass(frozen=True)
class CompletionRequested(Event):
    """A person said that a study is complete."""

    study_uid: str


@dataclass(frozen=True)
class VolumeChosen(Event):
    """A person said which volume of a study is to be used."""

    study_uid: str


@dataclass(frozen=True)
class ForgetRequested(Event):
    """A person said that a study is to be erased."""

    study_uid: str


@dataclass(frozen=True)
class StudyChanged(Event):
    """A study moved to another state, or is gone: "forgotten"."""

    study_uid: str
    state: str


@dataclass(frozen=True)
class JobChanged(Event):
    """A job moved to another state."""

    job_key: str
    study_uid: str
    event: str
    state: str


@dataclass(frozen=True)
class JobProgressed(Event):
    """A running job got further."""

    job_key: str
    study_uid: str
    stage: str
    fraction: float


@dataclass(frozen=True)
class DeliveryChanged(Event):
    """A delivery moved to another state."""

    key: str
    study_uid: str
    event: str
    state: str


@dataclass(frozen=True)
class ObjectQuarantined(Event):
    """An object that came in was put aside for a person to look at."""

    key: str
    reason: str


@dataclass(frozen=True)
class ObjectDismissed(Event):
    """Nobody waits for an object that was put aside any more: a person dismissed it, or it was taken in."""

    key: str
    reason: str


@dataclass(frozen=True)
class MirrorRebuildBegun(Event):
    """Everything that is mirrored is to be written anew."""


class Bus:
    """Hands each event to every subscriber, in the publisher's thread."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Event], None]] = []
        self._lock = threading.Lock()

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event from now on; the returned function ends that."""
        with self._lock:
            self._subscribers.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.remove(listener)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell every subscriber."""
        with self._lock:
            subscribers = list(self._subscribers)
        for listener in subscribers:
            try:
                listener(event)
            except Exception:
                log.exception("event_listener_failed", kind=type(event).__name__)
