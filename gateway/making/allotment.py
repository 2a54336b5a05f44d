"""What of a result each destination gets, and in which form, where that is left to it (`auto`).

A destination is asked when a job is encoded, and what was decided stands in the job's timeline before
anything is made: a step that is killed and taken again finds the same, and so does a result that is made
again, unless a person retried the job since, or the destination refused what was made. Nothing waits for a
destination that cannot be asked: it gets what it took when it was last asked, else every output, the
segmentation as BINARY and pictures uncompressed, which all take that take any.

What is not left to a destination is asked for where that refused it before: of what it refuses it gets the
next form that it takes.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from converter.seg.encoder import Encoding
from gateway.adapters.dicom.implementation import form_name
from gateway.adapters.errors import Away, CalledOff
from gateway.config import Config, Destination
from gateway.config.outputs import Form, in_order
from gateway.forms import (
    AUTO,
    BINARY,
    IN_ITS_PLACE,
    UNCOMPRESSED,
    Way,
    drawings,
    encoding,
    has_encoding,
    is_drawn,
    ways,
)
from gateway.ledger.destinations import KnownDestination, known_destinations
from gateway.ledger.other_forms import ASKED, REFUSED
from gateway.ledger.records import JobRow
from gateway.ledger.results import ResultObject
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import ASKED_ANEW
from gateway.taken import Taken

Takes = Callable[[Collection[Form]], Taken]
"""Asks a destination in which of these forms it takes objects; raises `Away` where it cannot be asked."""

RESTS_S: Final = 60.0
"""One that could not be asked is not asked again so soon: each time may take ten seconds."""
IT: Final = "it "
"""So begins each sentence about a destination."""


@dataclass(frozen=True)
class Decision:
    """What was decided for one destination.

    Parameters
    ----------
    encoding
        In which segmentations are made for it: `LABELMAP rle`. Empty where that was not asked.
    left_out
        The outputs that it does not get.
    why
        A sentence for a person.
    is_asked
        Whether it could be asked.
    drawing
        The transfer syntax of pictures of slices for it, by its name; empty where that was not asked.
    instead
        The outputs that it gets in the place of a segmentation.
    """

    encoding: str
    left_out: tuple[str, ...]
    why: str
    is_asked: bool
    drawing: str = ""
    instead: tuple[str, ...] = ()

    def and_before(self, known: "Decision | None") -> "Decision":
        """With what was decided before, which holds."""
        if known is None:
            return self
        encoding, drawing = known.encoding or self.encoding, known.drawing or self.drawing
        return replace(
            self, encoding=encoding, drawing=drawing, left_out=known.left_out, instead=known.instead
        )


@dataclass(frozen=True)
class Allotment:
    """What all destinations of a job get, and in which form.

    Parameters
    ----------
    wanted
        By output, the destinations that want it.
    left_out
        By destination, the outputs that it does not get.
    chosen
        By destination, the encoding that was chosen for it.
    usual
        The encoding for whom none was.
    drawn
        By destination, the transfer syntax of pictures of slices that was chosen for it.
    usually_drawn
        That for whom none was.
    instead
        Outputs that the job was not planned with, and some destination gets in the place of others.
    said
        By destination, what a person should know.
    """

    wanted: Mapping[str, Sequence[str]]
    left_out: Mapping[str, Sequence[str]]
    chosen: Mapping[str, Encoding]
    usual: Encoding
    drawn: Mapping[str, str]
    usually_drawn: str
    instead: Sequence[str]
    said: Mapping[str, str]

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """Those in which segmentations are made."""
        found = {str(each): each for each in self.chosen.values()}
        return tuple(found[name] for name in sorted(found)) or (self.usual,)

    @property
    def drawings(self) -> tuple[str, ...]:
        """The transfer syntaxes in which pictures of slices are made."""
        return tuple(sorted(set(self.drawn.values()))) or (self.usually_drawn,)

    def is_wanted(self, output: str) -> bool:
        """Whether an output is made: that which nobody wants is, too, and stays here."""
        wanted = self.wanted[output]
        return not wanted or any(output not in self.left_out.get(to, ()) for to in wanted)

    def destinations(self, made: ResultObject) -> list[str]:
        """Who gets an object: of several forms each the one that was chosen for it."""
        takers = [to for to in self.wanted[made.output] if made.output not in self.left_out.get(to, ())]
        return [to for to in takers if made.form in ("", self._form_for(to, made.output))]

    def added_to(self, warnings: Sequence[str]) -> list[str]:
        """A job's warnings with what was decided now, instead of what was before."""
        about = tuple(f"{to}: {IT}" for to in {to for wanted in self.wanted.values() for to in wanted})
        kept = [warning for warning in warnings if not warning.startswith(about)]
        return kept + [f"{to}: {sentence}" for to, sentence in self.said.items()]

    def _form_for(self, destination: str, output: str) -> str:
        """Who gets no segmentation itself gets what refers to one of those that are made."""
        if is_drawn(output):
            drawn = self.drawn.get(destination, self.usually_drawn)
            return drawn if drawn in self.drawings else self.drawings[0]
        encodings = self.encodings
        chosen = self.chosen.get(destination, self.usual)
        return str(chosen if chosen in encodings else encodings[0])


