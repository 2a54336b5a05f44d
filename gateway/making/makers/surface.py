"""The output surface: GLB, OBJ with MTL, and a list of what they show, as files of the job."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from batch_job.contract import LABELS_NAME
from converter.results.settings import WrittenObject
from converter.surfaces.making import GLB_NAME, MTL_NAME, OBJ_NAME, make_surfaces
from converter.terminology import Structure, structure
from gateway.config import Config

from . import Making

JSON_NAME: Final = "surface.json"


class SurfaceMaker:
    """Makes files, and no DICOM object."""

    def __init__(self, config: Config) -> None:
        """Nothing of it can be set."""

    def make(self, making: Making) -> tuple[WrittenObject, ...]:
        """Write them into the job's folder; the list comes last.

        Raises
        ------
        ConverterError, CannotGoOn, OSError, MemoryError, Retriable, Permanent
        """
        structures = {
            value: making.terms.structures.get(making.manifest.labels[value])
            or structure(making.manifest.labels[value])
            for value in making.labelled.values
        }
        labels = making.file_of_job(LABELS_NAME)
        triangles = make_surfaces(labels, structures, labels.parent)
        said = labels.with_name(JSON_NAME)
        said.write_text(json.dumps(_what_they_show(making, structures, triangles), indent=1))
        for name in (GLB_NAME, MTL_NAME, OBJ_NAME, JSON_NAME):
            making.keep_in_job(labels.with_name(name))
        return ()


def _what_they_show(
    making: Making, structures: Mapping[int, Structure], triangles: Mapping[int, int]
) -> dict[str, Any]:
    """Names, colours, figures and flags; nothing of the patient's header."""
    return {
        "version": 1,
        "task": making.job.task,
        "engine": making.manifest.engine.model_dump(),
        "space": "RAS",
        "unit": "mm",
        "structures": [
            _structure(making, value, each, triangles.get(value, 0)) for value, each in structures.items()
        ],
        "flags": [asdict(flag) for flag in making.flags],
    }


def _structure(making: Making, value: int, structure: Structure, triangles: int) -> dict[str, Any]:
    measured = making.labelled.measurements[value]
    red, green, blue = structure.rgb
    return {
        "label": value,
        "name": structure.name,
        "title": structure.words,
        "code": asdict(structure.type),
        "rgb": [red, green, blue],
        "color": f"#{red:02x}{green:02x}{blue:02x}",
        "volume_ml": measured.volume_ml,
        "mean_intensity": measured.mean,
        "std_intensity": measured.sd,
        "intensity_unit": measured.unit,
        "truncated": measured.is_truncated,
        "triangles": triangles,
        "flags": [flag.code for flag in making.labelled.flags_of(making.manifest.labels[value])],
    }
