"""What each output costs on the study of the benchmarks: 117 structures on 300 slices, one process an output.

Run as `python -m benchmarks.outputs [NAME ...]`. Headers, labels and figures are read and measured before, as
the gateway has them from the job; what is counted is drawing, writing and fsync.
"""

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks.case_files import CaseFiles, make
from benchmarks.measuring import ROOT
from benchmarks.names import names_of_total
from converter.measures import Measurement
from converter.results.labelled import Labelled, Writer
from converter.results.settings import Algorithm, ResultSettings
from converter.seg.encoder import Encoding, segmentation_writer
from converter.series import Volume, read_series
from converter.terminology import Code
from converter.uids import derived_uid
from converter.voxels.geometry import labels_on_frames

WRITERS: Final = {
    "sr": "converter.report.document:WRITER",
    "rtstruct": "converter.contours.document:WRITER",
    "overlay": "converter.pictures.overlay:OVERLAY",
    "summary": "converter.pictures.summary:SUMMARY",
    "pdf": "converter.pictures.summary:PDF",
}
"""All but `seg`; the catalogue is the gateway's, which benchmarks only call as a command."""


@dataclass(frozen=True)
class Cost:
    """What one output took: seconds on the clock and of the processor, most memory, what was written."""

    seconds: float
    cpu_s: float
    peak_mb: float
    written_mb: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} | {self.cpu_s:.2f} | {self.peak_mb:.0f} | {self.written_mb:.1f}"


def measure(name: str, files: CaseFiles) -> Cost:
    """Make one output in this process."""
    writer, volume = _writer(name), read_series(files.series)
    labels = labels_on_frames(files.labels, volume)
    names = names_of_total()
    known = dict.fromkeys(names.values(), Measurement(123.456, 54.32, 10.98, "HU", is_truncated=False))
    labelled = Labelled(volume, labels, names, known=known)
    with tempfile.TemporaryDirectory(dir=files.folder) as folder:
        out = Path(folder) / "out"
        began, cpu_began = time.perf_counter(), _cpu_s()
        made = writer.write(labelled, _settings(volume), out)
        seconds, cpu_s = time.perf_counter() - began, _cpu_s() - cpu_began
        written = sum(each.path.stat().st_size for each in made)
    return Cost(seconds, cpu_s, _peak_mb(), written / 1e6)


def _writer(name: str) -> Writer:
    if name not in WRITERS:
        return segmentation_writer(Encoding())
    module, _, attribute = WRITERS[name].partition(":")
    writer: Writer = getattr(import_module(module), attribute)
    return writer


def _settings(volume: Volume) -> ResultSettings:
    return ResultSettings(
        sop_instance_uid=derived_uid("benchmark"),
        series_uid=derived_uid("benchmark", "series"),
        series_number=300,
        series_description="Benchmark",
        made_at=datetime(2024, 1, 2, tzinfo=UTC),
        task="total",
        algorithm=Algorithm("benchmark", "1", Code("123104", "DCM", "Morphological Operations")),
    )


def _cpu_s() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _peak_mb() -> float:
    """Of this process alone (proc(5)): `ru_maxrss` begins with what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def main(*names: str) -> None:
    """Print a table; with `one NAME` a line of it."""
    files = CaseFiles(ROOT / "build" / "bench" / "full")
    if names[:1] == ("one",):
        sys.stdout.write(f"| `{names[1]}` | {measure(names[1], files)} |\n")
        return
    if not files.read_facts():
        make(files, small=False)
    sys.stdout.write("| output | seconds | CPU s | peak MB | written MB |\n| --- | --- | --- | --- | --- |\n")
    sys.stdout.flush()
    for name in names or ("seg", *WRITERS):
        subprocess.run([sys.executable, "-m", "benchmarks.outputs", "one", name], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
