"""Surfaces: where they are, that they are closed, and the files that hold them."""

import errno
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from converter.errors import ConversionFailed
from converter.nifti.file import write_labels
from converter.surfaces.gltf import glb
from converter.surfaces.making import EXIT_OF_ERRNO, GLB_NAME, MTL_NAME, OBJ_NAME, make_surfaces
from converter.surfaces.mesh import Mesh, surface_of
from converter.surfaces.parts import FEWEST_TRIANGLES, Part, Surface, surfaces_of
from converter.surfaces.wavefront import mtl, obj
from converter.terminology import structure

LEFT_HANDED = np.array([[-0.75, 0.0, 0.0, 90.0], [0.0, 0.75, 0.0, -40.0], [0.0, 0.0, 2.5, 7.0], [0, 0, 0, 1]])
"""As dcm2niix makes it of an axial CT: i runs to the left."""
OBLIQUE = np.array([[0.6, -0.8, 0.0, 3.0], [0.8, 0.6, 0.0, 5.0], [0.0, 0.0, 1.0, -7.0], [0, 0, 0, 1]])


def ball(shape: tuple[int, int, int], centre: Sequence[float], radius: float) -> NDArray[np.bool_]:
    at = np.ogrid[tuple(slice(length) for length in shape)]
    reach = sum((one - middle) ** 2 for one, middle in zip(at, centre, strict=True))
    return np.asarray(reach <= radius**2)


def holes_of(mesh: Mesh) -> int:
    """How many edges are not passed as often in one direction as in the other: a closed surface has none."""
    triangles = mesh.triangles.astype(np.int64)
    start, end = triangles.ravel(), triangles[:, [1, 2, 0]].ravel()
    there, back = (one * len(mesh.points) + other for one, other in ((start, end), (end, start)))
    return int((np.sort(there) != np.sort(back)).sum())


def test_surface_of_a_ball_lies_within_half_a_voxel_and_encloses_its_volume() -> None:
    inside = ball((50, 50, 50), (24.5, 25.0, 24.0), 20.0)
    whole = surface_of(inside, np.eye(4), 1_000_000)
    fewer = surface_of(inside, np.eye(4), 2_000)
    for mesh in (whole, fewer):
        from_centre = np.linalg.norm(mesh.points - (24.5, 25.0, 24.0), axis=1)
        assert np.abs(from_centre - 20.0).max() < 0.87  # half a voxel's diagonal
        assert mesh.volume_mm3 == pytest.approx(inside.sum(), rel=0.02)
        assert holes_of(mesh) == 0
    assert len(fewer.triangles) <= 2_000 < len(whole.triangles)


@pytest.mark.parametrize("affine", [np.eye(4), LEFT_HANDED, OBLIQUE], ids=["RAS", "LAS", "oblique"])
def test_surface_is_where_the_affine_says_and_shows_its_outside(affine: NDArray[np.float64]) -> None:
    inside = ball((30, 30, 30), (8, 20, 15), 6.0)
    mesh = surface_of(inside, affine, 1_000)
    there = affine[:3, :3] @ (8, 20, 15) + affine[:3, 3]
    middle = (mesh.points.min(axis=0) + mesh.points.max(axis=0)) / 2
    assert middle == pytest.approx(there, abs=0.2)
    assert mesh.volume_mm3 == pytest.approx(inside.sum() * abs(np.linalg.det(affine)), rel=0.03)
    outward = mesh.points - there
    assert (np.einsum("ij,ij->i", mesh.normals, outward) > 0).all()
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_surface_of_what_is_thin_torn_or_at_the_border_is_closed_and_keeps_its_place() -> None:
    noise = np.random.default_rng(1).random((14, 14, 14)) < 0.3
    thin = np.zeros((20, 20, 20), bool)
    thin[2:18, 9, 10] = thin[0, :, 3] = True
    single = np.zeros((3, 3, 3), bool)
    single[1, 1, 1] = True
    for inside in (noise, thin, single, np.ones((4, 5, 6), bool)):
        mesh = surface_of(inside, np.eye(4), 1_000)
        assert holes_of(mesh) == 0
        far = ndimage.distance_transform_edt(~np.pad(inside, 2))
        nearest = np.rint(mesh.points).astype(int) + 2
        assert far[tuple(nearest.T)].max() < 2.0


