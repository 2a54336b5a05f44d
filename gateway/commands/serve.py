"""The command `iris serve`: the gateway itself."""

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .console import ConfigOption, fail, is_expected, out, plain_errors


def serve(config: ConfigOption = None) -> None:
    """Run the gateway until it is told to stop (SIGTERM or Ctrl-C)."""
    gc.disable()  # nothing becomes garbage while all is loaded, and to look for it takes a fifth of the time
    from gateway.config import load_config
    from gateway.listener.door.port import open_port

    with plain_errors():
        settings = load_config(config)
        # At once: who sends while the rest is loaded waits for a second, and is not turned away.
        dicom_port = open_port(settings.dicom.host, settings.dicom.port)
        from gateway.app import App
        from gateway.configured import warnings_about
        from gateway.delivery.carriers.catalogue import carriers_of
        from gateway.logs import configure_logging
        from gateway.quiet_python import quieten_python
        from gateway.workers.stopping import asked_to_stop, end_at_once

        configure_logging()
        quieten_python()
        with _damage_said(settings.data_dir):
            gateway = App(settings)
        stop = asked_to_stop()
        try:
            with _damage_said(settings.data_dir):
                gateway.start(dicom_port)
            gc.freeze()
            gc.enable()
            host, port = gateway.listener.address
            out.print(f"DICOM listener: {settings.dicom.ae_title}@{host}:{port}")
            if tls := gateway.listener.tls_address:
                out.print(f"DICOM by TLS:   {settings.dicom.ae_title}@{tls[0]}:{tls[1]}")
            out.print(f"Data directory: {settings.data_dir}")
            for destination, carrier in carriers_of(settings):
                out.print(f"Destination:    {destination.name} ({carrier})")
            for warning in warnings_about(settings):
                out.print(f"Warning:        {warning}")
            page = gateway.page_address
            if "?code=" in page:
                out.print(
                    "Signing in:     by the page's address once, within ten minutes; or by `iris token code`"
                )
            out.print(f"Status page:    {page}")
            stop.wait()
        finally:
            hanging = gateway.stop()
        end_at_once(hanging)


@contextmanager
def _damage_said(data_dir: Path) -> Iterator[None]:
    """Of an error that nobody foresaw, say the damage to the ledger, where it is damaged: what is read of it
    may be anything.
    """
    try:
        yield
    except Exception as error:
        from gateway.files.names import LEDGER_NAME
        from gateway.ledger.soundness import damage_in, damage_sentence

        if is_expected(error):
            raise
        with suppress(OSError, sqlite3.Error):
            if findings := damage_in(data_dir / LEDGER_NAME):
                fail(damage_sentence(findings[0]))
        raise
