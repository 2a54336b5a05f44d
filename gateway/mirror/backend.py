"""Opens the mirror that the configuration names; boto3 is loaded only for one that needs it."""

from gateway.adapters.mirror import Mirror
from gateway.backends.aws import aws_session
from gateway.backends.stores import open_store
from gateway.config import Config
from gateway.events import Bus
from gateway.ledger.outbox import switch_mirror
from gateway.ledger.store import Ledger

from .counting import CountsWorker
from .details import ConfiguredNames
from .items import Items
from .web_artifacts import WebArtifacts
from .web_client import WebClientMirror
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
    names, keep_days = ConfiguredNames.of(config), config.mirror.keep_days
    items = Items(ledger, config.site.name, names, keep_days, config.objects.prefix)
    return MirrorWorker(ledger, bus, mirror, items)


def counts_worker(config: Config, ledger: Ledger, bus: Bus) -> CountsWorker | None:
    """Make the worker that writes how much there is; None without a mirror.

    Raises
    ------
    ConfigError
        What it needs is not installed.
    """
    own = _own_table(config)
    return None if own is None else CountsWorker(ledger, bus, own, config.site.name)


def _open(config: Config) -> Mirror | None:
    own = _own_table(config)
    return _with_web_client(config, own) if own and config.mirror.is_for_web_client else own


def _own_table(config: Config) -> Mirror | None:
    if config.mirror.backend == "none":
        return None
    session = aws_session(config, "mirror.backend = 'dynamodb'")
    from gateway.adapters.aws.dynamodb import DynamoMirror

    return DynamoMirror(session.dynamodb(), config.mirror.table)


def _with_web_client(config: Config, own: Mirror) -> Mirror:
    from gateway.adapters.aws.dynamodb_web import WebTable

    at_root = config.objects.model_copy(update={"prefix": ""})
    jobs = open_store(config).objects
    web = open_store(config.model_copy(update={"objects": at_root})).objects
    session = aws_session(config, "mirror.layout = 'iris-web'")
    table = WebTable(session.dynamodb(), config.mirror.web_table)
    return WebClientMirror(own, table, WebArtifacts(jobs, web), config.mirror.web_user)
