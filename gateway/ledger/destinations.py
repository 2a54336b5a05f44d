"""What each destination takes, as it last said: remembered over restarts, and while it cannot be asked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.config.outputs import Form

from .facts import Fact, fact, set_fact
from .records import utc_now, utc_time
from .store import Ledger
from .transaction import Transaction

REFUSALS_HOLD: Final = timedelta(hours=25)
"""So long a refusal is believed, which is asked for again each day: it may be settled there meanwhile."""
_FRESH: Final = timedelta(hours=1)
"""What is known for less than this need not be written down again."""


@dataclass(frozen=True)
class KnownForm:
    """A form that a destination takes, or does not.

    Parameters
    ----------
    what
        SOP class and transfer syntax by name and UID, as far as it is about them.
    way_out
        What makes it take that; empty where it does.
    """

    sop_class_uid: str
    transfer_syntax_uid: str
    is_taken: bool
    what: str
    way_out: str
    said_at: str

    @property
    def form(self) -> Form:
        """What it is about."""
        return Form(self.sop_class_uid, self.transfer_syntax_uid)

    @property
    def is_refused(self) -> bool:
        """Whether it is not taken, and that is not too long ago to be believed."""
        return not self.is_taken and _age(self.said_at) < REFUSALS_HOLD


@dataclass(frozen=True)
class KnownDestination:
    """All that is remembered of a destination.

    Parameters
    ----------
    address
        Where that was: at another address there may be another PACS.
    product, by
        What it most likely is, and what it said that it is; empty where nobody could be asked.
    asked_at
        When it last answered; empty: never.
    """

    address: str = ""
    product: str = ""
    by: str = ""
    asked_at: str = ""
    forms: tuple[KnownForm, ...] = ()

    @property
    def by_form(self) -> Mapping[Form, KnownForm]:
        """What is known of each form."""
        return {each.form: each for each in self.forms}

    @property
    def refused(self) -> frozenset[Form]:
        """The forms that it does not take."""
        return frozenset(each.form for each in self.forms if each.is_refused)

    def says(self, now: "KnownDestination") -> bool:
        """Whether what is said now is known already, and since not long ago."""
        if self.by != now.by or not self.asked_at or _age(self.asked_at) >= _FRESH:
            return False
        known = {form: (each.is_taken, each.what) for form, each in self.by_form.items()}
        return all(known.get(each.form) == (each.is_taken, each.what) for each in now.forms)


def known_destinations(ledger: Ledger) -> dict[str, KnownDestination]:
    """What is remembered, by the name of the destination."""
    return _read(fact(ledger, Fact.DESTINATIONS))


def learn(transaction: Transaction, name: str, now: KnownDestination) -> None:
    """Remember what a destination said now, with what it said before of other forms.

    Where it did not say who it is, that stays as it was known.
    """
    row = transaction.one("SELECT value FROM facts WHERE name = ?", (Fact.DESTINATIONS,))
    known = _read(row["value"] if row is not None else None)
    before = known.get(name)
    if before is not None and before.address == now.address:
        now = replace(
            now if now.asked_at else replace(before, forms=now.forms),
            forms=tuple({**before.by_form, **now.by_form}.values()),
        )
    known[name] = now
    content = {each: asdict(destination) for each, destination in known.items()}
    set_fact(transaction, Fact.DESTINATIONS, json.dumps(content, sort_keys=True))


def refused_form(form: Form, what: str, way_out: str) -> KnownForm:
    """A form that was refused just now."""
    return KnownForm(form.sop_class_uid, form.transfer_syntax_uid, False, what, way_out, utc_now())


def _age(said_at: str) -> timedelta:
    return datetime.now(UTC) - utc_time(said_at)


def _read(value: str | None) -> dict[str, KnownDestination]:
    content: Mapping[str, Mapping[str, Any]] = json.loads(value) if value else {}
    forms = {name: tuple(KnownForm(**each) for each in said["forms"]) for name, said in content.items()}
    return {name: KnownDestination(**{**said, "forms": forms[name]}) for name, said in content.items()}
