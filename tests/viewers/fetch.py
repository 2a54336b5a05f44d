"""Fetch the built viewer that the tests look into: `python tests/viewers/fetch.py FOLDER`.

npm says where packages come from; `ohif.txt` says which one, and its digest. Without npm nothing is fetched,
and the tests that need it are skipped.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

PINNED = Path(__file__).with_name("ohif.txt")
NOT_NEEDED = ("ort", "dicom-microscopy-viewer")
"""Three quarters of it: networks that run in the browser, and slides."""


def fetch(folder: Path) -> None:
    """Put the viewer's pages into `folder`, whose stamp `.installed` is written last."""
    package, digest = PINNED.read_text(encoding="utf-8").split()
    npm = shutil.which("npm")
    if npm is None:
        print(f"npm is missing (apt-get install npm): {package} is not fetched, its tests are skipped")
        return
    print(f"fetching {package} into {folder} ...")
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(
            [npm, "pack", "--silent", package], cwd=temporary, check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = Path(temporary).glob("*.tgz")
        if f"sha512-{base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()}" != digest:
            sys.exit(f"{package} has another digest than {PINNED.name} says; it is not used")
        shutil.rmtree(folder, ignore_errors=True)
        with tarfile.open(archive) as pages:
            pages.extractall(folder, [member for member in pages if _is_needed(member.name)], filter="data")
    (folder / ".installed").touch()


def _is_needed(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[:2] == ("package", "dist") and parts[2] not in NOT_NEEDED and not name.endswith(".map")


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
