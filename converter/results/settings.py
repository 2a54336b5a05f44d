"""What a caller says about a result object, whatever it is."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from converter.terminology import Code, Structure, codes_version, structure
from converter.version import own_version

MANUFACTURER: Final = "IRIS Gateway"
MODEL_NAME: Final = "iris-gateway"

SERIES_NUMBER: Final = 9000
"""Results stand behind their source: its series number, and this."""
HIGHEST_SERIES_NUMBER: Final = 2**31 - 1
"""What an integer string may be (PS3.5 6.2)."""
ROOM_ABOVE: Final = 1_000_000
"""For further outputs and revisions, which have higher numbers."""


MARK: Final = "CHECK:"
"""Stands first in what a flagged result says of itself."""


@dataclass(frozen=True)
class QualityFlag:
    """What a person should know before trusting the result.

    `structure` is None where it is about the whole image; `sentence` says the same as `code` and `number`, in
    words, and holds nothing of the patient's header.
    """

    code: str
    structure: str | None
    number: float
    unit: str
    sentence: str


LONGEST_DOUBTS: Final = 800
"""Of 1024 characters that value representation ST has (PS3.5 6.2)."""


def doubts_about(name: str, flags: Iterable[QualityFlag]) -> str:
    """What is to be known of a structure before trusting it, with a space behind; empty for most."""
    sentences = [flag.sentence for flag in flags if flag.structure == name]
    return f"{MARK} {' '.join(sentences)[:LONGEST_DOUBTS]} " if sentences else ""


@dataclass(frozen=True)
class Algorithm:
    """What found the structures (PS3.3 10.16): its name, version, and family, a code of PS3.16 CID 7162."""

    name: str
    version: str
    family: Code


@dataclass(frozen=True)
class Terms:
    """How an engine's results are called: the family of its algorithm, and codes of structures of its own.

    `structures` has those by name that the terminology does not know, or that are meant otherwise.
    """

    family: Code
    structures: Mapping[str, Structure] = field(default_factory=dict)

    def identity(self) -> str:
        """A text that changes with any of it."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class ResultSettings:
    """What is said about any result object; `made_at` is aware of its time zone, which its dates are in.

    `structures` are codes that the caller hands over, by structure name; what is not among them is looked up
    in the terminology. `tracking_key` keeps tracking UIDs from being guessed from a Patient ID; where results
    of one patient shall have equal ones it is the same key. `parameters` are what the algorithm was told, a
    text each.
    """

    sop_instance_uid: str
    series_uid: str
    series_number: int
    series_description: str
    made_at: datetime
    task: str
    algorithm: Algorithm
    structures: Mapping[str, Structure] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    instance_number: int = 1
    tracking_key: bytes = b"iris"
    issuer_of_patient_id: str = ""
    """Whose Patient IDs are, where the images do not say: with it tracking UIDs are equal over studies."""
    device_serial_number: str = "1"
    """Which of several such systems made it (PS3.3 C.7.5.2)."""
    shows_flags: bool = True
    """Whether it shows quality flags where there are any; otherwise it says that it does not."""
    label_names: tuple[str, ...] = ()
    """Names of structures: with them it is known beforehand which characters are needed."""

    def texts(self) -> str:
        """All of it that may hold other characters than the source's character set has."""
        algorithm = self.algorithm
        coded = (text for each in self.structures.values() for text in (each.words, *each.meanings))
        return " ".join(
            (self.series_description, algorithm.name, algorithm.version, *self.label_names, *coded)
        )

    def structure(self, name: str) -> Structure:
        """How a structure is described: as handed over, else as the terminology has it."""
        return self.structures.get(name) or structure(name)


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """A result object on disk, durable, under its name."""

    path: Path
    sha256: str
    sop_instance_uid: str
    sop_class_uid: str
    warnings: tuple[str, ...] = ()
    form: str = ""
    """Which of several forms of one output it is, where there are several."""


def free_series_number(base: int, source_number: int | None, taken: Collection[int]) -> int:
    """`base` plus the source's number (0 where it has none), or the next one that is free.

    A source's number that is as high as numbers go counts as none.
    """
    number = base + (source_number or 0)
    if number > HIGHEST_SERIES_NUMBER - ROOM_ABOVE:
        number = base
    while number in taken:
        number += 1
    return number


def made_with(number: str) -> str:
    """What changes when an object's bytes would: its maker's own number, the codes, and what writes it."""
    versions = own_version(), metadata.version("highdicom"), metadata.version("pydicom")
    return " ".join([number, codes_version(), *versions])
