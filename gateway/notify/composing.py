"""Makes a message of what a receiver is to be told, by what the ledger says of it now."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.config import Config
from gateway.config.notify import OCCASIONS
from gateway.ledger.messages import OccasionRow, ReceiverRow, lines_by_event, stuck_of
from gateway.ledger.records import utc_time
from gateway.ledger.states import StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.watched import kept_counts

from .message import DeliverySaid, Item, JobSaid, Message, Summary, new_key, subject_of, text_of

MOST_ITEMS: Final = 20
MOST_OF_A_STUDY: Final = 10
HAPPENED: Final = {
    "study.completed": "studies came in",
    "study.finished": "studies done",
    "study.failed": "studies failed",
    "study.held": "studies held",
    "delivery.sent": "objects delivered",
    "instance.quarantined": "objects put aside",
}


@dataclass(frozen=True)
class Composer:
    """Makes messages.

    Parameters
    ----------
    troubles
        What is wrong with the gateway, in sentences.
    """

    config: Config
    ledger: Ledger
    troubles: Callable[[], Sequence[str]]

    def is_still_so(self, occasion: OccasionRow) -> bool:
        """Whether it is worth telling: what was settled meanwhile is not."""
        states = OCCASIONS[occasion.kind].states
        return not states or occasion.state in states

    def message(self, occasions: Sequence[OccasionRow], summary: Summary | None = None) -> Message:
        """Tell of these, the first of them in full."""
        items = [self._item(each) for each in occasions[:MOST_ITEMS]]
        further = Counter(each.kind for each in occasions[MOST_ITEMS:])
        made = Message(
            key=new_key(),
            site=self.config.site.name,
            made_at=datetime.now(UTC),
            subject=subject_of(self.config.site, items, further, is_daily=summary is not None),
            items=tuple(items),
            further=dict(further),
            summary=summary,
        )
        return made.model_copy(update={"text": text_of(made, self.config.site)})

    def summary(self, of: ReceiverRow) -> tuple[Summary, int]:
        """What happened since the last one, how things stand, and up to which line that is."""
        lines, newest = lines_by_event(self.ledger, of.summed_up)
        kept = kept_counts(self.ledger)
        open_states = [state for state in StudyState if state is not StudyState.DONE]
        free_gb = shutil.disk_usage(self.config.data_dir).free // 10**9
        standing = {f"studies {state}": kept["study", state] for state in open_states} | {
            "objects in quarantine": kept["quarantine", ""],
            "deliveries that wait": kept["delivery", "pending"],
            "GB free on the disk": free_gb,
        }
        happened = {what: lines.get(event, 0) for event, what in HAPPENED.items()}
        since = utc_time(of.summed_up_at)
        made = Summary(since=since, happened=happened, standing=standing, troubles=tuple(self.troubles()))
        return made, newest

    def _item(self, occasion: OccasionRow) -> Item:
        known = OCCASIONS[occasion.kind]
        key, base = occasion.study_key, self.config.api.public_url
        jobs, deliveries = stuck_of(self.ledger, key, occasion.state, MOST_OF_A_STUDY) if key else ([], [])
        return Item(
            occasion=occasion.kind,
            about=known.about,
            since=utc_time(occasion.since),
            study_key=key,
            jobs=tuple(JobSaid(job_key=j.key, task=j.where, rule=j.rule, code=j.code) for j in jobs),
            deliveries=tuple(DeliverySaid(key=d.key, destination=d.where, code=d.code) for d in deliveries),
            sentence=occasion.sentence,
            way_out=known.way_out,
            link=f"{base}/#/studies/{key}" if base and key else base,
        )
