"""Structure names as people say them."""

import re


def spoken(name: str) -> str:
    """`rib_left_7` as "left rib 7": the side first, the other words in their order."""
    words = re.sub(r"^vertebrae_(?=[A-Z])", "vertebra_", name).split("_")
    side = [word for word in words if word in ("left", "right")]
    return " ".join(side + [word for word in words if word not in ("left", "right")])
