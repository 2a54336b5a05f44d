"""The catalogue of outputs: what can be made of a job's labels, and where what makes it is loaded from.

One line an output: configuration, the step encode, the operator's guide and tests read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Output:
    """One output.

    Parameters
    ----------
    about
        What it is, for the operator's guide.
    maker
        `module:attribute` of what gives its maker when it is called with the configuration
        (`gateway.making.makers.Maker`). Empty: the name is known, this version does not make it.
    """

    name: str
    about: str
    maker: str = ""

    @property
    def is_made(self) -> bool:
        """Whether this version makes it."""
        return bool(self.maker)


_OUTPUTS: Final = (
    Output("seg", "DICOM-SEG on the original slices", "gateway.making.makers.seg:SegMaker"),
    Output("sr", "measurements as a structured report"),
    Output("rtstruct", "contours for radiotherapy"),
    Output("overlay", "the slices with the segments drawn in"),
    Output("summary", "a picture with volumes"),
    Output("pdf", "a report to read"),
    Output("surface", "a surface of each structure, as a file of the job"),
)
OUTPUTS: Final[Mapping[str, Output]] = MappingProxyType({each.name: each for each in _OUTPUTS})


def require_known(names: list[str]) -> None:
    """Refuse a list of outputs with a name that is unknown, or there twice.

    Raises
    ------
    ValueError
        The sentence names what there is.
    """
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise ValueError(f"there is no output {', '.join(unknown)}; known: {', '.join(OUTPUTS)}")
    if len(set(names)) < len(names):
        raise ValueError("an output stands there twice; name each once")
