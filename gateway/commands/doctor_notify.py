"""What `iris doctor` and `iris notify test` say of those who are told what happens."""

from collections.abc import Callable, Iterator
from functools import partial

from gateway.adapters.checks import Check, Verdict
from gateway.adapters.errors import OutsideError
from gateway.adapters.tls import TlsError
from gateway.config import Config
from gateway.config.notify import Mail, Webhook
from gateway.files.names import LEDGER_NAME
from gateway.ledger.messages import MessageState, last_message
from gateway.ledger.store import Ledger, LedgerError
from gateway.notify.message import Message, trial_message
from gateway.notify.receivers.catalogue import receiver_of
from gateway.notify.receivers.receiver import Receiver


def examine_notify(config: Config, *, running: bool) -> Iterator[Check]:
    """Whether each can be told, and what became of its last message; a running gateway says that itself."""
    for to in config.notify.receivers:
        yield _found(config, to, lambda by: by.check())
        if not running:
            yield from _last(config, to)


def tell_all_a_test(config: Config) -> Iterator[Check]:
    """Send each a message that tells of nothing."""
    if not config.notify.receivers:
        yield Check("notify", Verdict.FAILED, "nobody is told anything", "name somebody under [notify]")
    for to in config.notify.receivers:
        yield _found(config, to, partial(_told, trial_message(config.site, to.on)))


def _told(message: Message, by: Receiver) -> str:
    by.tell(message)
    return f"took the message {message.key}"


def _found(config: Config, to: Webhook | Mail, ask: Callable[[Receiver], str]) -> Check:
    try:
        return Check(to.receiver, Verdict.OK, ask(receiver_of(config, to)))
    except (OutsideError, TlsError) as error:
        finding, _, fix = str(error).partition("; ")
        return Check(to.receiver, Verdict.FAILED, finding, fix or "correct it under [notify]")


def _last(config: Config, to: Webhook | Mail) -> Iterator[Check]:
    """What became of its last message; where the gateway never ran there is none."""
    try:
        with Ledger(config.data_dir / LEDGER_NAME, read_only=True) as ledger:
            last = last_message(ledger, to.receiver)
    except (LedgerError, OSError):  # said already
        return
    if last is None or last.state is MessageState.SENT or not last.reason:
        return
    finding, _, fix = last.reason.partition("; ")
    became = "was given up" if last.state is MessageState.FAILED else f"waits after {last.attempts} tries"
    yield Check(to.receiver, Verdict.FAILED, f"the message of {last.made_at} {became}: {finding}", fix)
