"""Makes the workers that tell people what happens, one for each whom the configuration names."""

from collections.abc import Callable, Mapping, Sequence

from gateway.config import Config
from gateway.events import Bus
from gateway.ledger.messages import keep_receivers
from gateway.ledger.records import utc_in
from gateway.ledger.store import Ledger

from .composing import Composer
from .receivers.catalogue import receivers_of
from .worker import NotifyWorker, Standing


def notify_workers(
    config: Config,
    ledger: Ledger,
    bus: Bus,
    complaints: Mapping[str, Callable[[], str]],
    troubles: Callable[[], Sequence[str]],
) -> list[NotifyWorker]:
    """Make them, and let the ledger know whom it is to remember.

    Parameters
    ----------
    complaints
        What of the gateway may be told, by occasion: a sentence while it is wrong. What may be chance is told
        when it stands as long as a study may wait.
    troubles
        All that is wrong, for the summary.

    Raises
    ------
    TlsError
        Certificates or keys for one cannot be used.
    """
    receivers = receivers_of(config)
    waiting_s = config.notify.waiting_minutes * 60.0
    with ledger.transaction() as transaction:
        keep_receivers(transaction, [to.receiver for to, _ in receivers], utc_in(-waiting_s))
    standing = {
        "disk": Standing(complaints["disk"]),
        "mirror": Standing(complaints["mirror"], told_after_s=waiting_s),
    }
    composer = Composer(config, ledger, troubles)
    return [NotifyWorker(to, by, ledger, bus, composer, standing) for to, by in receivers]
