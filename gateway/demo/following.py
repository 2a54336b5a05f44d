"""Follows one study through the gateway by its status API, and tells each step as it is taken."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.commands.status_client import StatusClient, StatusError

from .children import Child, DemoError
from .screen import Busy, Screen

LOOK_EVERY_S = 0.5
TIMEOUT_S = 1800.0
"""Somebody's own study may be a large one on a slow machine."""

_Detail = dict[str, Any]


def _completed(detail: _Detail) -> str:
    return f"the study is whole ({detail.get('evidence', 'by evidence')})"


def _planned(detail: _Detail) -> str:
    return f"rule {detail.get('rule', '?')}, task {detail.get('task', '?')}"


def _segmented(detail: _Detail) -> str:
    """The engine, and where its time went: all but the longest stage is next to nothing."""
    stages: dict[str, float] = detail.get("stages_s", {})
    longest = max(stages, key=lambda stage: stages[stage], default="")
    return f"{detail.get('engine', 'the engine')}" + (
        f" (of which {longest} {stages[longest]:.1f} s)" if longest else ""
    )


def _sent(detail: _Detail) -> str:
    return f"to {detail.get('destination', 'the destination')} by C-STORE"


def _reason(detail: _Detail) -> str:
    return str(detail.get("reason", ""))


STEPS: dict[str, tuple[str, Callable[[_Detail], str]]] = {
    "study.completed": ("Complete", _completed),
    "job.planned": ("Chosen", _planned),
    "job.converted": ("Converted", lambda detail: "the volume is a NIfTI"),
    "job.staged": ("Staged", lambda detail: "the job folder is ready"),
    "job.started": ("Started", lambda detail: "the job runs"),
    "job.segmented": ("Segmented", _segmented),
    "job.encoded": ("Encoded", lambda detail: "a DICOM-SEG, read back and compared"),
    "delivery.sent": ("Delivered", _sent),
    "job.run_lost": ("Run lost", _reason),
    "job.put_off": ("Put off", _reason),
    "delivery.put_off": ("Put off", _reason),
}
"""The events of the timeline that are told, with a title and what is said of them."""


class Follower:
    """Tells the steps of one study.

    Parameters
    ----------
    client, gateway
        Asks the gateway; its process, which must not end.
    released_at
        When the sender closed its association: what the first step's time counts from.
    """

    def __init__(
        self, client: StatusClient, gateway: Child, screen: Screen, study_uid: str, released_at: datetime
    ) -> None:
        self._client = client
        self._gateway = gateway
        self._screen = screen
        self._study_uid = study_uid
        self._told = 0
        self._last_at: dict[str, datetime] = {"": released_at}

    def follow(self) -> dict[str, Any]:
        """Wait until the study is done.

        Returns
        -------
        dict
            The study as the API gives it.

        Raises
        ------
        DemoError
            It failed, nothing of it was chosen, or it took too long; the sentence has the reason.
        """
        deadline = time.monotonic() + TIMEOUT_S
        with self._screen.busy("waiting for the study to be complete") as busy:
            while True:
                study = self._ask()
                self._tell(study["timeline"], study.get("timeline_left_out", 0))
                self._show(study, busy)
                if study["state"] in ("done", "failed", "held"):
                    break
                if time.monotonic() > deadline:
                    raise DemoError(f"the study is still {study['state']} after {TIMEOUT_S / 60:.0f} min")
                time.sleep(LOOK_EVERY_S)
        if study["state"] != "done":
            raise DemoError(f"the study is {study['state']}: {study['reason']}")
        if study["reason"] != "delivered":
            raise DemoError("; ".join([study["reason"], *_why_not_chosen(study)]))
        return study

    def _ask(self) -> dict[str, Any]:
        self._gateway.check()
        try:
            return self._client.study(self._study_uid)
        except StatusError as error:
            raise DemoError(f"the status API: {error}") from None

    def _tell(self, timeline: list[dict[str, Any]], left_out: int) -> None:
        for line in timeline[max(0, self._told - left_out) :]:
            at = datetime.fromisoformat(line["at"])
            detail: _Detail = line["detail"]
            chain = str(line.get("job_key") or detail.get("job_key") or "")
            since = self._last_at.get(chain, self._last_at[""])
            self._last_at[chain] = max(at, since)
            if line["event"] in STEPS:
                title, describe = STEPS[line["event"]]
                self._screen.done(title, describe(detail), (at - since).total_seconds())
        self._told = left_out + len(timeline)

    def _show(self, study: dict[str, Any], busy: Busy) -> None:
        running = [job for job in study["jobs"] if job["state"] == "running"]
        if running and running[0].get("progress"):
            progress = running[0]["progress"]
            busy.show(f"segmenting ({progress['stage'] or 'starting'})", progress["fraction"])
        elif study["jobs"]:
            busy.show(", ".join(sorted({str(job["state"]) for job in study["jobs"]})))


def _why_not_chosen(study: dict[str, Any]) -> list[str]:
    """What the gateway says of each series that it did not take."""
    sentences: dict[str, None] = {}
    for series in study["series"]:
        for volume in series.get("volumes", []):
            if not volume.get("job_key"):
                sentences[f"series {series.get('number', '?')}: {volume.get('why', '')}"] = None
    return list(sentences)


def now() -> datetime:
    """The present time, in UTC as the timeline's is."""
    return datetime.now(UTC)
