"""What a rule can ask about a volume: its header's keywords, and what is computed of it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

from converter.series import Volume

from .selection import values_of


def attributes(volume: Volume) -> Mapping[str, tuple[str, ...]]:
    """What a rule can ask about a volume: its header's keywords, and what is computed of it."""
    return _HeaderAttributes(volume)


class _HeaderAttributes(dict[str, tuple[str, ...]]):
    """Looks a keyword up in the volume's header when it is asked for."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(
            images=(str(len(volume.frames)),),
            slice_spacing_mm=(f"{volume.slice_spacing_mm:.6g}",),
            study_age_days=_age_days("".join(values_of(volume.header, "StudyDate"))),
        )
        self._header = volume.header

    def get(self, key: str, default: object = ()) -> tuple[str, ...]:
        """The values under a keyword; none when the header has none."""
        return self[key] if key in self else values_of(self._header, key)


def _age_days(study_date: str) -> tuple[str, ...]:
    try:
        taken = date(int(study_date[:4]), int(study_date[4:6]), int(study_date[6:8]))
    except ValueError:
        return ()
    return (str((datetime.now(UTC).date() - taken).days),)
