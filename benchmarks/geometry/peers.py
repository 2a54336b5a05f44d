"""Measures the peers on every case and records it in peers.json; takes minutes."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import config, dcmread

from benchmarks.geometry.cases import CASES, Case
from benchmarks.geometry.landing import landing, truths
from benchmarks.geometry.table import RECORD, record
from benchmarks.geometry.ways import WAYS, by_totalsegmentator, niftis

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

NOT_COMPARED = "not compared: it marks at 3 mm, where noise and single pixels are gone"


def measure(totalsegmentator: Path | None, say: Callable[[str], None], only: str = "") -> None:
    """Record what each way makes of each case whose name holds `only`; of the others the record stays.

    `totalsegmentator` is the Python of an environment that has it.
    """
    outcomes = dict(record()["outcomes"]) if only else {}
    for case in CASES:
        if only in case.name:
            with TemporaryDirectory(prefix="iris-geometry-") as name:
                outcomes[case.name] = _case(case, Path(name), totalsegmentator)
            say(f"{case.name}: {outcomes[case.name]}")
    content = {
        "measured_on": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": _versions(totalsegmentator),
        "outcomes": {case.name: outcomes[case.name] for case in CASES},
    }
    RECORD.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _case(case: Case, folder: Path, totalsegmentator: Path | None) -> dict[str, dict[str, str]]:
    series = folder / "series"
    series.mkdir()
    case.write(series)
    truth = truths(series, case.engine, case.decoded)
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
    if not case.engine.bodies:
        found["totalsegmentator"] = {"": NOT_COMPARED}
    elif totalsegmentator is not None:
        encode_series = partial(by_totalsegmentator, totalsegmentator, series, case.engine)
        found["totalsegmentator"] = {"": tried(encode_series, "totalsegmentator")}
    return found


def _complete(series: Path) -> None:
    """Fill in what is missing, as one would by hand, so that it is geometry that is compared."""
    for path in series.iterdir():
        with config.disable_value_validation():
            dataset = dcmread(path)
            for keyword, value in STRIPPED.items():
                if keyword not in dataset:
                    setattr(dataset, keyword, value)
            dataset.save_as(path)


def _versions(totalsegmentator: Path | None) -> dict[str, str]:
    found = {name: metadata.version(name) for name in ("dcm2niix", "highdicom", "dcmqi")}
    if totalsegmentator is not None:
        script = "from importlib.metadata import version as v; print(v('TotalSegmentator'), v('dicom2nifti'))"
        answer = subprocess.run(
            [str(totalsegmentator), "-c", script], capture_output=True, check=True, text=True, timeout=60
        )
        found["TotalSegmentator"], found["dicom2nifti"] = answer.stdout.split()
    return found
