"""What goes out now, as the ledger knows before it does, and what is known of it afterwards."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from gateway.adapters.errors import Away, Unanswered
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow, Transaction
from gateway.ledger.under_way import begin, left_nothing

from .carriers.carrier import Carrier, CarriesSome, Receipt


class Transfers:
    """The transfers of one worker."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._first: set[str] = set()
        """What has never been under way before: what is said of its transfer is all there is to know."""

    def carry(self, carrier: Carrier, path: Path, key: str) -> Receipt:
        """Carry one object.

        Raises
        ------
        StaleRow, Away, OSError
        """
        self._begin([key])
        return carrier.carry(path)

    def carry_some(self, carrier: CarriesSome, keys: Mapping[Path, str]) -> dict[Path, Receipt]:
        """Carry objects that go together; what became of each that is known.

        Raises
        ------
        StaleRow, Away, OSError
        """
        self._begin([*keys.values()])
        try:
            receipts = dict(carrier.carry_some([*keys]))
        except BaseException as error:
            self.raised(keys.values(), error)
            raise
        self.have_no_answer(key for path, key in keys.items() if path not in receipts)
        return receipts

    def _begin(self, keys: Collection[str]) -> None:
        """Write down, durably, that these are under way.

        Raises
        ------
        StaleRow
            One of them is not to be sent any more.
        """
        with self._ledger.transaction() as transaction:
            self._first |= begin(transaction, keys)

    def raised(self, keys: Iterable[str], error: BaseException) -> None:
        """Know of these what an exception says: where nobody was there nothing of them is, else it may be."""
        if not isinstance(error, Away) or isinstance(error, Unanswered):
            self.have_no_answer(keys)

    def have_no_answer(self, keys: Iterable[str]) -> None:
        """Know of these that nothing is known: they may be there."""
        self._first.difference_update(keys)

    def still_waits(self, transaction: Transaction, key: str) -> bool:
        """Whether one that did not arrive is still to be sent; where nothing of it is there that is noted."""
        return key not in self._first or left_nothing(transaction, key)

    def none_arrived(self, transaction: Transaction, but: Collection[str]) -> None:
        """Note that nothing is there of what was begun, but for these, of which more is known."""
        for key in self._first.difference(but):
            with suppress(StaleRow):  # its study is gone
                left_nothing(transaction, key)

    def keep(self, keys: Collection[str]) -> None:
        """Forget all but these."""
        self._first.intersection_update(keys)
