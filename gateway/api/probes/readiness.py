"""Whether the gateway can take studies, as /readyz tells it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Readiness:
    """One look at the whole gateway.

    Parameters
    ----------
    ready
        Instances can be accepted.
    reasons
        Why not; one sentence each.
    degraded
        What is wrong behind the listener while instances are still accepted; one sentence each.
    """

    ready: bool
    reasons: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
