"""Surfaces as a GLB file: glTF 2.0 in one binary file.

Points are RAS mm as everywhere here; the root node turns them into glTF's space, in metres with y up and the
patient's front towards +z, so that viewers show the patient upright.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from .parts import Surface

GENERATOR: Final = "IRIS Gateway"
FLOAT: Final = 5126
UNSIGNED_INT: Final = 5125
VERTICES: Final = 34962
INDICES: Final = 34963
MM_TO_GLTF: Final = [-0.001, 0, 0, 0, 0, 0, 0.001, 0, 0, 0.001, 0, 0, 0, 0, 0, 1]
"""Column by column: right is -x, anterior is z, superior is y."""
_MAGIC, _VERSION, _JSON, _BINARY = 0x46546C67, 2, 0x4E4F534A, 0x004E4942


def glb(surfaces: Sequence[Surface]) -> bytes:
    """The file; the same surfaces give the same bytes."""
    scene = _Scene()
    for number, surface in enumerate(surfaces):
        scene.add(number, surface)
    return scene.content()


class _Scene:
    """A glTF document and its one buffer."""

    def __init__(self) -> None:
        self._binary = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._nodes: list[dict[str, Any]] = [{"name": "patient", "matrix": MM_TO_GLTF, "children": []}]

    def add(self, number: int, surface: Surface) -> None:
        """Add a node with a mesh and a material of its own."""
        part, mesh = surface.part, surface.mesh
        reach = {"min": mesh.points.min(axis=0).tolist(), "max": mesh.points.max(axis=0).tolist()}
        primitive = {
            "attributes": {
                "POSITION": self._accessor(mesh.points, FLOAT, VERTICES, reach),
                "NORMAL": self._accessor(mesh.normals, FLOAT, VERTICES),
            },
            "indices": self._accessor(mesh.triangles.reshape(-1, 1), UNSIGNED_INT, INDICES),
            "material": number,
        }
        self._meshes.append({"name": part.name, "primitives": [primitive]})
        self._materials.append(
            {
                "name": part.name,
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*map(_linear, part.rgb), 1],
                    "metallicFactor": 0,
                    "roughnessFactor": 0.6,
                },
            }
        )
        self._nodes[0]["children"].append(len(self._nodes))
        self._nodes.append({"name": part.name, "mesh": number, "extras": {"title": part.title}})

    def _accessor(
        self, values: NDArray[Any], component: int, target: int, reach: dict[str, Any] | None = None
    ) -> int:
        content = values.astype(values.dtype.newbyteorder("<")).tobytes()
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(content), "target": target}
        self._binary += content
        self._views.append(view)
        kind = {1: "SCALAR", 3: "VEC3"}[values.shape[1]]
        of = {"bufferView": len(self._views) - 1, "componentType": component, "count": len(values)}
        self._accessors.append({**of, "type": kind, **(reach or {})})
        return len(self._accessors) - 1

    def content(self) -> bytes:
        """Header, JSON and buffer."""
        document = {
            "asset": {"version": "2.0", "generator": GENERATOR},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": self._nodes,
            "meshes": self._meshes,
            "materials": self._materials,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = _chunk(_JSON, text) + _chunk(_BINARY, bytes(self._binary))
        return _words(_MAGIC, _VERSION, 12 + len(chunks)) + chunks


def _chunk(kind: int, content: bytes) -> bytes:
    return _words(len(content), kind) + content


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def _linear(channel: int) -> float:
    """A channel of sRGB as glTF wants it (IEC 61966-2-1)."""
    share = channel / 255
    return round(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4, 6)
