"""The engine `container`: what a program or image of one's own may do, and what comes of it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from batch_job.catalogue.label_table import read_label_table
from batch_job.contract import ContractError, EngineSettings, ModelError, engine_facts
from batch_job.engines import NoCheckpoints, Segmented, Work, load_engine
from batch_job.engines.container import Container
from batch_job.errors import BadInput, ComeBackLater, NotSetUp, WrongResult
from batch_job.image import read_image
from batch_job.reference import write_reference
from gateway.config import ConfigError, load_config
from tests.own_engines import as_variables, write_program

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120.0
TABLE = "value,name\n1,bone\n"
Segment = Callable[..., Segmented]


def set_command(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    for name, value in as_variables(command).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """The reference case of a CT."""
    source, scratch = tmp_path / "input.nii.gz", tmp_path / "scratch"
    scratch.mkdir()
    write_reference("CT", source)
    return Work(read_image(source), source, "model", {}, scratch, NoCheckpoints(), lambda share, what: None)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, work: Work) -> Segment:
    """`shell(script)`: what comes of a program that is a shell script; $1 is the image, $2 the folder."""

    def run(script: str) -> Segmented:
        set_command(monkeypatch, ["/bin/sh", "-c", script, "sh", "{input}", "{output}"])
        return load_engine("container").segment(work)

    return run


# -- what it leaves -----------------------------------------------------------------------------------------


def prepared(folder: Path, labels: Any) -> str:
    """A script that leaves this label map."""
    nib.save(labels, folder / "prepared.nii.gz")
    (folder / "prepared.csv").write_text(TABLE)
    return f'cp {folder}/prepared.nii.gz "$2/labels.nii.gz"; cp {folder}/prepared.csv "$2/labels.csv"'


def test_labels_whose_axes_the_program_turned_lie_where_the_image_has_them(
    shell: Segment, work: Work, tmp_path: Path
) -> None:
    values = (work.image.values > 300).astype(np.float32)  # as many tools write labels
    turned = nib.as_closest_canonical(nib.Nifti1Image(values, work.image.affine))
    assert nib.aff2axcodes(turned.affine) != nib.aff2axcodes(work.image.affine)
    found = shell(prepared(tmp_path, turned))
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, values)
    assert found.names == {1: "bone"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda image: image.slicer[1:], "lies on another grid than its image"),
        (lambda image: nib.Nifti1Image(image.dataobj, image.affine + np.eye(4)), "another grid"),
        (lambda image: nib.Nifti1Image(np.asarray(image.dataobj) + 0.5, image.affine), "are no labels"),
        (lambda image: nib.Nifti1Image(np.asarray(image.dataobj) - 1.0, image.affine), "are no labels"),
        (lambda image: nib.Nifti1Image(np.asarray(image.dataobj) * 300, image.affine), "are no labels"),
    ],
)
def test_label_map_that_is_none_of_the_image_is_a_defect(
    shell: Segment, work: Work, tmp_path: Path, change: Callable[[Any], Any], sentence: str
) -> None:
    image = nib.Nifti1Image((work.image.values > 300).astype(np.float32), work.image.affine)
    with pytest.raises(WrongResult, match=sentence):
        shell(prepared(tmp_path, change(image)))


def test_program_that_leaves_something_running_which_holds_its_output_is_done_all_the_same(
    shell: Segment, work: Work, tmp_path: Path
) -> None:
    labels = nib.Nifti1Image((work.image.values > 300).astype(np.uint8), work.image.affine)
    left_running = f"setsid sleep 600 & echo $! > {tmp_path}/left"
    try:
        assert shell(f"{prepared(tmp_path, labels)}; {left_running}").names == {1: "bone"}
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)


def test_label_map_that_says_to_be_huge_is_not_unpacked(shell: Segment, work: Work, tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_sform(work.image.affine, 1)
    header["vox_offset"] = 352
    script = prepared(tmp_path, nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), work.image.affine))
    (tmp_path / "prepared.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    with pytest.raises(WrongResult, match="another grid"):
        shell(script)


@pytest.mark.parametrize(
    ("script", "error", "sentence"),
    [
        ("exit 2", BadInput, "of no use to the program"),
        ("exit 75", ComeBackLater, "ended with 75"),
        ("exit 78", NotSetUp, "not set up"),
        ("exit 127", NotSetUp, "not set up"),
        ("exit 137", MemoryError, "^$"),
        ("kill -9 $$", MemoryError, "^$"),
        ("exit 1", WrongResult, "ended with 1; what it says stands above in the job's log"),
        ("true", WrongResult, r"left no labels\.nii\.gz"),
        ('ln -s "$1" "$2/labels.nii.gz"', WrongResult, r"left no labels\.nii\.gz"),
        ('cp "$1" "$2/labels.nii.gz"', WrongResult, r"left no labels\.csv"),
        ('cp "$1" "$2/labels.nii.gz"; echo x >$2/labels.csv', WrongResult, r"program's labels\.csv names no"),
        (f"printf '{TABLE}' >$2/labels.csv; echo x >$2/labels.nii.gz", WrongResult, "is no NIfTI file"),
    ],
)
def test_how_the_program_ends_says_what_it_was(
    shell: Segment, script: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        shell(script)


@pytest.mark.parametrize(
    "script", ["exit 1", "true", f"printf '{TABLE}' >$2/labels.csv; echo x >$2/labels.nii.gz"]
)
def test_program_that_fails_where_the_disk_has_no_room_is_tried_again(
    shell: Segment, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    nothing_free = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nothing_free)
    with pytest.raises(ComeBackLater, match="0 MB are free; make room"):
        shell(script)


# -- its table ----------------------------------------------------------------------------------------------


def test_table_of_labels_has_names_and_codes_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "value,name,category,type,type_modifier,rgb,remark\n"
        "3,node,49755003 Morphologically Abnormal Structure,27925004 Nodule,7771000 Left,255 0 10,x\n"
        "1,spleen\n"
    )
    table = read_label_table(path)
    assert table.names == {3: "node", 1: "spleen"}
    assert table.codes.keys() == {"node"}
    assert table.codes["node"].type == ("27925004", "Nodule")
    assert table.codes["node"].type_modifier == ("7771000", "Left")
    assert table.codes["node"].rgb == (255, 0, 10)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no value; its first line is value,name"),
        ("a,b\n1,spleen\n", "line 2: a value from 1 to 255 and a name"),
        ("value,name\n0,air\n", "^labels.csv, line 2: a value from 1 to 255 and a name"),
        ("value,name\n1,spleen\n1,liver\n", "line 3: a value or a name that stands there before"),
        ("value,name\n1,spleen\n2,spleen\n", "line 3: a value or a name that stands there before"),
        ('value,name\n1,"sple\nen"\n', "line 2: the name has a line's end or another sign that is none"),
        ("value,name,type\n1,node,27925004 Nodule\n", "line 2: category: is missing"),
        ("value,name,category,type\n1,node,1 A,27925004\n", "line 2: type"),
    ],
)
def test_table_of_labels_that_is_none_is_refused_by_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ContractError, match=sentence):
        read_label_table(path)


# -- which program ------------------------------------------------------------------------------------------


def test_facts_name_the_program_and_change_with_how_it_is_called() -> None:
    one, other = (
        engine_facts("container", EngineSettings(command=("/opt/moose", "{input}", "{output}", more)))
        for more in ("-a", "-b")
    )
    assert one.weights.startswith("moose ")
    assert one.weights != other.weights
    assert (one.default_task, one.task("model").modality) == ("model", "CT")
    named = engine_facts("container", EngineSettings(image="a.b/c/mhub@sha256:00", task="x", modality="MR"))
    assert named.weights.startswith("mhub ")
    assert named.task("x").modality == "MR"


def test_version_of_the_program_is_the_one_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    set_command(monkeypatch, ["/bin/sh", "{input}", "{output}"])
    assert Container().info.version == "1.0.0"
    monkeypatch.setenv("IRIS_ENGINE__VERSION", "3.2")
    assert Container().check("model", {}).version == "3.2"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (EngineSettings(), "command is empty, and so is image"),
        (EngineSettings(command=("moose", "{output}")), "none of its words has {input}"),
        (EngineSettings(image="moose", command=("{input}",)), "none of its words has {output}"),
    ],
)
def test_command_that_says_too_little_is_refused(settings: EngineSettings, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        engine_facts("container", settings)


# -- in a container -----------------------------------------------------------------------------------------

STAND_IN = """#!{python} -IS
import os, subprocess, sys
from pathlib import Path
with Path({log!r}).open("a") as log:
    log.write(repr(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["image", "inspect"]:
    sys.exit(sys.argv[3] != "bands")
if sys.argv[1] == "run":
    arguments = sys.argv[2:]
    after = [arguments[at + 1] for at, word in enumerate(arguments) if word == "--volume"]
    folders = dict(each.split(":")[1::-1] for each in after)
    words = arguments[arguments.index("bands") + 1 :]
    for inside, outside in folders.items():
        words = [word.replace(inside, outside) for word in words]
    sys.exit(subprocess.run([{python!r}, "-IS", {program!r}, *words]).returncode)
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was asked of a podman that knows one image, `bands`; it runs the guide's program as that."""
    program, log = write_program(tmp_path)[3], tmp_path / "podman.log"
    path = tmp_path / "bin" / "podman"
    path.parent.mkdir()
    path.write_text(STAND_IN.format(python=sys.executable, log=str(log), program=program))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("IRIS_ENGINE__COMMAND", raising=False)
    monkeypatch.setenv("IRIS_ENGINE__IMAGE", "bands")
    return log


def asked(log: Path, what: str) -> list[str]:
    """The lines in which it was asked for that."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if line.startswith(f"['{what}'")]


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_image_is_run_without_network(podman: Path, work: Work) -> None:
    engine = Container()
    assert engine.check("model", {}).weights.startswith("bands ")
    found = engine.segment(work)
    assert found.names == {1: "bone", 2: "aerated lung"}
    assert set(np.unique(found.labels)) == {0, 1, 2}
    (run,) = asked(podman, "run")
    assert "'--network', 'none'" in run
    assert "input:/iris/input:ro'" in run
    assert "'--rm'" in run


def test_image_that_is_not_there_is_said_with_the_way_to_get_it(
    podman: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_ENGINE__IMAGE", "moose")
    with pytest.raises(NotSetUp, match=r"podman has no image moose; podman pull moose"):
        Container().check("model", {})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotSetUp, match="neither podman nor docker here"):
        Container().check("model", {})


KILLED_IN_THE_MIDDLE = """
import sys
from pathlib import Path
from batch_job.catalogue.settings import EngineSettings
from batch_job.engines.container_call import call_of
here = Path(sys.argv[1])
with call_of(EngineSettings.from_environment(), here, here) as call:
    print(next(call.lines), flush=True)
    sys.stdin.read()
"""


def kill_in_the_middle(folder: Path) -> str:
    """Start the program in a process of its own, and kill that with SIGKILL; what the program said first."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as job:
        assert job.stdout is not None
        said = job.stdout.readline().decode().strip()
        job.send_signal(signal.SIGKILL)
    return said


def test_container_does_not_outlive_a_job_that_is_killed(podman: Path, tmp_path: Path) -> None:
    (tmp_path / "bands.py").write_text("import sys; print('runs', flush=True); sys.stdin.read()")
    assert kill_in_the_middle(tmp_path) == "runs"
    wait_until(lambda: asked(podman, "rm"))
    (run,), (removed,) = asked(podman, "run"), asked(podman, "rm")
    assert removed.rsplit("'", 2)[1] in run  # the same name


def test_program_and_what_it_started_do_not_outlive_a_job_that_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "sleep 600 & echo $!; wait; : {input} {output}"
    set_command(monkeypatch, ["/bin/sh", "-c", script])
    started = Path("/proc") / kill_in_the_middle(tmp_path) / "cmdline"
    wait_until(lambda: not started.exists() or b"sleep" not in started.read_bytes())


def test_configuration_and_jobs_are_told_of_a_program_in_the_same_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_command(monkeypatch, ["a", "{input}", "{output}"])
    monkeypatch.setenv("IRIS_ENGINE__NAME", "container")
    monkeypatch.setenv("IRIS_ENGINE__TASK", "lesions")
    settings = load_config(None).engine.settings
    assert settings == EngineSettings.from_environment()
    assert EngineSettings.from_environment(settings.variables()) == settings
    monkeypatch.setenv("IRIS_ENGINE__TASK", "two/words")
    with pytest.raises(ConfigError, match=r"engine\.task"):
        load_config(None)
    with pytest.raises(ContractError, match="task: must be of the form"):
        EngineSettings.from_environment()


def test_command_is_a_list_in_json_where_jobs_run() -> None:
    given = EngineSettings.from_environment({"IRIS_ENGINE__COMMAND": json.dumps(["a", "{input}"])})
    assert given.command == ("a", "{input}")
    with pytest.raises(Exception, match="IRIS_ENGINE__COMMAND is no list in JSON"):
        EngineSettings.from_environment({"IRIS_ENGINE__COMMAND": "a {input}"})
