"""For what a study waits that is receiving, in sentences for whoever looks at it."""

from typing import Final

IS_COMING: Final = "an association that brought some of it is still open"
IS_PLANNED: Final = "it is complete, and is being planned"


def quiet(in_force_s: float, configured_s: float) -> str:
    """Of a study whose sender released its association.

    Parameters
    ----------
    in_force_s, configured_s
        The quiet time that decides, and `study.quiet_s`, which is longer where the sender's pauses are short.
    """
    why = "study.quiet_s"
    if in_force_s < configured_s:
        why = f"study.quiet_adaptive, by its sender's own pauses; study.quiet_s is {configured_s:g} s"
    return f"it is complete when nothing more of it has come for {in_force_s:.3g} s ({why})"


def quiet_timeout(timeout_s: float, *, missing: int, is_released: bool) -> str:
    """Of a study that does not look whole.

    Parameters
    ----------
    missing
        How many instances that somebody named did not come.
    is_released
        Whether its sender released its association.
    """
    if missing:
        what = f"{missing} images that were named for it have not come"
    elif is_released:
        what = "a volume of it has a gap"
    else:
        what = "no association that brought some of it was released"
    return f"{what}; it is closed as it is when nothing has changed for {timeout_s:g} s (study.timeout_s)"
