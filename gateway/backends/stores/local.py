"""The object store `local`: a folder of the data directory."""

from gateway.adapters.folder import FolderStore
from gateway.config import Config

from . import OpenedStore


def open_local(config: Config) -> OpenedStore:
    """Open the folder."""
    return OpenedStore(FolderStore(config.data_dir / "objects"))
