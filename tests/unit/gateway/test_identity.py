"""Same input, same identity: keys and the secret that they hang on."""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ConfigError
from gateway.identity import EngineIdentity, SiteSecret

ENGINE = EngineIdentity("threshold", "1.0.0", "", "dcm2niix 1.0")
SLICES = [("1.2.3", "pixels a", "geometry a"), ("1.2.4", "pixels b", "geometry b")]


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> SiteSecret:
    path = tmp_path_factory.mktemp("site") / "site-secret"
    path.write_text("0" * 64)
    return SiteSecret(path)


def _key(secret: SiteSecret, **changes: Any) -> str:
    given = {"instances": SLICES, "task": "tissue", "options": {"fast": False}, "engine": ENGINE, **changes}
    return secret.job_key(**given)


def test_job_key_is_lower_case_hex_and_the_same_in_every_process(secret: SiteSecret) -> None:
    assert _key(secret) == "ef590b681df3016f9128823a48c0440e470870c4d84366623f1dcdde736b200a"


def test_job_key_does_not_depend_on_the_order_of_slices_or_options(secret: SiteSecret) -> None:
    assert _key(secret, instances=SLICES[::-1]) == _key(secret)
    assert _key(secret, options={"a": 1, "b": 2}) == _key(secret, options={"b": 2, "a": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"instances": SLICES[:1]},
        {"instances": [("1.2.3", "other pixels", "geometry a"), SLICES[1]]},
        {"instances": [("1.2.3", "pixels a", "other geometry"), SLICES[1]]},
        {"instances": [("1.2.5", "pixels a", "geometry a"), SLICES[1]]},
        {"task": "total"},
        {"options": {"fast": True}},
        {"engine": replace(ENGINE, name="other")},
        {"engine": replace(ENGINE, version="2")},
        {"engine": replace(ENGINE, weights="w")},
        {"engine": replace(ENGINE, converter_version="dcm2niix 2.0")},
    ],
)
def test_job_key_changes_with_everything_that_changes_the_result(
    secret: SiteSecret, changes: dict[str, Any]
) -> None:
    assert _key(secret, **changes) != _key(secret)


def test_job_key_changes_with_the_secret(secret: SiteSecret, tmp_path: Path) -> None:
    assert _key(SiteSecret(tmp_path / "other")) != _key(secret)


def test_job_key_does_not_confuse_neighbouring_parts(secret: SiteSecret) -> None:
    one = _key(secret, instances=[("1.2", "3", "g")])
    assert one != _key(secret, instances=[("1.", "23", "g")])


def test_study_key_differs_by_site_and_study(secret: SiteSecret) -> None:
    keys = {secret.study_key(site, uid) for site in ("a", "b") for uid in ("1.2", "1.3")}
    assert len(keys) == 4
    assert all("1.2" not in key for key in keys)


def test_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "site-secret"
    first = SiteSecret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["site-secret"]
    assert _key(SiteSecret(path)) == _key(first)


@pytest.mark.parametrize("content", ["", "short\n"])
def test_secret_that_is_too_short_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "site-secret"
    path.write_text(content)
    with pytest.raises(ConfigError, match="restore it from your backup"):
        SiteSecret(path)
    assert path.read_text() == content


def test_secret_that_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"site\.secret_file"):
        SiteSecret(tmp_path)
