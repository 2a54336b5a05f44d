"""`iris doctor` on the site secret where the ledger is lost as well."""

from pathlib import Path

import pytest

from gateway.adapters.checks import Verdict
from gateway.commands.doctor import _secret
from gateway.config import Config
from gateway.config.sections import Site


@pytest.mark.parametrize(("has_images", "verdict"), [(True, Verdict.FAILED), (False, Verdict.OK)])
def test_doctor_without_ledger_and_secret_fails_where_images_are_kept(
    tmp_path: Path, has_images: bool, verdict: Verdict
) -> None:
    (tmp_path / "instances" / ("study" if has_images else "")).mkdir(parents=True)
    check = _secret(Config(site=Site(data_dir=tmp_path)))
    assert check.verdict is verdict
    assert ("accept-secret" in check.fix) is has_images
