"""Measures the peers on every case and records it in peers.json; takes minutes."""

import json
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import config, dcmread

from benchmarks.beside_boa.preparing import COMMIT
from benchmarks.geometry.cases import CASES, Case
from benchmarks.geometry.landing import landing, truths
from benchmarks.geometry.table import RECORD, record
from benchmarks.geometry.ways import OWN_WAYS, WAYS, niftis

STRIPPED = {
    "PatientName": "",
    "PatientID": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyID": "",
    "StudyDate": "",
    "StudyTime": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "SliceThickness": "",
    "FrameOfReferenceUID": "2.25.90",
    "PositionReferenceIndicator": "",
}
"""What the public files lost with de-identification, and without which no peer writes anything."""

NOT_COMPARED = "not compared: it marks on a coarser grid, where noise and single pixels are gone"
COARSE = ("totalsegmentator", "moose")

PACKAGES = {
    "totalsegmentator": ("TotalSegmentator", "dicom2nifti"),
    "moose": ("moosez",),
    "boa": ("pydicom-seg", "pydicom"),
}
"""Whose versions are recorded of a peer's environment."""


def measure(pythons: Mapping[str, Path], say: Callable[[str], None], only: str = "") -> None:
    """Record what each way makes of each case whose name holds `only`; of the others the record stays.

    `pythons` has the Python of an environment with it for each of `OWN_WAYS`; of one that it lacks the
    record stays, too.
    """
    recorded = record()
    outcomes = dict(recorded["outcomes"])
    for case in CASES:
        if only in case.name:
            with TemporaryDirectory(prefix="iris-geometry-") as name:
                found = _case(case, Path(name), pythons)
            outcomes[case.name] = outcomes.get(case.name, {}) | found
            say(f"{case.name}: {found}")
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    content = {
        "measured_from": recorded["measured_from"] if only or len(pythons) < len(OWN_WAYS) else today,
        "measured_to": today,
        "versions": recorded["versions"] | _versions(pythons),
        "outcomes": {case.name: outcomes[case.name] for case in CASES if case.name in outcomes},
    }
    RECORD.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _case(case: Case, folder: Path, pythons: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    series = folder / "series"
    series.mkdir()
    case.write(series)
    truth = truths(series, case.engine, case.decoded, case.where)
    _complete(series)

    def tried(encode: Callable[[Path], None], name: str) -> str:
        out = folder / f"{name}.dcm"
        try:
            encode(out)
        except subprocess.TimeoutExpired:  # says something of this machine, nothing of the peer
            raise
        except Exception as error:  # whatever a peer raises is its outcome
            return f"no result: {type(error).__name__}: {error}"[:160].replace(str(folder), "...")
        return landing(out, truth).in_words(case.engine)

    images = niftis(series, folder / "niftis")
    found: dict[str, dict[str, str]] = {}
    for way, encode in WAYS.items():
        found[way] = {} if images else {"": "no result: dcm2niix wrote no image"}
        for image in images:
            name = image.name.removesuffix(".nii.gz").removeprefix("image") or "plain"
            encode_image = partial(encode, series, image, case.engine)
            found[way][name] = tried(encode_image, f"{way}{name}")
    for way, python in pythons.items():
        if way in COARSE and not case.engine.bodies:
            found[way] = {"": NOT_COMPARED}
        else:
            found[way] = {"": tried(partial(OWN_WAYS[way], python, series, case.engine), way)}
    return found


def _complete(series: Path) -> None:
    """Fill in what is missing, as one would by hand, so that it is geometry that is compared."""
    for path in series.iterdir():
        with config.disable_value_validation():
            dataset = dcmread(path)
            missing = {keyword: value for keyword, value in STRIPPED.items() if keyword not in dataset}
            for keyword, value in missing.items():
                setattr(dataset, keyword, value)
            if missing:
                dataset.save_as(path)


def _versions(pythons: Mapping[str, Path]) -> dict[str, str]:
    found = {name: metadata.version(name) for name in ("dcm2niix", "highdicom", "dcmqi")}
    for way, python in pythons.items():
        for name in PACKAGES[way]:
            script = f"from importlib.metadata import version; print(version({name!r}))"
            answer = subprocess.run(
                [str(python), "-c", script], capture_output=True, check=True, text=True, timeout=60
            )
            found[name] = answer.stdout.strip()
    if "boa" in pythons:
        found["BOA"] = f"of commit {COMMIT[:7]}"
    return found
