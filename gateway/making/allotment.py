"""What of a result each destination gets, and in which form, where that is left to it (`auto`).

A destination is asked when a job is encoded, and what was decided stands in the job's timeline before
anything is made: a step that is killed and taken again finds the same, and so does a result that is made
again, unless a person retried the job since. Nothing waits for a destination that cannot be asked: it gets
what it took when it was last asked, else every output, the segmentation as BINARY and pictures uncompressed,
which all take that take any.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from converter.pictures.settings import SYNTAX_NAMES as DRAWN_IN
from converter.seg.settings import SOP_CLASSES, SYNTAX_NAMES, TRANSFER_SYNTAXES
from converter.segmentation import Encoding, SegmentationType
from gateway.adapters.errors import Away, CalledOff
from gateway.config import Config, Destination
from gateway.config.outputs import OUTPUTS, Form
from gateway.ledger.records import JobRow
from gateway.ledger.results import ResultObject
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import ASKED_ANEW

Takes = Callable[[Collection[Form]], frozenset[Form]]
"""Asks a destination in which of these forms it takes objects; raises `Away` where it cannot be asked."""

EVENT: Final = "job.destination_asked"
AUTO: Final = "auto"
RESTS_S: Final = 60.0
"""One that could not be asked is not asked again so soon: each time may take ten seconds."""
BINARY: Final = str(SegmentationType.BINARY)
IT: Final = "it "
"""So begins each sentence about a destination."""
UNCOMPRESSED: Final = "explicit"
SMALLEST_FIRST: Final = ("jpegls", "jpeg2000", "rle", UNCOMPRESSED)
"""Of pictures, where the configuration leaves their transfer syntax to the destination."""
PLAIN: Final = "1.2.840.10008.1.2.1"
"""Explicit VR little endian, which stands for the implicit one, too."""


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
    """

    encoding: str
    left_out: tuple[str, ...]
    why: str
    is_asked: bool
    drawing: str = ""

    def and_before(self, known: "Decision | None") -> "Decision":
        """With what was decided before, which holds."""
        if known is None:
            return self
        encoding, drawing = known.encoding or self.encoding, known.drawing or self.drawing
        return replace(self, encoding=encoding, drawing=drawing, left_out=known.left_out)


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
    said
        By destination, what a person should know.
    """

    wanted: Mapping[str, Sequence[str]]
    left_out: Mapping[str, Sequence[str]]
    chosen: Mapping[str, Encoding]
    usual: Encoding
    drawn: Mapping[str, str]
    usually_drawn: str
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
        if _is_drawn(output):
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
        self._said: dict[str, dict[Form, bool]] = {}
        self._away: dict[str, tuple[float, str]] = {}

    def __call__(self, job: JobRow) -> Allotment:
        """Decide what is open, write it down, and give all that holds for the job.

        Raises
        ------
        CalledOff, StaleRow
        """
        names = {each: self._config.names_for(job.rule, job.send_to, each) for each in job.outputs}
        decided = self._decided(job)
        chosen, drawn, left_out, said = {}, {}, {}, {}
        for to in self._config.destination:
            wanted = [each for each in job.outputs if to.name in names[each]]
            is_encoded = self._is_auto and any(map(_has_encoding, wanted))
            is_drawn = self._drawings != [UNCOMPRESSED] and any(map(_is_drawn, wanted))
            if not wanted or not (is_encoded or is_drawn or to.is_asked_for_outputs):
                continue
            known = decided.get(to.name)
            if known is None or (is_encoded and not known.encoding) or (is_drawn and not known.drawing):
                asked = self._decide(to, wanted, is_encoded=is_encoded, is_drawn=is_drawn)
                known = asked.and_before(known)
                self._write_down(job, to, known)
            if to.is_asked_for_outputs:
                left_out[to.name] = known.left_out
            got = [each for each in wanted if each not in left_out.get(to.name, ())]
            if is_encoded and any(map(_has_encoding, got)):
                chosen[to.name] = self._encoding(known.encoding)
            if is_drawn and any(map(_is_drawn, got)):
                drawn[to.name] = known.drawing
            if known.left_out or not known.is_asked:
                said[to.name] = known.why
        usual = BINARY if self._is_auto else self._config.seg.type.upper()
        return Allotment(names, left_out, chosen, self._encoding(usual), drawn, self._usually_drawn, said)

    @property
    def _is_auto(self) -> bool:
        return self._config.seg.type == AUTO

    @property
    def _drawings(self) -> list[str]:
        """The transfer syntaxes of pictures of slices that may be chosen, the best first."""
        named = self._config.overlay.transfer_syntax
        return list(SMALLEST_FIRST if named == AUTO else dict.fromkeys((named, UNCOMPRESSED)))

    @property
    def _usually_drawn(self) -> str:
        named = self._config.overlay.transfer_syntax
        return UNCOMPRESSED if named == AUTO else named

    # -- deciding -----------------------------------------------------------------------------------------

    def _decide(
        self, to: Destination, wanted: Sequence[str], *, is_encoded: bool, is_drawn: bool
    ) -> Decision:
        label_maps = self._label_maps() if is_encoded else {}
        forms = {each: forms for each in wanted if (forms := self._forms_of_output(each))}
        taken, away = self._ask(
            to, {*label_maps.values(), *(form for each in forms.values() for form in each)}
        )
        if taken is None:
            why = _without_answer(away, is_encoded=is_encoded, is_drawn=is_drawn)
            encoding, drawing = BINARY if is_encoded else "", UNCOMPRESSED if is_drawn else ""
            return Decision(encoding, (), why, is_asked=False, drawing=drawing)
        label_map = next((name for name, form in label_maps.items() if form in taken), "")
        left_out = [
            each
            for each, ways in forms.items()
            if not taken.intersection(ways) and not (label_map and _has_encoding(each))
        ]
        if not to.is_asked_for_outputs or len(left_out) == len(wanted):
            left_out = []  # one that takes nothing of it refuses it aloud
        encoding = (label_map or BINARY) if is_encoded else ""
        drawn_in = (each for each in self._drawings if is_drawn and taken & set(_pictures(each)))
        drawing = next(drawn_in, UNCOMPRESSED) if is_drawn else ""
        why = _why(encoding, left_out, drawing)
        return Decision(encoding, tuple(left_out), why, is_asked=True, drawing=drawing)

    def _forms_of_output(self, output: str) -> list[Form]:
        """By what a destination is asked for it, each of which will do; none where it is not."""
        if _has_encoding(output) and not self._is_auto:
            return [self._form(self._config.seg.type.upper())]
        if output not in OUTPUTS or not OUTPUTS[output].sop_class_uid:
            return []
        if _is_drawn(output):
            return [form for each in self._drawings for form in _pictures(each)]
        return [Form(OUTPUTS[output].sop_class_uid, PLAIN)]

    def _label_maps(self) -> dict[str, Form]:
        """The encodings of label maps that may be chosen, the best first."""
        named = self._config.seg.transfer_syntax
        first = TRANSFER_SYNTAXES[SegmentationType.LABELMAP][:2]
        syntaxes = (
            [named] if named else [name for uid in first for name, u in SYNTAX_NAMES.items() if u == uid]
        )
        encodings = [f"{SegmentationType.LABELMAP} {syntax}" for syntax in syntaxes]
        return {each: self._form(each) for each in encodings}

    def _form(self, encoding: str) -> Form:
        chosen = self._encoding(encoding)
        return Form(str(SOP_CLASSES[chosen.type]), str(chosen.syntax))

    def _encoding(self, said: str) -> Encoding:
        """The encoding of its name: a type alone is in the configured transfer syntax, where it can be."""
        kind, _, syntax = said.partition(" ")
        seg = self._config.seg
        named = seg.transfer_syntax
        is_possible = named and SYNTAX_NAMES[named] in TRANSFER_SYNTAXES[SegmentationType(kind)]
        return Encoding.named(
            kind,
            syntax or (named if is_possible else ""),
            is_cropped=seg.crop,
            has_background_item=seg.background_item,
        )

    def _ask(self, to: Destination, forms: Collection[Form]) -> tuple[frozenset[Form] | None, str]:
        """What it takes, now or when it was last asked; None where that is not known, and why."""
        rests_until, away = self._away.get(to.name, (0.0, "there is no way to ask it"))
        if to.name in self._takes and time.monotonic() >= rests_until:
            try:
                taken = self._takes[to.name](forms)
                self._said.setdefault(to.name, {}).update({form: form in taken for form in forms})
            except CalledOff:
                raise
            except Away as error:
                away = str(error)
                self._away[to.name] = time.monotonic() + RESTS_S, away
        known = self._said.get(to.name, {})
        if not known.keys() >= set(forms):
            return None, away
        return frozenset(form for form in forms if known[form]), ""

    # -- what was decided before --------------------------------------------------------------------------

    def _decided(self, job: JobRow) -> dict[str, Decision]:
        """By destination, since a person or a plan last asked for the job anew."""
        anew = [f"job.{event}" for event in sorted(ASKED_ANEW)]
        rows = self._ledger.read(
            "SELECT detail FROM events WHERE job_key = ? AND event = ?"
            " AND seq > (SELECT coalesce(max(seq), 0) FROM events WHERE job_key = ? AND event IN (?, ?))"
            " ORDER BY seq",
            (job.job_key, EVENT, job.job_key, *anew),
        )
        found = {}
        for row in rows:
            detail = json.loads(row["detail"])
            name = detail.pop("destination")
            found[name] = Decision(**{**detail, "left_out": tuple(detail["left_out"])})
        return found

    def _write_down(self, job: JobRow, to: Destination, decision: Decision) -> None:
        with self._ledger.transaction() as transaction:
            transaction.note(
                EVENT,
                study_uid=job.study_uid,
                job_key=job.job_key,
                destination=to.name,
                **asdict(decision),
            )


def _has_encoding(output: str) -> bool:
    return output in OUTPUTS and OUTPUTS[output].has_encoding


def _is_drawn(output: str) -> bool:
    return output in OUTPUTS and OUTPUTS[output].has_drawing


def _pictures(drawing: str) -> list[Form]:
    """The forms of drawn outputs in a transfer syntax."""
    syntax = str(DRAWN_IN[drawing])
    return [Form(each.sop_class_uid, syntax) for each in OUTPUTS.values() if each.has_drawing]


def _why(encoding: str, left_out: Sequence[str], drawing: str) -> str:
    said = []
    if encoding and not any(map(_has_encoding, left_out)):
        can = "does not take label maps" if encoding == BINARY else "takes label maps"
        said.append(f"{IT}{can}: its segmentation is {encoding.partition(' ')[0]}")
    if drawing:
        said.append(f"{IT if not said else ''}gets pictures of slices in {drawing}")
    if left_out:
        said.append(f"{IT}does not take {', '.join(left_out)}, left out for it")
    return "; ".join(said) or f"{IT}takes every output"


def _without_answer(away: str, *, is_encoded: bool, is_drawn: bool) -> str:
    ending = ", the segmentation as BINARY" if is_encoded else ""
    ending += ", pictures of slices uncompressed" if is_drawn else ""
    return f"{IT}could not be asked what it takes ({away}): every output is sent{ending}"
