"""Opens the mirror that the configuration names; boto3 is loaded only for one that needs it."""

from gateway.adapters.mirror import Mirror
from gateway.backends.aws import aws_session
from gateway.config import Config
from gateway.events import Bus
from gateway.ledger.outbox import switch_mirror
from gateway.ledger.store import Ledger

from .details import ConfiguredNames
from .items import Items
from .worker import MirrorWorker


def mirror_worker(config: Config, ledger: Ledger, bus: Bus) -> MirrorWorker | None:
    """Tell the ledger whether it is mirrored, and make the worker that does so; None without a mirror.

    Raises
    ------
    ConfigError
        What it needs is not installed.
    """
    mirror = _open(config)
    switch_mirror(ledger, is_on=mirror is not None, keep_days=config.mirror.keep_days)
    if mirror is None:
        return None
    items = Items(ledger, config.site.name, ConfiguredNames.of(config), config.mirror.keep_days)
    return MirrorWorker(ledger, bus, mirror, items)


def _open(config: Config) -> Mirror | None:
    if config.mirror.backend == "none":
        return None
    session = aws_session(config, "mirror.backend = 'dynamodb'")
    from gateway.adapters.aws.dynamodb import DynamoMirror

    return DynamoMirror(session.dynamodb(), config.mirror.table)
