"""`iris study` in words: what a person reads of a job's runs."""

import re
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app


def test_study_lists_each_run_of_a_job_and_how_it_ended(world, tmp_path: Path) -> None:
    uid = world.study()
    world.runs(world.job(uid))
    (tmp_path / "iris.toml").write_text(f'[site]\ndata_dir = "{tmp_path}"\n')
    result = CliRunner().invoke(app, ["study", uid, "--config", str(tmp_path / "iris.toml")])
    assert (result.exit_code, result.stderr) == (0, "")
    said = " ".join(result.stdout.split())
    at = r"2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.search(rf"run 1 \(batch\): submitted {at}, ended {at}: memory ran out", said)
    assert re.search(rf"run 2 \(batch\): submitted {at} 2\d{{3}}-", said)  # the timeline follows
