"""`docs/quality.md` says what the checks do: every code, every range of volumes, the limits."""

import re
from pathlib import Path

from batch_job.contract import FLAG_CODES
from batch_job.quality import CODES, acquisition, order, pieces, sides
from batch_job.quality.volumes import ADULT_ML
from gateway.config.arrival import ARRIVAL_CODES

TEXT = (Path(__file__).parents[4] / "docs" / "quality.md").read_text(encoding="utf-8")


def _row(code: str) -> str:
    (row,) = re.findall(rf"^\| `{code}` \|.*$", TEXT, re.MULTILINE)
    return str(row)


def test_document_has_a_row_for_every_code_in_their_order() -> None:
    table = TEXT.partition("## Plausible volumes")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == (*ARRIVAL_CODES, *CODES)
    assert FLAG_CODES == CODES


def test_document_has_the_plausible_volumes_of_the_code() -> None:
    table = TEXT.partition("## Plausible volumes")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|$", table, re.MULTILINE)
    assert {name: (float(least), float(most)) for name, least, most in rows} == ADULT_ML


def test_document_has_the_limits_of_the_code() -> None:
    low, high = acquisition.AIR_HU
    assert f"{low:.0f} and {high:.0f} HU" in _row(acquisition.AIR)
    low, high = acquisition.HIGHEST_HU
    assert f"{low:.0f} HU" in _row(acquisition.HIGHEST)
    assert f"{high:.0f}" in _row(acquisition.HIGHEST)
    assert f"{sides.MIDLINE_TOLERANCE_MM:.0f} mm" in _row(sides.SITUS_INVERSUS)
    assert f"{sides.HEART_TOLERANCE_MM:.0f} mm" in _row(sides.SITUS_INVERSUS)
    assert f"{sides.PAIR_TOLERANCE_MM:.0f} mm" in _row(sides.CONTRADICTION)
    assert f"{order.ORGAN_TOLERANCE_MM:.0f} mm" in _row(order.REGIONS_CONTRADICT)
    assert f"{order.VERTEBRA_TOLERANCE_MM:.0f} mm" in _row(order.ORDER)
    assert f"{100 * pieces.LEAST_SHARE:.0f} %" in _row(pieces.CODE)
