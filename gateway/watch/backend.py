"""Opens what takes the figures, as the configuration names it; boto3 is loaded only where it is needed."""

from gateway.adapters.measures import Gauges
from gateway.backends.aws import aws_session
from gateway.config import Config
from gateway.events import Bus
from gateway.ledger.store import Ledger
from gateway.ledger.watched import switch_watch

from .worker import WatchWorker


def watch_worker(config: Config, ledger: Ledger, bus: Bus) -> WatchWorker | None:
    """Tell the ledger whether it is watched, and make the worker that does so; None where nobody watches.

    Raises
    ------
    ConfigError
        What it needs is not installed.
    """
    gauges = _open(config)
    switch_watch(ledger, is_on=gauges is not None)
    return WatchWorker(ledger, bus, gauges, config.watch.every_s) if gauges is not None else None


def _open(config: Config) -> Gauges | None:
    if config.watch.backend == "none":
        return None
    session = aws_session(config, "watch.backend = 'cloudwatch'")
    from gateway.adapters.aws.cloudwatch import CloudWatchGauges

    return CloudWatchGauges(session.cloudwatch(), config.watch.namespace, config.site.name)