class Allotting:
    """Decides for each job.

    Parameters
    ----------
    takes
        By the name of the destination, what asks it.
    """

    def __init__(self, ledger: Ledger, config: Config, takes: Mapping[str, Takes]) -> None:
        self._ledger = ledger
        self._config = config
        self._takes = takes
        self._away: dict[str, tuple[float, str]] = {}

    def __call__(self, job: JobRow) -> Allotment:
        """Decide what is open, write it down, and give all that holds for the job.

        Raises
        ------
        CalledOff, StaleRow
        """
        names = {each: list(self._config.names_for(job.rule, job.send_to, each)) for each in job.outputs}
        decided = self._decided(job)
        chosen, drawn, left_out, instead, said = {}, {}, {}, set(), {}
        for to in self._config.destination:
            wanted = [each for each in job.outputs if to.name in names[each]]
            if not wanted:
                continue
            decision = self._decision(job, to, wanted, decided.get(to.name))
            if to.is_asked_for_outputs:
                left_out[to.name] = decision.left_out
            for each in decision.instead:
                names.setdefault(each, []).append(to.name)
                instead.add(each)
            got = [*(each for each in wanted if each not in left_out.get(to.name, ())), *decision.instead]
            if any(map(has_encoding, got)):
                chosen[to.name] = encoding(self._config, decision.encoding or self._usual)
            if any(map(is_drawn, got)):
                drawn[to.name] = decision.drawing or self._usually_drawn
            is_another = bool(decision.encoding) and not self._is_auto
            if decision.left_out or decision.instead or not decision.is_asked or is_another:
                said[to.name] = decision.why
        usual = encoding(self._config, self._usual)
        return Allotment(names, left_out, chosen, usual, drawn, self._usually_drawn, in_order(instead), said)

    @property
    def _is_auto(self) -> bool:
        return self._config.seg.type == AUTO

    @property
    def _usual(self) -> str:
        return BINARY if self._is_auto else self._config.seg.type.upper()

    @property
    def _usually_drawn(self) -> str:
        named = self._config.overlay.transfer_syntax
        return UNCOMPRESSED if named == AUTO else named

    # -- deciding -----------------------------------------------------------------------------------------

    def _decision(
        self, job: JobRow, to: Destination, wanted: Sequence[str], before: Decision | None
    ) -> Decision:
        """What holds for a destination: what was decided before, else what is now, written down."""
        is_encoded = self._is_auto and any(map(has_encoding, wanted))
        has_drawings = drawings(self._config) != (UNCOMPRESSED,) and any(map(is_drawn, wanted))
        is_open = (
            is_encoded or has_drawings or to.is_asked_for_outputs or self._is_refused(to, wanted)
            if before is None
            else (is_encoded and not before.encoding) or (has_drawings and not before.drawing)
        )
        if not is_open:
            return before or _AS_CONFIGURED
        decision = self._decide(to, wanted).and_before(before)
        self._write_down(job, to, decision)
        return decision

    def _is_refused(self, to: Destination, wanted: Sequence[str]) -> bool:
        """Whether it refused, not long ago, how something is made that is not left to it."""
        refused = self._known(to).refused
        choices = [options for each in wanted if len(options := ways(self._config, each)) > 1]
        return any(options[0].form in refused for options in choices)

    def _decide(self, to: Destination, wanted: Sequence[str]) -> Decision:
        in_place = to.is_asked_for_outputs and any(map(has_encoding, wanted))
        others = [each for each in IN_ITS_PLACE if in_place and each not in wanted]
        found = {each: ways(self._config, each) for each in (*wanted, *others)}
        fewest = 1 if to.is_asked_for_outputs else 2  # nothing follows from an answer about a single way
        options = {each: some for each, some in found.items() if len(some) >= fewest}
        said = self._ask(to, {way.form for each in options.values() for way in each})
        left_out = [each for each in wanted if each in options and not said.takes(options[each])]
        if not to.is_asked_for_outputs or said.away:
            left_out = []
        lacks_segmentation = any(map(has_encoding, left_out))
        instead = [each for each in others if lacks_segmentation and said.takes(options[each])]
        if len(left_out) == len(wanted) and not instead:
            left_out = []  # one that takes nothing of it refuses it aloud
        encodings = [found[each] for each in wanted if has_encoding(each)]
        pictures = [found[each] for each in (*wanted, *instead) if is_drawn(each)]
        decision = Decision(
            encoding=self._encoding(encodings[0], said) if encodings else "",
            left_out=tuple(left_out),
            why="",
            is_asked=not said.away,
            drawing=self._drawing(pictures[0], said) if pictures else "",
            instead=tuple(instead),
        )
        return replace(decision, why=self._why(decision, said, encodings))

    def _encoding(self, options: Sequence[Way], said: "_Answer") -> str:
        """Where that is left to it what it takes, else BINARY; else what it does not refuse, if another."""
        if self._is_auto:
            return said.first_taken(options).name
        first = next((way for way in options if way.form not in said.refused), options[0])
        return "" if first is options[0] else first.name

    def _drawing(self, options: Sequence[Way], said: "_Answer") -> str:
        return said.first_taken(options).name if len(options) > 1 else ""

    def _why(self, decision: Decision, said: "_Answer", encodings: Sequence[Sequence[Way]]) -> str:
        if said.away:
            return _without_answer(said.away, self._is_auto and encodings, decision.drawing)
        if decision.encoding and not self._is_auto:
            usual, kind = encodings[0][0], decision.encoding.partition(" ")[0]
            is_class = kind != usual.name
            what = form_name(usual.form.sop_class_uid, "" if is_class else usual.form.transfer_syntax_uid)
            is_what = kind if is_class else "uncompressed"
            return _why(f"{IT}does not take {what}: its segmentation is {is_what}", decision)
        if decision.encoding and not any(map(has_encoding, decision.left_out)):
            is_plain = decision.encoding == BINARY
            can = "does not take label maps" if is_plain else "takes label maps"
            return _why(f"{IT}{can}: its segmentation is {decision.encoding.partition(' ')[0]}", decision)
        return _why("", decision)

    def _ask(self, to: Destination, forms: Collection[Form]) -> "_Answer":
        """What it takes, now or as it is remembered."""
        rests_until, away = self._away.get(to.name, (0.0, "there is no way to ask it"))
        if to.name in self._takes and time.monotonic() >= rests_until:
            try:
                taken = self._takes[to.name](forms)
            except CalledOff:
                raise
            except Away as error:
                away = str(error)
                self._away[to.name] = time.monotonic() + RESTS_S, away
            else:
                refused = set(forms) - taken.forms if taken.by is not None else self._known(to).refused
                return _Answer(taken.forms, frozenset(refused))
        known = self._known(to)
        remembered = frozenset(form for form, each in known.by_form.items() if each.is_taken)
        is_known = (remembered | known.refused) >= set(forms)
        return _Answer(remembered, known.refused, "" if is_known else away)

    def _known(self, to: Destination) -> KnownDestination:
        return known_destinations(self._ledger).get(to.name, KnownDestination())

    # -- what was decided before --------------------------------------------------------------------------

    def _decided(self, job: JobRow) -> dict[str, Decision]:
        """By destination, since a person or a plan last asked for the job anew, or it refused a form."""
        anew = [f"job.{event}" for event in sorted(ASKED_ANEW)]
        rows = self._ledger.read(
            "SELECT event, detail FROM events WHERE job_key = ? AND event IN (?, ?)"
            " AND seq > (SELECT coalesce(max(seq), 0) FROM events WHERE job_key = ? AND event IN (?, ?))"
            " ORDER BY seq",
            (job.job_key, ASKED, REFUSED, job.job_key, *anew),
        )
        found: dict[str, Decision] = {}
        for row in rows:
            detail = json.loads(row["detail"])
            name = detail.pop("destination")
            if row["event"] == REFUSED:
                found.pop(name, None)
                continue
            lists = {each: tuple(detail.get(each, ())) for each in ("left_out", "instead")}
            found[name] = Decision(**{**detail, **lists})
        return found

    def _write_down(self, job: JobRow, to: Destination, decision: Decision) -> None:
        with self._ledger.transaction() as transaction:
            transaction.note(
                ASKED,
                study_uid=job.study_uid,
                job_key=job.job_key,
                destination=to.name,
                **asdict(decision),
            )


