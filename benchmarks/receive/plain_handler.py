"""What pynetdicom's documentation leads to: a handler that saves each data set. No fsync, no checks.

Run as `python -m benchmarks.receive.plain_handler PORT FOLDER`.
"""

import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.events import Event


def main(port: int, folder: Path) -> None:
    """Listen until the process is ended."""

    def store(event: Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    _config.LOG_HANDLER_LEVEL = "none"
    entity = AE("PLAIN")
    entity.supported_contexts = AllStoragePresentationContexts
    entity.maximum_associations = 32
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
