"""NIfTI files for tests, and a gateway's uploads over a ledger."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gateway.config import Config
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.store import Ledger
from gateway.uploads import NiftiUploads

AFFINE = np.array([[-0.9, 0.1, 0, 80], [0.1, 0.9, 0, -70], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])
ENGINE = EngineIdentity("threshold", "1", "", "none 0")
PATIENT = b"Doe^John"


def voxels(*shape: int, dtype: Any = np.int16) -> np.ndarray:
    """Numbers that differ from voxel to voxel."""
    shape = shape or (7, 6, 5)
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(dtype) - 10


def image(values: np.ndarray | None = None, affine: np.ndarray | None = AFFINE, kind: Any = None) -> Any:
    """A NIfTI-1 image whose header holds a patient's name wherever there is room for it."""
    nifti = (kind or nib.Nifti1Image)(voxels() if values is None else values, affine)
    nifti.header["descrip"] = nifti.header["aux_file"] = nifti.header["intent_name"] = PATIENT
    if "db_name" in nifti.header:
        nifti.header["db_name"] = PATIENT
    nifti.header["cal_max"] = 1981
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension("comment", PATIENT))
    return nifti


def content(nifti: Any = None, *, gzipped: bool = True) -> bytes:
    """The file's bytes."""
    plain = bytes((nifti or image()).to_bytes())
    return gzip.compress(plain) if gzipped else plain


def uploads_of(
    ledger: Ledger, folder: Path, *, max_upload_mb: int = 64, low_water_mb: int = 0
) -> NiftiUploads:
    """What takes uploads into this ledger, in whose folder the files lie."""
    config = Config(
        site={"data_dir": folder, "low_water_mb": low_water_mb}, api={"max_upload_mb": max_upload_mb}
    )
    uploads = NiftiUploads(config, ledger, SiteSecret(config.secret_path), ENGINE)
    uploads.begin()
    return uploads
