"""Where job folders lie: the store that is configured, and what follows from it for the parts that use it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batch_job.contract import MANIFEST_NAME, ContractError, Manifest
from gateway.adapters.objects import ObjectStore, job_object
from gateway.adapters.subprocess_queue import SubprocessQueue
from gateway.config import Config
from gateway.config.outputs import OUTPUTS, files_of

from .stores import OpenedStore

OF_OUTPUTS: Final = frozenset(files_of(OUTPUTS))
"""Made here of a job's result: no manifest names them."""


@dataclass(frozen=True)
class JobFolderFiles:
    """Where the API finds the files of a job: where its manifest says, or what was made of its result."""

    objects: ObjectStore

    def located(self, job_key: str, name: str) -> Path | str | None:
        """The file or its URL, or None where it is not there (yet): without a manifest there is no result."""
        content = self.objects.get(job_object(job_key, MANIFEST_NAME))
        try:
            manifest = Manifest.from_json(content) if content is not None else None
            if manifest is None:
                return None
            where = name if name in OF_OUTPUTS else manifest.where(name)
        except (ContractError, KeyError):
            return None
        return self.objects.located(job_object(job_key, where))


def kept_here(config: Config) -> frozenset[str]:
    """The rules whose images may not go where job folders lie."""
    if not config.leaves_site:
        return frozenset()
    return frozenset(rule.name for rule in config.rule if rule.leave_site is not True)


def local_queue(config: Config, objects: ObjectStore, variables: Mapping[str, str]) -> SubprocessQueue:
    """The queue on this machine, whose jobs work in that store; `variables` let them reach it."""
    return SubprocessQueue(
        config.queue.workers,
        read=lambda ticket, name: objects.get(job_object(ticket.job_key, name)),
        environment={**config.engine.settings.variables(), **variables},
        keep_warm_s=config.queue.keep_warm_s,
    )


def begin_to_sweep(store: OpenedStore) -> None:
    """Clear away what uploads left that nobody will complete, while everything else starts."""
    if store.sweep is not None:
        threading.Thread(target=store.sweep, name="sweep-objects", daemon=True).start()
