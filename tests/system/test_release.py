"""What `make release` refuses, cuts and makes."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CHANGES = """# Changelog

## [Unreleased]

### Added

- Something that users see.

## [0.1.0] - 2026-01-01

- The first one.
"""


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """The module `container/release.py`."""
    spec = spec_from_file_location("release", ROOT / "container" / "release.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cut_change_log_has_the_section_and_an_empty_one_above(release: ModuleType) -> None:
    cut = release.cut(CHANGES, "0.2.0", "2026-11-30")
    assert cut == CHANGES.replace("## [Unreleased]\n", "## [Unreleased]\n\n## [0.2.0] - 2026-11-30\n")


def test_change_log_that_was_cut_for_this_version_stays_as_it_is(release: ModuleType) -> None:
    cut = release.cut(CHANGES, "0.2.0", "2026-11-30")
    assert release.cut(cut, "0.2.0", "2026-12-01") == cut


@pytest.mark.parametrize(
    ("changes", "version", "why"),
    [
        (CHANGES, "0.1.0", "has a section 0.1.0 and more under"),
        (CHANGES.replace("### Added\n\n- Something that users see.\n\n", ""), "0.2.0", "has nothing under"),
        (CHANGES.replace("## [Unreleased]\n", ""), "0.2.0", "has nothing under"),
    ],
)
def test_change_log_without_anything_to_tell_of_a_version_is_not_cut(
    release: ModuleType, changes: str, version: str, why: str
) -> None:
    with pytest.raises(release.NotReleased, match=why):
        release.cut(changes, version, "2026-11-30")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this checkout's last commit, with the environment of tools beside it."""
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True, timeout=60)
    (tmp_path / "clone" / ".venv-tools").symlink_to(ROOT / ".venv-tools")
    (tmp_path / "clone" / ".git" / "info" / "exclude").write_text(".venv-tools\n")
    return tmp_path / "clone"


def make_release(clone: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, clone / "container" / "release.py"]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, timeout=900)


def test_release_of_what_is_not_committed_is_refused(clone: Path) -> None:
    (clone / "README.md").write_text("other")
    refused = make_release(clone)
    assert refused.returncode == 1
    assert refused.stderr == "release: there are changes that are not committed; commit or stash them\n"


@pytest.mark.long
@pytest.mark.timeout(1000)
@pytest.mark.peer("tools")
def test_release_is_made_of_the_clone_and_its_wheel_runs_the_demo(clone: Path, release: ModuleType) -> None:
    changes = clone / "CHANGELOG.md"
    changes.write_text(CHANGES)
    told = ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "--all", "-m", "x"]
    subprocess.run(["git", *told], cwd=clone, check=True, timeout=60)
    made = make_release(clone)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "For research use, not for diagnosis." in made.stdout
    (wheel,) = (clone / "dist").glob("*.whl")
    (source,) = (clone / "dist").glob("*.tar.gz")
    assert "gateway/cli.py" in zipfile.ZipFile(wheel).namelist()
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        (log,) = (name for name in archive.getnames() if name.endswith("/CHANGELOG.md"))
        packed = archive.extractfile(log)
        assert packed
        assert packed.read() == changes.read_bytes()
    assert {"constraints.txt", "container/dependencies.py", "mkdocs.yml", "docs/howto/pip.md"} <= names
    assert changes.read_text() != CHANGES
    (sums,) = (clone / "dist").glob("*.sha256")
    for line in sums.read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((clone / "dist" / name).read_bytes()).hexdigest() == digest
