"""Gets BOA's files and installs what its images install, as far as the engine is not concerned."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

COMMIT: Final = "8b5e15d9cb913563ea94fd7fa3288a3f7e893f40"
"""Of UMEssen/Body-and-Organ-Analysis, 2026-06-30: version 1.0.1."""
_PARTS: Final = ("scripts", "body_organ_analysis", "uv.lock", "advanced.config", "orthanc.json")
_OF_WORKER: Final = (
    "amqp",
    "billiard",
    "celery",
    "dicomweb-client",
    "jsonschema",
    "kombu",
    "nibabel",
    "numpy",
    "pandas",
    "psycopg2-binary",
    "pydicom",
    "pydicom-seg",
    "python-dotenv",
    "requests",
    "scipy",
    "simpleitk",
    "smbprotocol",
    "unidecode",
    "vine",
    "xlsxwriter",
)
"""Without torch, TotalSegmentator and what draws reports: `worker/sitecustomize.py` stands for them."""
_ORTHANCS_PYTHON: Final = "3.11"
"""With which Debian 12 builds Orthanc's plugin."""


def prepare(source: str, folder: Path, python: Path) -> None:
    """Fill a folder with a checkout, an environment for the worker and a folder of packages for Orthanc.

    Parameters
    ----------
    source
        Anything that git clones: an address, or a repository on this machine.
    python
        A Python 3.12, as in BOA's images.

    Raises
    ------
    subprocess.CalledProcessError
    """
    checkout = folder / "checkout"
    _run("git", "clone", "--quiet", "--no-checkout", source, str(checkout))
    _run("git", "-C", str(checkout), "checkout", "--quiet", COMMIT, "--", *_PARTS)
    worker = folder / "worker"
    _run(str(python), "-m", "venv", str(worker))
    pip = str(worker / "bin" / "pip"), "install", "--quiet"
    _run(*pip, *_locked(checkout))
    for_orthanc = "--python-version", _ORTHANCS_PYTHON, "--only-binary", ":all:", "--target"
    _run(*pip, *for_orthanc, str(folder / "for-orthanc"), *_of_orthanc(checkout))


def _locked(checkout: Path) -> list[str]:
    """In the versions of its lock."""
    lock = tomllib.loads((checkout / "uv.lock").read_text(encoding="utf-8"))
    versions = {package["name"]: package["version"] for package in lock["package"] if "version" in package}
    return [f"{name}=={versions[name]}" for name in _OF_WORKER]


def _of_orthanc(checkout: Path) -> list[str]:
    """What its image of Orthanc installs."""
    return re.findall(r"[\w-]+==[\d.]+", (checkout / "scripts" / "orthanc.dockerfile").read_text("utf-8"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
