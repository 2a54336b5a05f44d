"""File descriptors: as many as the system lets this process have, shared between DICOM and HTTP."""

import resource
from typing import Final

ENOUGH: Final = 65_536
"""More is not asked for: programs that are started inherit the limit, and some close all there could be."""
MOST_HTTP: Final = 256


def raise_descriptor_limit() -> int:
    """Raise the limit as far as it goes without rights; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def http_share(limit: int) -> int:
    """How many connections HTTP may hold of so many descriptors: a quarter, so that senders find some."""
    return max(1, min(MOST_HTTP, limit // 4))
