"""Every kind of receiver with what tells it.

A further one is a table in `config/notify.py`, a receiver in a file of its own, and a line here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.config import Config
from gateway.config.notify import Mail, Smtp, Webhook

from .receiver import Receiver


def _webhook(to: Webhook, _: Smtp) -> Receiver:
    from .webhook import WebhookReceiver  # late: who has none loads no HTTP client at start

    return WebhookReceiver(to)


def _mail(to: Mail, smtp: Smtp) -> Receiver:
    from .mail import MailReceiver

    return MailReceiver(to, smtp)


RECEIVERS: Final[Mapping[type, Callable[[Any, Smtp], Receiver]]] = {Webhook: _webhook, Mail: _mail}
"""By its table of the configuration."""


def receivers_of(config: Config) -> list[tuple[Webhook | Mail, Receiver]]:
    """Everybody who is to be told something; see `receiver_of`."""
    return [(to, receiver_of(config, to)) for to in config.notify.receivers]


def receiver_of(config: Config, to: Webhook | Mail) -> Receiver:
    """What tells one of them.

    Raises
    ------
    TlsError
        Certificates or keys for it cannot be used.
    """
    return RECEIVERS[type(to)](to, config.notify.smtp)
