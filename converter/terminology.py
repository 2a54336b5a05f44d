"""What a structure is called in codes, by its name: SNOMED CT with laterality and region, display colours.

The data are TotalSegmentator's, corrected (see `codes/`); which engine found the structure does not matter. A
name without a code gets a private one in the scheme 99IRIS, never a guess.
"""

import colorsys
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

SNOMED_CT: Final = "SCT"
PRIVATE_SCHEME: Final = "99IRIS"


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """A structure as a segment describes it (PS3.3 C.8.20.4); `rgb` is sRGB, 0 to 255."""

    name: str
    category: Code
    type: Code
    type_modifier: Code | None
    region: Code | None
    region_modifier: Code | None
    rgb: tuple[int, int, int]
    is_private: bool

    @property
    def meanings(self) -> tuple[str, ...]:
        """The meanings of all its codes."""
        codes = (self.category, self.type, self.type_modifier, self.region, self.region_modifier)
        return tuple(code.meaning for code in codes if code)

    @property
    def words(self) -> str:
        """What people call it, by its codes: "Kidney, right", "Cyst of kidney, left"."""
        if self.is_private:
            return self.name.replace("_", " ").strip().capitalize() or "unnamed"
        where = f" of {self.region.meaning.lower()}" if self.region else ""
        sides = [code.meaning.lower() for code in (self.type_modifier, self.region_modifier) if code]
        return ", ".join([f"{self.type.meaning}{where}", *sides])


PRIVATE_CATEGORY: Final = Code("STRUCTURE", PRIVATE_SCHEME, "Segmented structure")
"""A name alone does not say whether it is an organ, a lesion or a thing; to choose one would be a guess."""


def structure(name: str) -> Structure:
    """Look a structure up by the name that the engine gives it (PS3.3 C.8.20.4, PS3.16 CID 7150 and 7151).

    Returns
    -------
    Structure
        One that is not known gets a private code and colour, the same ones each time (`is_private`); the
        caller says so to its user.
    """
    return _structures().get(name) or _private(name)


def coded_structure(name: str, record: Mapping[str, Any]) -> Structure:
    """A structure of a record, as the data file and engines' own lists have it.

    Parameters
    ----------
    record
        `category`, `type`, and where it has them `type_modifier`, `region`, `region_modifier`: each a SNOMED
        CT code and its meaning; `rgb`.
    """

    def code(part: str) -> Code:
        value, meaning = record[part]
        return Code(value, SNOMED_CT, meaning)

    def optional(part: str) -> Code | None:
        return code(part) if record.get(part) else None

    red, green, blue = record["rgb"]
    return Structure(
        name=name,
        category=code("category"),
        type=code("type"),
        type_modifier=optional("type_modifier"),
        region=optional("region"),
        region_modifier=optional("region_modifier"),
        rgb=(red, green, blue),
        is_private=False,
    )


def structure_names() -> tuple[str, ...]:
    """Every name that has codes here."""
    return tuple(_structures())


def codes_version() -> str:
    """What changes with any code, meaning or colour: the beginning of their data file's digest."""
    return hashlib.sha256(_data_file()).hexdigest()[:12]


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(_data_file())
    return data


def _data_file() -> bytes:
    return resources.files("converter.codes").joinpath("codes.json").read_bytes()


@cache
def _structures() -> dict[str, Structure]:
    return {name: coded_structure(name, record) for name, record in _data()["structures"].items()}


def _private(name: str) -> Structure:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    red, green, blue = colorsys.hsv_to_rgb(digest[0] / 256, 0.5 + digest[1] / 512, 0.6 + digest[2] / 640)
    return Structure(
        name=name,
        category=PRIVATE_CATEGORY,
        type=Code(digest.hex()[:12].upper(), PRIVATE_SCHEME, _meaning(name)),
        type_modifier=None,
        region=None,
        region_modifier=None,
        rgb=(round(red * 255), round(green * 255), round(blue * 255)),
        is_private=True,
    )


def _meaning(name: str) -> str:
    """A name as a Code Meaning: 1 to 64 characters, no controls and no backslash (PS3.5 6.2)."""
    said = (each if each.isprintable() and each != "\\" else "?" for each in name.replace("_", " "))
    return "".join(said).strip()[:64].strip() or "unnamed"
