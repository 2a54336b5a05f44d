"""The API's sentences in Spanish, by the English ones as they stand in the code."""

from collections.abc import Mapping
from typing import Final

from .quarantine import QUARANTINE
from .timeline import TIMELINE
from .whereabouts import WHEREABOUTS

SPANISH: Final[Mapping[str, str]] = {**WHEREABOUTS, **TIMELINE, **QUARANTINE}
