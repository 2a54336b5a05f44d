"""The structures of TotalSegmentator's task `total`, which the benchmarks draw and encode."""

import json
from pathlib import Path

CATALOGUE = Path(__file__).parents[1] / "batch_job" / "catalogue" / "totalsegmentator.json"


def names_of_total() -> dict[int, str]:
    """Label value to structure name, as the catalogue of engines has them."""
    labels = json.loads(CATALOGUE.read_bytes())["tasks"]["total"]["labels"]
    return {int(value): name for value, name in labels.items()}
