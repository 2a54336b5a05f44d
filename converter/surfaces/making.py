"""Makes the files of surfaces of a label map, in a process of its own.

Marching cubes and decimation hold Python's lock for seconds: whoever receives images meanwhile would stand
still. And their memory goes back to the system with the process.
"""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from converter.errors import ConversionFailed
from converter.nifti.label_reader import read_labels
from converter.terminology import Structure

GLB_NAME: Final = "surface.glb"
OBJ_NAME: Final = "surface.obj"
MTL_NAME: Final = "surface.mtl"
_REQUEST_NAME: Final = "surface-request.json"
_MADE_NAME: Final = "surface-made.json"
LONGEST_S: Final = 900.0
EXIT_OF_ERRNO: Final = 64
"""The process ends with this plus the system's number of an error."""
OUT_OF_MEMORY: Final = (-signal.SIGKILL, EXIT_OF_ERRNO + errno.ENOMEM)
"""How it ends for which there is no memory: killed by the system, or by itself."""


def make_surfaces(labels: Path, structures: Mapping[int, Structure], folder: Path) -> Mapping[int, int]:
    """Write `surface.glb`, `surface.obj` and `surface.mtl` into a folder; equal labels give equal bytes.

    Parameters
    ----------
    labels
        A label map, NIfTI.
    structures
        What is made of it, by label value.

    Returns
    -------
    Mapping
        How many triangles each structure that occurs has, by label value.

    Raises
    ------
    ConversionFailed
        It takes too long, or its process crashed.
    OSError, MemoryError
    """
    parts = {value: [each.name, each.words, each.rgb] for value, each in structures.items()}
    request = folder / _REQUEST_NAME
    request.write_text(json.dumps({"labels": str(labels.absolute()), "parts": parts}))
    command = [sys.executable, "-m", "converter.surfaces.making", str(request.absolute())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = subprocess.DEVNULL
    try:
        ended = subprocess.run(
            command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConversionFailed(f"the surfaces were not made in {LONGEST_S / 60:.0f} minutes; retry") from None
    _require_success(ended.returncode)
    made = json.loads((folder / _MADE_NAME).read_text())
    return {int(value): int(triangles) for value, triangles in made.items()}


def _require_success(code: int) -> None:
    if code in OUT_OF_MEMORY:
        raise MemoryError("the process that makes surfaces was ended for want of memory")
    if code > EXIT_OF_ERRNO:
        raise OSError(code - EXIT_OF_ERRNO, os.strerror(code - EXIT_OF_ERRNO))
    if code != 0:
        raise ConversionFailed(f"the process that makes surfaces ended with {code}; retry the job")


def _make(request: Path) -> None:
    """What the process does."""
    # Loaded here alone: they take a second, and whoever asks needs none of them.
    from .gltf import glb
    from .parts import Part, surfaces_of
    from .wavefront import mtl, obj

    asked = json.loads(request.read_text())
    parts = {
        int(value): Part(name, title, (rgb[0], rgb[1], rgb[2]))
        for value, (name, title, rgb) in asked["parts"].items()
    }
    labels, affine_ras = read_labels(Path(asked["labels"]))
    surfaces = dict(surfaces_of(labels, affine_ras, parts))
    folder, found = request.parent, list(surfaces.values())
    (folder / GLB_NAME).write_bytes(glb(found))
    (folder / OBJ_NAME).write_text(obj(found, MTL_NAME))
    (folder / MTL_NAME).write_text(mtl(found))
    made = {value: len(surface.mesh.triangles) for value, surface in surfaces.items()}
    (folder / _MADE_NAME).write_text(json.dumps(made))


if __name__ == "__main__":
    try:
        _make(Path(sys.argv[1]))
    except MemoryError:
        sys.exit(EXIT_OF_ERRNO + errno.ENOMEM)
    except OSError as error:
        if error.errno is None:  # a library's own
            raise
        sys.exit(EXIT_OF_ERRNO + error.errno)