def test_surface_whose_parts_touch_when_it_is_decimated_gets_a_few_triangles_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    other = np.array([[0, 1, 4], [0, 5, 1], [1, 5, 4], [5, 0, 4]])  # at the edge from 0 to 1, too
    made = [np.concatenate([one, other]), one]
    targets = []

    def simplify(points: Any, triangles: Any, *, target_count: int) -> Any:
        targets.append(target_count)
        return points[:6], made.pop(0).astype(np.int32)

    monkeypatch.setattr("converter.surfaces.mesh.fast_simplification.simplify", simplify)
    mesh = surface_of(ball((30, 30, 30), (15, 15, 15), 9.0), np.eye(4), 1_000)
    assert np.array_equal(mesh.triangles, one)
    assert targets == [1_000, 970]


def test_surfaces_keep_their_sides_and_share_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.surfaces.parts.MOST_TRIANGLES", 3_000)
    labels = np.zeros((80, 60, 40), np.uint8)
    labels[ball(labels.shape, (20, 30, 20), 14)] = 2  # i runs to the left: this one lies at the right
    labels[ball(labels.shape, (60, 30, 20), 14)] = 3
    labels[ball(labels.shape, (40, 50, 20), 5)] = 9
    parts = {value: Part(f"part {value}", f"Part {value}", (value, 0, 0)) for value in (2, 3, 9, 11)}
    found = dict(surfaces_of(labels, LEFT_HANDED, parts))
    assert list(found) == [2, 3, 9]
    right, left = (found[value].mesh.points[:, 0].mean() for value in (2, 3))
    assert left < 50 < right  # RAS: x grows to the patient's right
    assert sum(len(each.mesh.triangles) for each in found.values()) <= 3_000
    assert len(found[9].mesh.triangles) >= FEWEST_TRIANGLES
    for value, each in found.items():
        assert each.mesh.volume_mm3 == pytest.approx((labels == value).sum() * 0.75 * 0.75 * 2.5, rel=0.05)


def test_structure_with_too_large_a_border_is_read_more_coarsely_at_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.zeros((64, 64, 64), np.uint8)
    labels[ball(labels.shape, (30, 33, 31), 21)] = 1
    part = {1: Part("liver", "Liver", (1, 2, 3))}
    [(_, fine)] = surfaces_of(labels, LEFT_HANDED, part)
    monkeypatch.setattr("converter.surfaces.parts.MOST_FACES", 1_000)
    [(_, coarse)] = surfaces_of(labels, LEFT_HANDED, part)
    assert len(coarse.mesh.triangles) < len(fine.mesh.triangles)
    assert coarse.mesh.volume_mm3 == pytest.approx(fine.mesh.volume_mm3, rel=0.05)
    assert coarse.mesh.points.min(axis=0) == pytest.approx(fine.mesh.points.min(axis=0), abs=2.5)
    assert coarse.mesh.points.max(axis=0) == pytest.approx(fine.mesh.points.max(axis=0), abs=2.5)


@pytest.fixture
def two() -> list[Surface]:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:8, 2:8, 2:8], labels[12:15, 12:15, 12:15] = 1, 2
    parts = {1: Part("liver", "Liver", (255, 128, 0)), 2: Part("my own\npart", "My own part", (0, 0, 255))}
    return [surface for _, surface in surfaces_of(labels, OBLIQUE, parts)]


