"""One run of a job: fetch, load, segment, measure, preview, save, upload; the manifest last."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .address import open_place
from .checkpoints import PlaceCheckpoints, identity_of_work
from .contract import (
    LABELS_NAME,
    PREVIEW_NAME,
    STATISTICS_NAME,
    ContractError,
    Flag,
    JobRequest,
    Manifest,
    canonical_options,
    engine_facts,
    task_facts,
)
from .ec2_metadata import machine_type
                segmented = shared.engines.segment(request.engine, work)
            yield
