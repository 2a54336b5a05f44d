"""A program or a container image of one's own, as the configuration names it."""

import hashlib
import json
from pathlib import Path
from typing import Final

from batch_job.refusals import ModelError

from . import EngineFacts, TaskFacts
from .settings import EngineSettings

INPUT: Final = "{input}"
OUTPUT: Final = "{output}"
"""What the path of the image and of the folder for results are put for in the command."""
TASK: Final = "model"
MODALITY: Final = "CT"


def complete(facts: EngineFacts, settings: EngineSettings) -> EngineFacts:
    """The facts with its one task, whose labels only its results say.

    Raises
    ------
    ModelError
        Neither is named, or the command does not say where image and results go.
    """
    if not settings.command and not settings.image:
        raise ModelError("command is empty, and so is image; name one of them")
    words = arguments(settings)
    for place in (INPUT, OUTPUT):
        if not any(place in word for word in words):
            raise ModelError(
                f'command: none of its words has {place}, as in ["segment", "{INPUT}", "{OUTPUT}"]'
            )
    task = TaskFacts(modality=settings.modality or MODALITY, labels={})
    return facts.completed(settings.task or TASK, task, weights=program_name(settings))


def arguments(settings: EngineSettings) -> tuple[str, ...]:
    """The command; an image without one gets the two paths."""
    return settings.command or (INPUT, OUTPUT)


def program_name(settings: EngineSettings) -> str:
    """The name of the program or image, and a digest of how it is called; fit for a DICOM header."""
    called = settings.image.split("@")[0] or settings.command[0]
    whole = json.dumps([settings.image, *settings.command]).encode()
    return f"{Path(called).name} {hashlib.sha256(whole).hexdigest()[:12]}"
