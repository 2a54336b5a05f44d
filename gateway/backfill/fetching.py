"""Fetches what is missing of a study: by C-GET through this process, or by C-MOVE where a PACS has no C-GET.

What C-GET brings goes to the running gateway in one request, when all of it is here: a study comes whole, or
is fetched anew. What C-MOVE brings goes from the PACS to the gateway's DICOM port.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from gateway.adapters.dicom.peer import Peer
from gateway.adapters.dicom.retrieval import IMAGE_SYNTAXES, NotAnswered, NotOffered, get, move

from .handing import GatewayDoor
from .missing import Inquiry, MissingSeries, MissingStudy

COMMON: Final = (
    CTImageStorage,
    MRImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SegmentationStorage,
)
"""What a series may be of, where the PACS does not say; with `IMAGE_SYNTAXES` it fills an association."""


@dataclass
class Fetching:
    """Fetches from one PACS into one gateway.

    Parameters
    ----------
    own_ae_title
        This gateway's: it asks so, and the PACS sends to it.
    folder
        Holds one study at a time on its way.
    say
        Told in a sentence what a person should know.
    """

    peer: Peer
    own_ae_title: str
    inquiry: Inquiry
    door: GatewayDoor
    folder: Path
    say: Callable[[str], object]
    _moves: bool = field(default=False, init=False)

    def fetch(self, study: MissingStudy) -> None:
        """Fetch what is missing of one study, until the ledger has all of it.

        Raises
        ------
        NotReached, Away
            The PACS or the gateway is not there.
        NotAnswered, Permanent
            One of them does not do it, or not all of it.
        """
        self.door.require_open()
        study_uid = study.study_uid
        series = self.inquiry.series_of(study_uid)  # it may have come since it was missed
        if not series:
            return
        if self._moves:
            self._by_move(study_uid, series)
        else:
            try:
                self._by_get(study_uid, series)
            except NotOffered as error:
                self._by_move_instead(study_uid, series, error)
        if left := self.inquiry.series_of(study_uid):
            number = sum(one.missing for one in left)
            raise NotAnswered(
                f"{number} images of a study have not come, or were not taken; look at the page, and"
                " into the logs of both sides"
            )

    def _by_get(self, study_uid: str, series: Sequence[MissingSeries]) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            files = [path for one in series for path in self._get(study_uid, one)]
            self.door.hand_over(files)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _by_move_instead(self, study_uid: str, series: Sequence[MissingSeries], refusal: NotOffered) -> None:
        try:
            self._by_move(study_uid, series)
        except NotAnswered as error:
            raise NotAnswered(f"{refusal}; {error}", error.status) from None
        self.say(f"{refusal}; it sends by C-MOVE")
        self._moves = True

    def _by_move(self, study_uid: str, series: Sequence[MissingSeries]) -> None:
        us = self.own_ae_title
        for one in series:
            move(self.peer, us, us, study_uid=study_uid, series_uid=one.series_uid)

    def _get(self, study_uid: str, series: MissingSeries) -> list[Path]:
        """One series in files."""
        classes = self.inquiry.sop_class_uids(study_uid, series.series_uid)
        files = get(
            self.peer,
            self.own_ae_title,
            self.folder,
            sop_class_uids=classes[: len(COMMON)] or COMMON,
            study_uid=study_uid,
            series_uid=series.series_uid,
            syntaxes=IMAGE_SYNTAXES,
        )
        if len(files) < series.images:
            raise NotAnswered(f"{self.peer} sent {len(files)} of {series.images} images of a series by C-GET")
        return files