@dataclass(frozen=True)
class _Answer:
    """What a destination said.

    Parameters
    ----------
    away
        Why it could not be asked; empty where it was, or what it said before is enough.
    """

    taken: frozenset[Form]
    refused: frozenset[Form]
    away: str = ""

    def takes(self, options: Sequence[Way]) -> bool:
        """Whether it takes something in one of these ways."""
        return any(way.form in self.taken for way in options)

    def first_taken(self, options: Sequence[Way]) -> Way:
        """The best way that it takes, as far as that is known; else the last, which most take."""
        if self.away:
            return options[-1]
        return next((way for way in options if way.form in self.taken), options[-1])


_AS_CONFIGURED: Final = Decision("", (), "", is_asked=True)


def _why(segmentation: str, decision: Decision) -> str:
    said = [segmentation] if segmentation else []
    if decision.drawing:
        said.append(f"{IT if not said else ''}gets pictures of slices in {decision.drawing}")
    if decision.left_out:
        said.append(f"{IT}does not take {', '.join(decision.left_out)}, left out for it")
    if decision.instead:
        said.append(f"{IT}gets {', '.join(decision.instead)} instead of a segmentation")
    return "; ".join(said) or f"{IT}takes every output"


def _without_answer(away: str, is_encoded: object, drawing: str) -> str:
    ending = ", the segmentation as BINARY" if is_encoded else ""
    ending += ", pictures of slices uncompressed" if drawing else ""
    return f"{IT}could not be asked what it takes ({away}): every output is sent{ending}"