def read_glb(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the buffer, by the specification's lengths (glTF 2.0, 4.4)."""
    words = np.frombuffer(content[:12], "<u4")
    assert (bytes(content[:4]), words[1], words[2]) == (b"glTF", 2, len(content))
    length = int.from_bytes(content[12:16], "little")
    assert content[16:20] == b"JSON"
    assert length % 4 == 0
    rest = content[20 + length :]
    assert rest[4:8] == b"BIN\0"
    assert int.from_bytes(rest[:4], "little") == len(rest) - 8
    return json.loads(content[20 : 20 + length]), rest[8:]


def test_glb_has_a_node_with_name_colour_and_points_for_each_structure(two: list[Surface]) -> None:
    document, buffer = read_glb(glb(two))
    assert document["buffers"] == [{"byteLength": len(buffer)}]
    patient, *nodes = document["nodes"]
    assert patient["children"] == [1, 2]
    assert [node["name"] for node in nodes] == ["liver", "my own\npart"]
    for node, surface in zip(nodes, two, strict=True):
        primitive = document["meshes"][node["mesh"]]["primitives"][0]
        accessor = document["accessors"][primitive["attributes"]["POSITION"]]
        view = document["bufferViews"][accessor["bufferView"]]
        points = np.frombuffer(buffer, "<f4", 3 * accessor["count"], view["byteOffset"]).reshape(-1, 3)
        assert np.array_equal(points, surface.mesh.points)
        assert np.allclose(points.min(axis=0), accessor["min"])
        assert np.allclose(points.max(axis=0), accessor["max"])
        indices = document["accessors"][primitive["indices"]]
        assert indices["count"] == surface.mesh.triangles.size
        assert document["materials"][primitive["material"]]["name"] == surface.part.name
    matrix = np.reshape(patient["matrix"], (4, 4)).T  # glTF's are column by column
    assert (matrix @ (1000, 0, 0, 1))[:3] == pytest.approx((-1, 0, 0))  # right; the front is seen
    assert (matrix @ (0, 1000, 0, 1))[:3] == pytest.approx((0, 0, 1))
    assert (matrix @ (0, 0, 1000, 1))[:3] == pytest.approx((0, 1, 0))
    assert np.linalg.det(matrix[:3, :3]) > 0  # no mirror image
    assert document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] == [1.0, 0.215861, 0.0, 1]


def test_obj_counts_points_through_the_file_and_names_no_line_away(two: list[Surface]) -> None:
    lines = obj(two, "materials.mtl").splitlines()
    assert lines[1] == "mtllib materials.mtl"
    assert [line for line in lines if line.startswith(("o ", "usemtl "))] == [
        "o liver", "usemtl liver", "o my_own_part", "usemtl my_own_part",
    ]  # fmt: skip
    points = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    assert np.allclose(points, np.concatenate([each.mesh.points for each in two]), atol=6e-4)
    corners = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int)
    assert (corners.min(), corners.max()) == (1, len(points))
    assert "newmtl my_own_part\nKd 0.0000 0.0000 1.0000\n" in mtl(two)


@pytest.mark.usefixtures("quick_children")
def test_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[ball(labels.shape, (15, 15, 15), 9)] = 5
    write_labels(labels, OBLIQUE, tmp_path / "labels.nii.gz")
    made = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        triangles = make_surfaces(tmp_path / "labels.nii.gz", {5: structure("spleen")}, folder)
        assert list(triangles) == [5]
        made.append([(folder / each).read_bytes() for each in (GLB_NAME, OBJ_NAME, MTL_NAME)])
    assert made[0] == made[1]
    assert b"usemtl spleen" in made[0][1]


@pytest.mark.parametrize(
    ("code", "raised"),
    [(-9, MemoryError), (EXIT_OF_ERRNO + errno.ENOSPC, OSError), (-11, ConversionFailed)],
    ids=["killed", "no room", "crashed"],
)
def test_process_that_ends_otherwise_is_told_by_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception]
) -> None:
    program = tmp_path / "python"
    ending = f"kill {code} $$" if code < 0 else f"exit {code}"
    program.write_text(f"#!/bin/sh\n{ending}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(raised):
        make_surfaces(tmp_path / "labels.nii.gz", {}, tmp_path)


def test_process_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.surfaces.making.LONGEST_S", 0.0)
    with pytest.raises(ConversionFailed, match="not made in"):
        make_surfaces(tmp_path / "labels.nii.gz", {}, tmp_path)
