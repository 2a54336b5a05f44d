"""Asks the demo's PACS what it holds, and fetches it back."""

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset

from gateway.adapters.dicom import retrieval
from gateway.adapters.dicom.peer import Peer

from .children import DemoError


def find(peer: Peer, calling_ae_title: str, level: str, **keys: str) -> list[Dataset]:
    """Everything at one level (STUDY, SERIES, IMAGE) that matches these keywords.

    Raises
    ------
    NotReached
        No association.
    DemoError
        The PACS does not answer the query with success.
    """
    try:
        return retrieval.find(peer, calling_ae_title, level, keys)
    except retrieval.NotAnswered as error:
        raise DemoError(str(error)) from None


def get(
    peer: Peer,
    calling_ae_title: str,
    folder: Path,
    *,
    sop_class_uids: Sequence[str],
    study_uid: str,
    series_uid: str,
) -> list[Path]:
    """Fetch one series by C-GET into a folder: one file for each object, in the order in which they came.

    Raises
    ------
    NotReached
        No association.
    DemoError
        The PACS does not answer with success, or sends nothing.
    """
    try:
        return retrieval.get(
            peer,
            calling_ae_title,
            folder,
            sop_class_uids=sop_class_uids,
            study_uid=study_uid,
            series_uid=series_uid,
        )
    except retrieval.NotAnswered as error:
        raise DemoError(str(error)) from None
