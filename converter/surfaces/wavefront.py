"""Surfaces as a Wavefront OBJ file with its MTL: points in RAS mm, a group and a material a structure."""

import re
from collections.abc import Sequence

import numpy as np

from .parts import Surface


def obj(surfaces: Sequence[Surface], materials: str) -> str:
    """The OBJ file.

    Parameters
    ----------
    materials
        The name of the MTL file that lies beside it.
    """
    lines = ["# IRIS Gateway. For research use only. RAS, mm", f"mtllib {materials}"]
    before = 1  # points are counted from 1, through the whole file
    for surface in surfaces:
        name, mesh = _word(surface.part.name), surface.mesh
        lines += [f"o {name}", f"g {name}", f"usemtl {name}"]
        lines += [f"v {x:.3f} {y:.3f} {z:.3f}" for x, y, z in mesh.points.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.triangles.astype(np.int64) + before).tolist()]
        before += len(mesh.points)
    return "\n".join([*lines, ""])


def mtl(surfaces: Sequence[Surface]) -> str:
    """The MTL file."""
    lines = ["# IRIS Gateway"]
    for part in (surface.part for surface in surfaces):
        red, green, blue = (channel / 255 for channel in part.rgb)
        lines += [f"newmtl {_word(part.name)}", f"Kd {red:.4f} {green:.4f} {blue:.4f}"]
        lines += ["Ka 0 0 0", "Ks 0.1 0.1 0.1", "Ns 20", "d 1", "illum 2"]
    return "\n".join([*lines, ""])


def _word(name: str) -> str:
    """A name without what would end it in these files."""
    return re.sub(r"[^\w.+-]+", "_", name)
