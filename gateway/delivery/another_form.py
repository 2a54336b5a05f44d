"""What a destination does not take in one form it gets in the next, where there is one."""

from pathlib import Path

from gateway.adapters.dicom.implementation import form_name
from gateway.adapters.dicom.storing import stored_object
from gateway.config.outputs import Form
from gateway.ledger.destinations import KnownDestination, learn, refused_form
from gateway.ledger.other_forms import make_in_another_form
from gateway.ledger.records import DeliveryRow
from gateway.ledger.results import result_object
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import Transaction
from gateway.taken import PLAIN, PLAIN_SYNTAXES

from .asking import Asking

IS_MADE = "it is made in another form"


class AnotherForm:
    """Remembers refusals, and has objects made again.

    Parameters
    ----------
    asking
        Knows what each destination takes.
    """

    def __init__(self, ledger: Ledger, asking: Asking) -> None:
        self._ledger = ledger
        self._asking = asking

    def remember(self, destination: str, path: Path) -> Form:
        """Know that a destination does not take an object as it lies in a file, as which form.

        Raises
        ------
        OSError
        """
        stored = stored_object(path)
        syntax = stored.transfer_syntax_uid
        form = Form(stored.sop_class_uid, PLAIN if syntax in PLAIN_SYNTAXES else syntax)
        known = self._asking.known(destination)
        if form not in known.refused:
            refused = refused_form(form, form_name(*form), "allow it there")
            with self._ledger.transaction() as transaction:
                learn(transaction, destination, KnownDestination(known.address, forms=(refused,)))
        return form

    def is_made(self, transaction: Transaction, delivery: DeliveryRow, form: Form, sentence: str) -> bool:
        """Have it made in another form, if there is one."""
        made = result_object(self._ledger, delivery.sop_instance_uid)
        is_one = made is not None and self._asking.has_another_form(delivery.destination, made.output)
        reason = f"{IS_MADE}: {sentence.removesuffix('; then retry')}"
        return make_in_another_form(transaction, delivery.key, form, reason, is_one=is_one)
