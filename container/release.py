"""Make a release: wheel and sdist of a clean clone, looked at and tried, with the change log's section cut.

`make release` calls it. It changes nothing but `dist/` and `CHANGELOG.md`, and that only when all went well;
what is left to do by hand it prints.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNRELEASED = "## [Unreleased]\n"
TOOLS = ROOT / ".venv-tools" / "bin"


class NotReleased(Exception):
    """No release was made; one sentence that says why and what to do."""


def cut(changelog: str, version: str, date: str) -> str:
    """Give what is not released yet a heading of its own, below an empty section for what comes next.

    A change log that was cut before, for a release that was made and not tagged, stays as it is.

    Raises
    ------
    NotReleased
        There is nothing to be told of the version, or something besides its section.
    """
    before, heading, after = changelog.partition(UNRELEASED)
    is_new = bool(heading and after.partition("\n## ")[0].strip())
    if f"\n## [{version}]" in changelog:
        if is_new:
            raise NotReleased(
                f"CHANGELOG.md has a section {version} and more under [Unreleased]; move that there, or "
                "raise the version in pyproject.toml"
            )
        return changelog
    if not is_new:
        raise NotReleased("CHANGELOG.md has nothing under [Unreleased]; write there what users will see")
    return f"{before}{UNRELEASED}\n## [{version}] - {date}\n{after}"


def _run(*command: str | Path, cwd: Path = ROOT) -> str:
    # No variable of this checkout or of a gateway reaches what is tried.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IRIS_", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=clean, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise NotReleased(f"`{' '.join(map(str, command))}` failed; it says why above")
    return done.stdout


def _version_to_release() -> str:
    if _run("git", "status", "--porcelain"):
        raise NotReleased("there are changes that are not committed; commit or stash them")
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    if _run("git", "tag", "--list", f"v{version}"):
        raise NotReleased(f"v{version} is released already; raise the version in pyproject.toml")
    return version


def _build(clone: Path, dist: Path) -> list[Path]:
    """An sdist of the clone, and a wheel of that sdist."""
    _run(
        TOOLS / "uv", "build", "--quiet", "--build-constraints", "constraints.txt", "--require-hashes",
        "--out-dir", dist, cwd=clone,
    )  # fmt: skip
    made = sorted(path for path in dist.iterdir() if path.suffix in (".whl", ".gz"))
    _run(TOOLS / "twine", "check", "--strict", *made)
    return made


def _try(clone: Path, wheel: Path, away: Path) -> None:
    """Install the wheel, with what it needs, where nothing else of the checkout is; send a study through."""
    python = away / "venv" / "bin" / "python"
    install = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    _run(sys.executable, "-m", "venv", away / "venv")
    _run(*install, "--require-hashes", "--requirement", clone / "container" / "pip.txt")
    (away / "needed.txt").write_text(_run(python, clone / "container" / "dependencies.py", cwd=clone))
    constraints = clone / "constraints.txt"
    _run(*install, "--require-hashes", "--constraint", constraints, "--requirement", away / "needed.txt")
    _run(*install, "--no-deps", "--no-index", wheel)
    said = _run(python.with_name("iris"), "demo", "--pacs", "builtin", cwd=away)
    print(said.strip().splitlines()[-1])


def main() -> None:
    """Make the release of the version in pyproject.toml."""
    version = _version_to_release()
    text = cut((ROOT / "CHANGELOG.md").read_text("utf-8"), version, datetime.now(UTC).date().isoformat())
    with tempfile.TemporaryDirectory() as folder:
        clone, made = Path(folder, "clone"), Path(folder, "dist")
        _run("git", "clone", "--quiet", "--no-hardlinks", ROOT, clone)
        (clone / "CHANGELOG.md").write_text(text, encoding="utf-8")
        files = _build(clone, made)
        away = Path(folder, "away")
        away.mkdir()
        _try(clone, next(path for path in files if path.suffix == ".whl"), away)
        dist = ROOT / "dist"
        dist.mkdir(exist_ok=True)
        sums = []
        for path in files:
            content = path.read_bytes()
            (dist / path.name).write_bytes(content)
            sums.append(f"{sha256(content).hexdigest()}  {path.name}\n")
    (dist / f"iris_gateway-{version}.sha256").write_text("".join(sums), encoding="ascii")
    (ROOT / "CHANGELOG.md").write_text(text, encoding="utf-8")
    print(f"dist/ has {', '.join(path.name for path in files)}. Look at CHANGELOG.md, then:")
    if _run("git", "status", "--porcelain"):
        print(f'  git commit -m "Release {version}" CHANGELOG.md')
    print(f"  git tag --annotate --message {version} v{version}")


if __name__ == "__main__":
    try:
        main()
    except NotReleased as reason:
        sys.exit(f"release: {reason}")
