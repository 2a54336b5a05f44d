"""What a line of a timeline says, in a sentence.

`{name}` is a detail of the line; what stands in `[...]` is left out where a detail in it is not known, as in
the cloud, which has few of them, and gives way to what stands behind its `|`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.ledger.transaction import WhyDone

from ..languages import for_the_reader

SENTENCES: Final[Mapping[str, str]] = {
    "association.aborted": (
        "[{sender}: the association|The association] was broken off[; {instances} images are here]"
    ),
    "association.released": (
        "[{sender}: the association|The association] was ended as it should[; {instances} images are here]"
    ),
    "delivery.cancelled": "Not to be sent[ to {destination}] any more[: {reason}]",
    "delivery.commitment_awaited": (
        "[{destination} is|Its destination is] yet to say that it keeps it[: {reason}]"
    ),
    "delivery.commitment_not_offered": "Not asked to be kept[ by {destination}][: {reason}]",
    "delivery.commitment_refused": (
        "[{destination} does|Its destination does] not have it after all[: {reason}]"
    ),
    "delivery.committed": "[{destination}|Its destination] keeps it for good[: {reason}]",
    "delivery.failed": "Failed[ at {destination}][: {reason}]",
    "delivery.finished_first": (
        "Sent[ to {destination}] to its end before a newer one, for it may be there in part"
    ),
    "delivery.planned": "To be sent[ to {destination}]",
    "delivery.put_off": "Not sent[ to {destination}] for now[: {reason}]",
    "delivery.resent": "To be sent[ to {destination}] once more[: {reason}]",
    "delivery.retried": "Tried again[ at {destination}][: {reason}]",
    "delivery.sent": "[{destination}|Its destination] has it[: {answer}][; {reason}]",
    "delivery.superseded": (
        "Not to be sent[ to {destination}] any more, for a newer one takes its place[: {reason}]"
    ),
    "delivery.tried_now": "Tried now[ at {destination}], without waiting any longer",
    "instance.again": (
        "An image came again[ in another transfer syntax ({transfer_syntax_uid})]; the first is kept"
    ),
    "instance.corrected": "An image came again with another header[ (its revision {revision})]",
    "instance.file_lost": (
        "The file of an image was lost here[ (its revision {revision})]; it is taken when it comes again"
    ),
    "instance.our_own_result": "A result of ours came in; it is never segmented",
    "instance.quarantined": "An object was put aside[: {reason}]",
    "instance.dismissed": "An object that was put aside was dismissed[: {reason}]",
    "instance.released": "An object that was put aside was taken in after all[: {reason}]",
    "job.accepted": "The queue took it[ as {queue_id}][ (run {run})]",
    "job.adopted": "Found at the queue[ as {queue_id}][ (run {run})]",
    "job.blocked": "The queue cannot run it[: {reason}][ ({code})]",
    "job.cancelled": "Cancelled[: {reason}]",
    "job.converted": "Converted to NIfTI[, images: {images}]",
    "job.corrected": "An edited result came back[, structures: {structures}][, mean Dice {mean_dice}]",
    "job.correction_unreadable": "An edited result came back that cannot be compared[: {why}]",
    "job.delivered": "[Over: {reason}|Every destination has it]",
    "job.destination_asked": "[{destination} was|A destination was] asked which forms it takes[: {why}]",
    "job.earlier_deleted": "Earlier results were deleted[ at {destination}][, objects: {objects}]",
    "job.earlier_left": "Earlier results stay[ at {destination}][, objects: {objects}][; {why}]",
    "job.earlier_rejected": (
        "Earlier results were rejected by a note[ to {destination}][, objects: {objects}]"
    ),
    "job.earlier_result_asked": (
        "[{destination} was|A destination was] asked for the patient's earlier result"
    ),
    "job.encoded": "Its results are made, read back and compared",
    "job.failed": "Failed[: {reason}]",
    "job.files_gone": "Made anew, for files of it are gone[: {reason}]",
    "job.form_refused": (
        "[{destination} does|A destination does] not take this form; another one is made[: {reason}]"
    ),
    "job.found_nothing": "Nothing was found, so nothing is sent",
    "job.header_corrected": "Its results are made anew with the corrected header[: {reason}]",
    "job.held": "Held for a person[: {reason}]",
    "job.owned": "Another run of it has begun first, and is followed[ ({queue_id})]",
    "job.planned": "Chosen[ by rule {rule}][ for task {task}]",
    "job.priority_set": "Its priority was changed[ to {priority}][; it was {before}]",
    "job.put_off": "Put off[ for {delay_s} s][: {reason}]",
    "job.queued": "Waits for a machine[ (run {run})]",
    "job.released": "Released by a person[: {reason}]",
    "job.replanned": "Wanted after all[: {reason}]",
    "job.result_rejected": "Its result was rejected at a destination[ ({code})]",
    "job.result_withdrawn": "Its result was taken back[, objects: {objects}][ ({code})]",
    "job.retried": "Taken up again[: {reason}]",
    "job.run_lost": "Its run was lost, and another one is begun[: {reason}]",
    "job.segmented": "Segmented[ in {machine_s} s][ by {machine}]",
    "job.staged": "Put into its job folder[, {input_mb} MB]",
    "job.stalled": "Its run got no further[ for {limit_s} s][: {reason}]",
    "job.started": "Begun[ (run {run})]",
    "job.starting": "A machine is getting ready for it[ (run {run})]",
    "job.submitted": "Handed to the queue[ (run {run})]",
    "job.submitted_again": "Handed to the queue once more, for it was not seen there[ (run {run})]",
    "job.superseded": "Given up, for a newer one takes its place[: {reason}]",
    "job.taken": "The run of another gateway is followed[ ({queue_id})]",
    "job.taken_over": "Taken over from another gateway[ ({gateway})]",
    "job.timed_out": "Its run took too long[, more than {limit_s} s][: {reason}]",
    "job.tried_now": "Tried now, without waiting any longer",
    "job.unanswered": "The queue did not say whether it took it[: {reason}]",
    "job.waiting": "Waits for a machine[: {reason}][ ({code})]",
    "job.waits_machine": "Waits until this machine can[: {reason}]",
    "job.waits_outside": "Waits for somebody else[: {reason}]",
    "job.waits_turn": "Waits for its turn[: {reason}]",
    "job.withdrawn": "Taken back from the queue[ after {waited_s} s] without a machine, to be run elsewhere",
    "study.begun_anew": "Found in the data directory, and begun anew",
    "study.commitment_reported": "Its sender was told that we keep[ {committed}] images[, and not {failed}]",
    "study.complete_requested": "A person said that it is complete",
    "study.completed": (
        "Complete[ ({evidence})][; jobs planned: {jobs}][; images that did not come: {missing}]"
    ),
    "study.failed": "The study has failed",
    "study.finished": "Done[: {reason}]",
    "study.forget_requested": "A person asked to forget it",
    "study.held": "The study waits for a person, who decides",
    "study.images_removed": "Its images were removed here[, files: {files}][; {why}]",
    "study.instance_stored": "Images are coming in[ from {sender}]",
    "study.instances_named": "Somebody named the images that belong to it[: {named}]",
    "study.instances_rejected": "Images were rejected by a note[: {here} of {named} are here][ ({code})]",
    "study.pacs_answered": (
        "The PACS was asked what it holds: [{answer}|it answered][; missing here: {missing}]"
    ),
    "study.replanned": "Decided anew[; jobs: {jobs}]",
    "study.results_back": "Results that were sent again are there[ at {destination}][, objects: {objects}]",
    "study.results_gone": (
        "Results are gone[ at {destination}] and not sent again[, objects: {objects}][; {reason}]"
    ),
    "study.results_not_shown": (
        "[{destination} does|A destination does] not show results[, objects: {objects}][; {reason}]"
    ),
    "study.results_not_told": (
        "[{destination} did|A destination did] not say whether results are still there[: {reason}]"
    ),
    "study.results_removed": "Its results were removed here[, jobs: {jobs}][; {why}]",
    "study.results_sent_again": (
        "Results were gone[ at {destination}], and are sent again[, objects: {objects}]"
    ),
    "study.results_still_there": "Its results are still there[ at {destination}][, objects: {objects}]",
    "study.resumed": "Under way again[: {reason}]",
    "study.volume_chosen": "A person chose a volume[: number {number} of its series]",
}
BY: Final = " (asked for by {by})"
WORDS: Final[Mapping[str, str]] = {
    "all_here": "all is here",
    "more_there": "it holds more than came",
    "fewer_there": "it holds less than came",
    "away": "it was not there",
    "silent": "it did not answer in time",
    "refused": "it refused to say",
    "nonsense": "its answer cannot be read",
    **{why.value: why.value for why in WhyDone},
}
"""Codes among the details, and what the ledger says of a study that is done."""
_PART: Final = re.compile(r"\[([^\[\]|]*)\|?([^\[\]]*)\]")
_DETAIL: Final = re.compile(r"\{(\w+)\}")


def sentence_of(event: str, detail: Mapping[str, Any]) -> str:
    """Say a line of the timeline; one of a name that is not known, as of a newer gateway, by its name."""
    sentence = for_the_reader(SENTENCES.get(event, event.replace(".", ": ").replace("_", " ")))
    said = _PART.sub(lambda part: _filled(part[1], detail) or part[2], sentence)
    by = for_the_reader(BY).format(by=detail["by"]) if detail.get("by") else ""
    return said + by


def _filled(part: str, detail: Mapping[str, Any]) -> str:
    """A part with its details, empty where one of them is not known."""
    if any(detail.get(name) in (None, "") for name in _DETAIL.findall(part)):
        return ""
    return _DETAIL.sub(lambda name: _in_words(detail[name[1]]), part)


def _in_words(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else for_the_reader(WORDS.get(str(value), str(value)))
