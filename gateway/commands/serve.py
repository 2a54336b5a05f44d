"""The command `iris serve`: the gateway itself."""

import signal
import threading

from .console import ConfigOption, out, plain_errors


def serve(config: ConfigOption = None) -> None:
    """Run the gateway until it is told to stop (SIGTERM or Ctrl-C)."""
    from gateway.config import load_config
    from gateway.logs import configure_logging

    configure_logging()
    with plain_errors():
        settings = load_config(config)
        from gateway.app import App, warnings_about  # late: it takes seconds, and the file may have a mistake

        gateway = App(settings)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            gateway.start()
            host, port = gateway.listener.address
            out.print(f"DICOM listener: {settings.dicom.ae_title}@{host}:{port}")
            out.print(f"Data directory: {settings.data_dir}")
            for destination in settings.destination:
                peer = f"{destination.ae_title}@{destination.host}:{destination.port}"
                out.print(f"Destination:    {destination.name} ({peer})")
            for warning in warnings_about(settings):
                out.print(f"Warning:        {warning}")
            out.print(f"Status page:    {gateway.page_address}")
            stop.wait()
        finally:
            gateway.stop()
