"""Carries objects by C-STORE (PS3.4 B)."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydicom import dcmread

from gateway.adapters.dicom.contents import PacsContents
from gateway.adapters.dicom.peer import Calls, NothingAccepted, NotReached, Peer, echo
from gateway.adapters.dicom.retrieval import UNREADABLE, NotAnswered, asking, find
from gateway.adapters.errors import Away, CalledOff, Retriable
from gateway.adapters.holdings import Holdings
from gateway.backends.pacs import tls_of_calls
from gateway.config import Destination
from gateway.config.outputs import Form
from gateway.delivery.holdings import Looking
from gateway.delivery.sending import NotSendable, NotTaken, send_files, taken_forms
from gateway.delivery.statuses import meaning
from gateway.delivery.whose import LIMIT_S, MOST_ANSWERS, Whose, by_find
from gateway.taken import Taken, and_uncompressed

from .carrier import NotAskable, Outcome, Receipt, receipt_of


class DicomCarrier:
    """Calls a PACS.

    Parameters
    ----------
    calling_ae_title
        This gateway's own AE title.
    """

    def __init__(self, destination: Destination, calling_ae_title: str) -> None:
        assert destination.ae_title
        assert destination.host
        assert destination.port
        self._peer = Peer(
            destination.ae_title, destination.host, destination.port, tls_of_calls(destination.tls)
        )
        self._name = destination.name
        self._calling_ae_title = calling_ae_title
        self._calls = Calls()
        self._contents = PacsContents(self._peer, calling_ae_title)

    def __str__(self) -> str:
        return f"{self._peer}, TLS" if self._peer.tls is not None else str(self._peer)

    def carry(self, path: Path) -> Receipt:
        """Send it on an association of its own: what the peer makes of it disturbs no other."""
        try:
            sent = send_files([path], self._peer, self._calling_ae_title, calls=self._calls)
        except NotReached as error:
            raise Away(str(error)) from None
        except NotTaken as error:
            return Receipt(Outcome.NOT_TAKEN, self._refusal(error))
        except NotSendable as error:
            return Receipt(Outcome.REFUSED, str(error))
        return self._receipt(path, sent[0].status)

    def takes(self, forms: Collection[Form]) -> Taken:
        """What it accepts when an association is negotiated (PS3.8 7.1.1): nothing is sent."""
        try:
            return taken_forms(forms, self._peer, self._calling_ae_title, calls=self._calls)
        except NotReached as error:
            if self._calls.is_over:
                raise CalledOff(str(error)) from None
            raise Away(str(error)) from None

    @property
    def holdings(self) -> Holdings:
        """Looks there for earlier results."""
        return Looking(self._peer, self._calling_ae_title, self._calls)

    def whose(self, study_uid: str, *, with_images: bool = True) -> Sequence[Whose]:
        """Ask by C-FIND (PS3.4 C.4.1)."""
        calling, calls = self._calling_ae_title, self._calls
        try:
            with asking(self._peer, calling, at_most=MOST_ANSWERS, limit_s=LIMIT_S, calls=calls) as ask:
                return by_find(ask, study_uid, with_images=with_images)
        except NothingAccepted:
            raise NotAskable(f"{self._peer} takes no C-FIND from this gateway") from None
        except NotReached as error:
            raise (CalledOff if self._calls.is_over else Away)(str(error)) from None
        except NotAnswered as error:
            raise Retriable(str(error)) from None
        except UNREADABLE as error:
            kind = type(error).__name__
            raise Retriable(f"{self._peer} gave an answer that cannot be read ({kind})") from None

    def missing(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Ask by C-FIND (PS3.4 C.4.1)."""
        return self._contents.missing(study_uid, wanted)

    def check(self) -> str:
        """C-ECHO."""
        try:
            echo(self._peer, self._calling_ae_title)
        except NotReached as error:
            raise Away(str(error)) from None
        return "answers C-ECHO"

    def interrupt(self) -> None:
        """Abort what is open."""
        self._calls.end()
        self._contents.interrupt()

    def _refusal(self, refused: NotTaken) -> str:
        """Asked once more, it says more of itself, and whether it is the SOP class or the transfer syntax."""
        try:
            taken = self.takes(and_uncompressed([refused.form]))
        except Away:
            return f"{refused}; then retry"
        return f"{taken.refusal(refused.form).by(self._peer)}; then retry"

    def _receipt(self, path: Path, status: int | None) -> Receipt:
        if status is None:
            return Receipt(Outcome.UNKNOWN, f"{meaning(status)}; tried again later")
        return receipt_of(self._name, status, lambda: self._is_there(path), "C-FIND")

    def _is_there(self, path: Path) -> bool | None:
        """Whether C-FIND shows an object there (PS3.4 C.4.1); None where it cannot be asked."""
        keys = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        header = dcmread(path, specific_tags=keys)
        wanted = {keyword: str(header[keyword].value) for keyword in keys}
        try:
            found = find(self._peer, self._calling_ae_title, "IMAGE", wanted, calls=self._calls)
        except (NotReached, NotAnswered):
            return None
        return any(one.get("SOPInstanceUID") == wanted["SOPInstanceUID"] for one in found)
