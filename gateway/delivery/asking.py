"""Asks destinations what they take of what their rules will send: at the start, each day, and for each job
that leaves it to them; what they say is remembered, and what they refuse is told.

Asked is by negotiating an association (PS3.8 7.1.1), in which nothing is sent.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.adapters.dicom.implementation import form_name
from gateway.adapters.errors import Away, CalledOff
from gateway.config import Config, Destination
from gateway.config.outputs import NOTE, OUTPUTS, Form
from gateway.events import Bus, Event
from gateway.forms import AUTO, has_encoding, sent_to, ways
from gateway.ledger.destinations import KnownDestination, KnownForm, known_destinations, learn
from gateway.ledger.records import utc_now
from gateway.ledger.store import Ledger
from gateway.taken import Refusal, Taken, and_uncompressed
from gateway.workers.attempts import Backoff
from gateway.workers.worker import Worker

from .carriers.carrier import Carrier

log = structlog.get_logger(__name__)

DAY_S: Final = 86400.0
ASKING: Final = "destinations"
"""What is wrong with them is told under this name."""
AGAIN: Final = Backoff(60.0, 900.0)
"""Where it could not be asked."""


@dataclass(frozen=True)
class Finding:
    """An output that a destination does not take as its rules would send it.

    Parameters
    ----------
    is_served
        Whether it gets that in another form, or what it gets is left to it.
    is_left_to_it
        Whether the configuration says so: then nobody need do anything.
    """

    output: str
    sentence: str
    is_served: bool
    is_left_to_it: bool


def wanted_forms(config: Config, to: Destination) -> frozenset[Form]:
    """All in which its rules may send something there, and each SOP class uncompressed."""
    found = [way.form for output in sent_to(config, to) for way in ways(config, output)]
    return and_uncompressed(found)


def ask(carrier: Carrier, forms: Collection[Form]) -> KnownDestination:
    """What a destination takes of these forms; nothing is known where nobody can be asked.

    Raises
    ------
    Away
    """
    forms = and_uncompressed(forms)
    return _heard(carrier, carrier.takes(forms), forms)


def findings(config: Config, to: Destination, known: KnownDestination) -> list[Finding]:
    """What a destination, as far as it is known, does not take of what its rules send."""
    found = []
    for output in sent_to(config, to):
        options = ways(config, output)
        refused = [way for way in options if way.form in known.refused]
        if not refused or refused[0] is not options[0]:
            continue
        others = [way.name for way in options if way not in refused]
        so, is_left_to_it = _what_follows(config, to, output, others)
        is_served = bool(others) or is_left_to_it
        said = known.by_form[(refused[0] if others else refused[-1]).form]
        sentence = Refusal(said.what, said.way_out, known.product).by(to.name, so)
        found.append(Finding(output, sentence, is_served, is_left_to_it))
    return found


def _what_follows(config: Config, to: Destination, output: str, others: Sequence[str]) -> tuple[str, bool]:
    """What becomes of an output, and whether that is as it was left to the destination."""
    if others and has_encoding(output):
        kind = others[0].partition(" ")[0]
        as_what = "uncompressed" if kind == config.seg.type.upper() else kind
        return f"its segmentation is {as_what}", config.seg.type == AUTO
    if others:
        return f"its {output} is {others[0]}", True
    if output == NOTE:
        return "earlier results are not rejected there", False
    if to.is_asked_for_outputs:
        return f"{output} is left out for it", True
    return f"{output} is not delivered", False


def _heard(carrier: Carrier, taken: Taken, forms: Collection[Form]) -> KnownDestination:
    if taken.by is None:
        return KnownDestination(str(carrier))
    said = tuple(_known(taken, form) for form in sorted(forms))
    return KnownDestination(str(carrier), taken.by.product.name, str(taken.by), utc_now(), said)


def _known(taken: Taken, form: Form) -> KnownForm:
    if form in taken.forms:
        return KnownForm(*form, True, form_name(*form), "", utc_now())
    refusal = taken.refusal(form)
    return KnownForm(*form, False, refusal.what, refusal.way_out, utc_now())


class Asking(Worker):
    """Asks every destination, and says what they refuse.

    Parameters
    ----------
    carriers
        Each destination with what asks it.
    """

    def __init__(
        self, config: Config, carriers: Sequence[tuple[Destination, Carrier]], ledger: Ledger, bus: Bus
    ) -> None:
        super().__init__(ASKING, bus)
        self._config = config
        self._carriers = {to.name: (to, carrier) for to, carrier in carriers}
        self._ledger = ledger
        self._due = dict.fromkeys(self._carriers, 0.0)
        self._times_away = dict.fromkeys(self._carriers, 0)
        self._away: dict[str, str] = {}
        self._said: list[str] = []

    def is_woken_by(self, event: Event) -> bool:
        """By time only."""
        return False

    def work(self) -> float:
        """Ask whom it is time to ask."""
        for name, (to, _) in self._carriers.items():
            if self.is_stopping:
                break
            if time.monotonic() >= self._due[name]:
                with self.at(f"destination {name}"):
                    self._ask(name, to)
        self.tell()
        return max(min(self._due.values(), default=DAY_S) - time.monotonic(), 0.0)

    def takes(self, name: str, forms: Collection[Form]) -> Taken:
        """Those of these forms that a destination takes, asked now, and remembered.

        Where nobody can be asked, what such a destination knows for certain, with what was learnt by sending.

        Raises
        ------
        Away
        """
        _, carrier = self._carriers[name]
        asked, known = and_uncompressed(forms), self.known(name)
        taken = carrier.takes(asked)
        if taken.by is None:
            sent = {each.form for each in known.forms if each.is_taken}
            return Taken((taken.forms | sent) - known.refused)
        now, was_away = _heard(carrier, taken, asked), self._away.pop(name, "")
        if was_away or not known.says(now):
            with self._ledger.transaction() as transaction:
                learn(transaction, name, now)
            self.tell()
        return taken

    def known(self, name: str) -> KnownDestination:
        """What is remembered of a destination, where it still is at that address."""
        _, carrier = self._carriers[name]
        known = known_destinations(self._ledger).get(name)
        return (
            known if known is not None and known.address == str(carrier) else KnownDestination(str(carrier))
        )

    def has_another_form(self, name: str, output: str) -> bool:
        """Whether an output can go there in a form that was not refused, or be left out."""
        to, _ = self._carriers[name]
        refused = self.known(name).refused
        may_be_left_out = to.is_asked_for_outputs and output in OUTPUTS
        return may_be_left_out or any(way.form not in refused for way in ways(self._config, output))

    def complaints(self) -> list[str]:
        """What is wrong with it, then with each destination."""
        return [*super().complaints(), *self._said]

    def tell(self) -> None:
        """Complain while a destination refuses what nobody left to it."""
        said = [f"{name} could not be asked what it takes: {why}" for name, why in self._away.items()]
        for name, (to, _) in self._carriers.items():
            found = findings(self._config, to, self.known(name))
            said += [each.sentence for each in found if not each.is_left_to_it]
        self._said = said

    def _ask(self, name: str, to: Destination) -> None:
        try:
            self.takes(name, wanted_forms(self._config, to))
        except CalledOff:
            return
        except Away as away:
            delay_s = AGAIN.delay_s(self._times_away[name])
            self._times_away[name] += 1
            self._away[name] = str(away)
            self._due[name] = time.monotonic() + delay_s
            log.warning("destination_not_asked", destination=name, reason=str(away), delay_s=round(delay_s))
            return
        self._times_away[name] = 0
        self._due[name] = time.monotonic() + DAY_S
        for finding in findings(self._config, to, self.known(name)):
            log.warning(
                "destination_refuses", destination=name, output=finding.output, reason=finding.sentence
            )
