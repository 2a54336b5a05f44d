"""Slices as files and in the ledger, and the engine that they are planned for."""

from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from gateway.identity import EngineIdentity

ENGINE = EngineIdentity("threshold", "1.0.0", "", "dcm2niix 1.0")


def save_slice(header: Dataset, path: Path) -> None:
    """Write a header as a file, with pixel data of no length."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.PixelData, header["PixelData"].VR = b"", "OW"
    header.save_as(path, enforce_file_format=True)


def store_slice(book: Any, header: Dataset, path: Path, **changes: Any) -> None:
    """Write a file, below the data directory, into the ledger that `book` keeps."""
    kept = book.data_dir / path
    book.store(
        str(header.SOPInstanceUID),
        path=str(path),
        size_bytes=kept.stat().st_size if kept.is_file() else 1,
        series_uid=str(header.SeriesInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        series_number=int(header.SeriesNumber),
        modality=str(header.Modality),
        pixel_sha256=f"pixels of {header.SOPInstanceUID}",
        geometry_sha256=f"geometry of {header.SOPInstanceUID}",
        **changes,
    )
