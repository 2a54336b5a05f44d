"""What TotalSegmentator and nnU-Net find around them while they work: folders, licence, threads, no network.

TotalSegmentator keeps `config.json` (licence, a counter that it writes at each run, whether usage statistics
are sent to its maker: they are, unless the file says no) in `TOTALSEG_HOME_DIR`, else `~/.totalsegmentator`,
and its weights in `TOTALSEG_WEIGHTS_PATH`, else `nnunet/results` in the former. Here each run gets a home
folder of its own in its scratch, with the licence of the usual one and without statistics: so runs side by
side write no common file, and the usual folder may be read-only.
"""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from batch_job.errors import NotSetUp

HOME_VARIABLE: Final = "TOTALSEG_HOME_DIR"
WEIGHTS_VARIABLE: Final = "TOTALSEG_WEIGHTS_PATH"
LICENCE_VARIABLE: Final = "IRIS_TOTALSEG_LICENSE"
"""Environment: a licence number, where no `config.json` holds one (a container gets it as a secret)."""
CONFIG_NAME: Final = "config.json"
LICENCE_LENGTH: Final = 18
"""What `totalsegmentator.config` asks of a number when it checks one without the network."""


def usual_home() -> Path:
    """Where TotalSegmentator would keep its configuration."""
    if HOME_VARIABLE in os.environ:
        return Path(os.environ[HOME_VARIABLE])
    home = Path.home()
    return (Path("/tmp") if str(home) == "/" else home) / ".totalsegmentator"  # nosec B108: as upstream does


def weights_folder() -> Path:
    """Where the weights lie."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named) if named else usual_home() / "nnunet" / "results"


def licence() -> str:
    """The licence number, from the variable or TotalSegmentator's configuration; empty: there is none."""
    named = os.environ.get(LICENCE_VARIABLE, "").strip()
    if named:
        return named
    try:
        found = json.loads((usual_home() / CONFIG_NAME).read_bytes()).get("license_number", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return str(found)


def check_licence(task: str) -> None:
    """Raise NotSetUp where there is no licence for a task that needs one."""
    number = licence()
    if len(number) == LICENCE_LENGTH:
        return
    what = "is of another form than TotalSegmentator's" if number else "is missing"
    raise NotSetUp(
        f"the task {task} needs a licence of TotalSegmentator, which {what}; get one (free for "
        "non-commercial use) at https://backend.totalsegmentator.com/license-academic/ and set it with "
        f"totalseg_set_license -l NUMBER, or in the variable {LICENCE_VARIABLE}"
    )


@contextmanager
def surroundings(scratch: Path, cores: int) -> Iterator[None]:
    """Prepare everything that is read when the packages are imported, and put it back afterwards."""
    home, temporary = scratch / "home", scratch / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    (home / CONFIG_NAME).write_text(json.dumps(_config()), encoding="utf-8")
    variables = {
        HOME_VARIABLE: str(home),
        WEIGHTS_VARIABLE: str(weights_folder()),
        **dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(weights_folder())),
        # nnU-Net takes 8 threads for itself and TotalSegmentator one for each core of the whole machine.
        **dict.fromkeys(("nnUNet_def_n_proc", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(cores)),
        # Threads that wait for each other sleep. Where others work on the same cores, each of a network's
        # many small steps would else wait for one that has no core, because another one spins on it.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
        "TMPDIR": str(temporary),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    usual_temporary, tempfile.tempdir = tempfile.tempdir, str(temporary)
    try:
        yield
    finally:
        _end_children()
        tempfile.tempdir = usual_temporary
        _restore(before)


def forbid_downloads() -> None:
    """Make TotalSegmentator's two functions that fetch weights say what is missing instead."""
    from totalsegmentator import libs

    def refuse(what: object, folder: Path) -> None:
        raise NotSetUp(f"TotalSegmentator wants to download {what}, which this job does not; add it before")

    libs.download_url_and_unpack = refuse
    libs.download_model_with_license_and_unpack = refuse


def _config() -> dict[str, Any]:
    number = licence()
    return {
        "totalseg_id": "iris",
        "send_usage_stats": False,
        "prediction_counter": 0,
        "statistics_disclaimer_shown": True,
        **({"license_number": number} if number else {}),
    }


def _restore(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _end_children() -> None:
    """End what nnU-Net has left running; its managers end when they are collected, which may be late."""
    for child in multiprocessing.active_children():
        child.terminate()
        child.join(10)
        if child.is_alive():
            child.kill()
            child.join()
