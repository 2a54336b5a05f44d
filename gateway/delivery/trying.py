"""Tries a destination without sending anything: is it there, lets it us in, takes it what its rules send.

`iris doctor` and the API show the same.
"""

from collections.abc import Callable, Iterator, Sequence

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.errors import OutsideError
from gateway.config import Config, Destination
from gateway.forms import sent_to
from gateway.ledger.destinations import KnownDestination

from .asking import Asking, findings, wanted_forms
from .carriers.carrier import Carrier


def try_destination(
    config: Config, to: Destination, carrier: Carrier, known: Callable[[], KnownDestination]
) -> Iterator[Check]:
    """Look whether it answers, then what it takes of what its rules send.

    Parameters
    ----------
    known
        Asks it by negotiation, and says what is known of it then; raises Away.
    """
    name = f"destination {to.name}"
    try:
        yield Check(name, Verdict.OK, f"{carrier} {carrier.check()}")
        said = known()
    except OutsideError as error:
        finding, _, fix = str(error).partition("; ")
        yield Check(name, Verdict.FAILED, finding, fix)
        return
    found = findings(config, to, said)
    for each in found:
        finding, _, fix = each.sentence.partition("; ")
        yield Check(name, Verdict.WARNING if each.is_served else Verdict.FAILED, finding, fix)
    if said.asked_at and not found:
        outputs = ", ".join(sent_to(config, to))
        yield Check(name, Verdict.OK, f"{said.by} takes all that its rules send ({outputs})")


class Tries:
    """Tries a gateway's own destinations when a person asks; what they say is remembered.

    Parameters
    ----------
    carriers
        Each destination with what asks it.
    """

    def __init__(
        self, config: Config, carriers: Sequence[tuple[Destination, Carrier]], asking: Asking
    ) -> None:
        self._config = config
        self._carriers = {to.name: (to, carrier) for to, carrier in carriers}
        self._asking = asking
        self.addresses = {name: str(carrier) for name, (_, carrier) in self._carriers.items()}
        """Where each destination is, by its name."""

    def __call__(self, name: str) -> list[Check]:
        """Try one.

        Raises
        ------
        KeyError
            None of that name is configured.
        """
        to, carrier = self._carriers[name]

        def known() -> KnownDestination:
            self._asking.takes(name, wanted_forms(self._config, to))
            return self._asking.known(name)

        return list(try_destination(self._config, to, carrier, known))
