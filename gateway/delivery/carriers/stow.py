"""Stores objects at a DICOMweb service, by STOW-RS (PS3.18 10.5), several by one request."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.adapters.contents import NoAnswer, NotTold
from gateway.adapters.credentials import Credentials
from gateway.adapters.dicomweb import NOBODYS_STUDY, WebAnswer, WebPeer
from gateway.adapters.errors import Away, Retriable, Unanswered
from gateway.backends.pacs import tls_of_calls
from gateway.config import Destination
from gateway.config.outputs import Form
from gateway.delivery.searched import found_by_search
from gateway.delivery.whose import KEYWORDS, MOST_ANSWERS, Whose, by_search
from gateway.taken import Taken

from .carrier import KNOWN_TO_FEW, NotAskable, Outcome, Receipt, receipt_of

REQUEST_BYTES: Final = 64 << 20
"""Objects go together up to this; a longer one goes alone."""
_TAKES: Final = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})
"""Without being asked each service has to know the former (PS3.18 8.7.3), in which the latter is sent."""
_NOT_SEARCHED: Final = (404, 405, 501)
"""Of a service, or an address, without a search."""
_NOT_OFFERED: Final = (400, 404, 405, 415, 501)
"""Of a service that removes nothing, or does not know what it is asked to remove."""
_REJECT: Final = "/reject/113001%5EDCM"
"""What dcm4chee-arc has for it: RejectInstance."""
_SIGN_IN: Final = (
    "does not let us in; renew what token_file, or password_file, has in it, and allow us to store"
)
_NO_SERVICE: Final = "is no address where objects are stored; correct stow, without /studies at its end"
_BUSY: Final = "takes nothing now; it is tried again"
_AWAY: Final = {
    401: _SIGN_IN,
    403: _SIGN_IN,
    407: _SIGN_IN,
    **dict.fromkeys((404, 405, 410, 501), _NO_SERVICE),
    **dict.fromkeys((408, 425, 429, 502, 503, 504), _BUSY),
    507: "has no room; make some there",
}
"""What would be the same with any other object now."""
_LOST: Final = frozenset({502, 504})
"""Of these only who stands before it has spoken: the service may have the objects."""
_REFUSED: Final = {
    413: "the object is longer than it takes; raise the limit there, or in the proxy before it",
}
_UNSUPPORTED_MEDIA_TYPE: Final = 415
_NOT_TAKEN: Final = (
    "it does not take the transfer syntax; allow it there, or set seg.transfer_syntax or"
    " overlay.transfer_syntax"
)


class StowCarrier:
    """Calls one service."""

    def __init__(self, destination: Destination) -> None:
        credentials = Credentials(destination.token_file, destination.user, destination.password_file)
        tls = tls_of_calls(destination.tls, checks_name=True)
        self._peer = WebPeer(destination.stow, credentials, tls)
        self._searched_peer = WebPeer(destination.stow, credentials, tls)  # beside what is stored meanwhile
        self._name = destination.name
        self._stays_away_until = 0.0
        self._why = ""
        self._room_bytes = REQUEST_BYTES

    def __str__(self) -> str:
        return f"STOW-RS at {self._peer.address}"

    def carry(self, path: Path) -> Receipt:
        """Store it by a request of its own."""
        try:
            return self._carry([path])[path]
        except _NoDicom:
            return Receipt(Outcome.REFUSED, f"{path.name} is no DICOM file; cancel the job, then retry it")
        except Away:
            raise
        except Retriable as error:
            return Receipt(Outcome.UNKNOWN, str(error))

    def room_for(self, paths: Iterable[Path]) -> Sequence[Path]:
        """The first of these files, as many as go by one request."""
        together, left_bytes = [], self._room_bytes
        for path in paths:
            left_bytes -= path.stat().st_size
            if left_bytes < 0:
                break
            together.append(path)
        return together

    def carry_some(self, paths: Sequence[Path]) -> Mapping[Path, Receipt]:
        """Store these files by one request; what it answered of each.

        Where it answers nothing of them each goes alone, and others in smaller requests from then on.
        """
        try:
            receipts = self._carry(paths)
        except Away:
            raise
        except (Retriable, _NoDicom):
            receipts = {}
        if not receipts:
            self._room_bytes //= 2
        return receipts

    def takes(self, forms: Collection[Form]) -> Taken:
        """What every service knows: none can be asked."""
        return Taken(
            frozenset(
                form
                for form in forms
                if form.sop_class_uid not in KNOWN_TO_FEW and form.transfer_syntax_uid in _TAKES
            )
        )

    @property
    def holdings(self) -> None:
        """Earlier results are looked for by C-FIND only."""
        return None

    def whose(self, study_uid: str, *, with_images: bool = True) -> Sequence[Whose]:
        """Ask by a search for studies (PS3.18 10.6)."""
        wanted = {"includefield": ",".join(KEYWORDS), "limit": str(MOST_ANSWERS)}
        answer = self._peer.search("/studies", StudyInstanceUID=study_uid, **wanted)
        if answer.status in (200, 204):
            return by_search(answer.content, study_uid, with_images=with_images)
        if answer.status in _NOT_SEARCHED:
            raise NotAskable(f"{self} answered {answer.status}: it cannot be searched")
        raise Retriable(f"{self} answered a search with {answer.status}; see its log")

    def missing(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Ask by a search for series, and where one has fewer instances than were stored for those (10.6)."""
        held = self._searched(f"/studies/{study_uid}/series", "SeriesInstanceUID", study_uid)
        missing = set[str]()
        for series_uid, uids in wanted.items():
            if series_uid not in held:
                missing.update(uids)
            elif len(uids) > (held[series_uid] or 1):
                there = self._searched(
                    f"/studies/{study_uid}/series/{series_uid}/instances", "SOPInstanceUID", study_uid
                )
                missing.update(set(uids) - there.keys())
        return frozenset(missing)

    def check(self) -> str:
        """Search for a study that nobody has; where it cannot be searched, whether POST is allowed."""
        answer = self._peer.search("/studies", StudyInstanceUID=NOBODYS_STUDY)
        if answer.status in (200, 204):
            return "answers a search"
        if answer.status in _NOT_SEARCHED and "POST" in self._peer.options().methods:
            return "takes objects, and cannot be searched"
        raise self._away(answer)

    def remove(self, path: Path) -> Receipt:
        """Delete it at its own address, as some services allow, or reject it there by dcm4chee's own call."""
        uids = _uids(path)
        address = "/studies/{}/series/{}/instances/{}".format(*uids)
        for answer in map(self._peer.change, ("DELETE", "POST"), (address, f"{address}{_REJECT}")):
            if 200 <= answer.status < 300:
                return Receipt(Outcome.ARRIVED, f"{self._name} removed it")
            if answer.status not in _NOT_OFFERED:
                raise self._away(answer)
            if self._is_there(uids) is False:
                return Receipt(Outcome.ARRIVED, f"{self._name} does not have it")
        return Receipt(Outcome.REFUSED, f"{self._name} removes nothing by DICOMweb")

    def interrupt(self) -> None:
        """Cut what is open."""
        self._peer.end()
        self._searched_peer.end()

    def _searched(self, path: str, keyword: str, study_uid: str) -> Mapping[str, int | None]:
        """What a search below a study finds, by its UID; of a series with the number of its instances.

        Raises
        ------
        NotAskable
        NotTold
            It answers about something else, or with more than is asked for.
        Away
        """
        wanted = {"includefield": "NumberOfSeriesRelatedInstances", "limit": str(MOST_ANSWERS)}
        answer = self._searched_peer.search(path, **wanted)
        if answer.status == 404 and self._is_without(study_uid):
            return {}
        if answer.status in _NOT_SEARCHED:
            raise NotAskable(f"{self} answered {answer.status}: it cannot be searched")
        if answer.status not in (200, 204):
            raise self._away(answer)
        found = found_by_search(answer, keyword, study_uid)
        if found is None or len(found) >= MOST_ANSWERS:
            raise NotTold(NoAnswer.NONSENSE, f"{self} gave an answer about something else to a search")
        return found

    def _is_without(self, study_uid: str) -> bool:
        """Whether it can be searched for studies, and does not have this one."""
        answer = self._searched_peer.search("/studies", StudyInstanceUID=study_uid)
        return answer.status == 204 or (answer.status == 200 and answer.content == [])

    def _carry(self, paths: Sequence[Path]) -> dict[Path, Receipt]:
        if time.monotonic() < self._stays_away_until:
            raise Away(self._why)
        uids = {path: _uids(path) for path in paths}
        answer = self._peer.store(paths)
        if answer.status in _LOST:
            raise Unanswered(str(self._away(answer)))
        if answer.status in _AWAY or 300 <= answer.status < 400:
            raise self._away(answer)
        try:
            return self._understood(answer, uids)
        except Away as error:  # in a search, when the objects had gone out
            raise Unanswered(str(error)) from None

    def _understood(
        self, answer: WebAnswer, uids: Mapping[Path, tuple[str, str, str]]
    ) -> dict[Path, Receipt]:
        # With 200, 202, 409 (PS3.18 10.5.3); Orthanc 1.10 has 400 where one is damaged.
        said = answer.statuses()
        receipts = {path: self._receipt(said[uid[-1]], uid) for path, uid in uids.items() if uid[-1] in said}
        if len(uids) == 1 and not receipts:
            return {path: self._unspoken(answer, uid) for path, uid in uids.items()}
        return receipts

    def _receipt(self, status: int, uids: tuple[str, str, str]) -> Receipt:
        return receipt_of(self._name, status, lambda: self._is_there(uids), "a search")

    def _unspoken(self, answer: WebAnswer, uids: tuple[str, str, str]) -> Receipt:
        """Where it says nothing of the object itself."""
        said = f"{self._name} answered {answer.status}"
        if 200 <= answer.status < 300:  # a proxy's page does, too
            if self._is_there(uids):
                return Receipt(Outcome.ARRIVED, f"{said}, and a search shows it")
            sentence = f"{said}, without a word of the object, and a search does not show it; look at stow"
            return Receipt(Outcome.UNKNOWN, sentence)
        if answer.status >= 500:
            return Receipt(Outcome.UNKNOWN, f"{said}: it failed to store the object; see its log")
        if answer.status == _UNSUPPORTED_MEDIA_TYPE:
            return Receipt(Outcome.NOT_TAKEN, f"{said}: {_NOT_TAKEN}, then retry")
        why = _REFUSED.get(answer.status, "it refuses the object and does not say why; see its log")
        return Receipt(Outcome.REFUSED, f"{said}: {why}, then retry")

    def _is_there(self, uids: tuple[str, str, str]) -> bool | None:
        """Whether a search shows an object there (PS3.18 10.6); None where it cannot be searched."""
        study, series, uid = uids
        found = self._peer.search(f"/studies/{study}/series/{series}/instances", SOPInstanceUID=uid)
        return uid in found.instances() if found.status in (200, 204) else None

    def _away(self, answer: WebAnswer) -> Away:
        """Nobody is there for any object; for as long as it asks for it is not asked again."""
        if 300 <= answer.status < 400:
            sentence = "sends us elsewhere; enter that address as stow"
        else:
            sentence = _AWAY.get(answer.status, "cannot be searched; see its log")
        if answer.wait_s:
            sentence += f" (it asks us to wait {answer.wait_s:.0f} s)"
        self._why = f"{self} answered {answer.status}: it {sentence}"
        self._stays_away_until = time.monotonic() + answer.wait_s
        return Away(self._why)


class _NoDicom(Exception):
    """A file has no DICOM object in it."""


def _uids(path: Path) -> tuple[str, str, str]:
    wanted = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        return str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
    except (InvalidDicomError, AttributeError):
        raise _NoDicom from None
