"""Pose and framing: from the head's own coordinates to a picture's columns and rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.render_demo_faces.geometry import rotation

# FER2013's crop is a square of this many heights of a face detector's box, on the box's centre.
CROP_OF_BOX = 0.97
# The detector's box against the bounds of `Model.face_vertices`: its height in theirs, its centre's offset downwards.
# Measured with RetinaFace on rendered crops, so that its boxes fill them as they fill FER2013's.
BOX_HEIGHT, BOX_DOWN = 0.905, -0.06


@dataclass(frozen=True)
class Framing:
    """Angles in degrees; the crop's side in units of the usual one; the face's shift in parts of the crop's side."""

    yaw: float
    pitch: float
    roll: float
    side: float = 1.0
    right: float = 0.0
    down: float = 0.0
    distance: float = 12.0  # decimetres from the camera to the head


def draw_framing(rng: np.random.Generator) -> Framing:
    """As FER2013 frames faces: mostly from the front, some far to the side; tilt 12 degrees, scale 15 %, shift 5 %."""
    return Framing(
        yaw=float(np.clip(rng.normal(0, 18), -50, 50)),
        pitch=float(np.clip(rng.normal(2, 8), -22, 24)),
        roll=float(np.clip(rng.normal(0, 12), -32, 32)),
        side=float(rng.uniform(0.85, 1.15)),
        right=float(rng.uniform(-0.05, 0.05)),
        down=float(rng.uniform(-0.05, 0.05)),
        distance=float(rng.uniform(8, 16)),
    )


@dataclass(frozen=True)
class Box:
    """A face's box in a picture, in pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Camera:
    """A pinhole on the z axis. `turned` carries the head's coordinates over to the camera's; depth grows towards it."""

    rotation: np.ndarray
    pivot: np.ndarray
    distance: float
    scale: float  # pixels a decimetre, in the pivot's plane
    column: float
    row: float

    def turned(self, points: np.ndarray) -> np.ndarray:
        return np.asarray((points - self.pivot) @ self.rotation.T)

    def projected(self, points: np.ndarray) -> np.ndarray:
        """Turned points (..., 3) -> column, row, depth."""
        shrink = self.scale * self.distance / (self.distance - points[..., 2])
        column, row = self.column + shrink * points[..., 0], self.row - shrink * points[..., 1]
        return np.stack([column, row, points[..., 2]], axis=-1)

    def lifted(self, columns: np.ndarray, rows: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """The inverse of `projected`."""
        grow = (self.distance - depth) / (self.scale * self.distance)
        return np.stack([(columns - self.column) * grow, (self.row - rows) * grow, depth], axis=-1)


def detector_box(columns: np.ndarray, rows: np.ndarray) -> Box:
    """The box that a face detector draws around projected `Model.face_vertices`."""
    height, width = float(np.ptp(rows)), float(np.ptp(columns))
    centre = float(rows.min()) + height / 2 + BOX_DOWN * height
    return Box(float(columns.min()), centre - BOX_HEIGHT * height / 2, width, BOX_HEIGHT * height)


def aim(face: np.ndarray, framing: Framing, box_height: float, column: float, row: float) -> tuple[Camera, Box]:
    """Shows the face (N, 3) with a detector's box this many pixels high, centred at (column, row)."""
    pivot = face.mean(0) - np.array([0, 0, 0.6])
    turn = rotation(framing.yaw, framing.pitch, framing.roll)
    first = Camera(turn, pivot, framing.distance, 1.0, 0.0, 0.0)
    columns, rows, _ = first.projected(first.turned(face)).T
    box = detector_box(columns, rows)
    scale = box_height / box.height
    left, top = column - scale * box.width / 2, row - box_height / 2
    camera = Camera(turn, pivot, framing.distance, scale, left - scale * box.left, top - scale * box.top)
    return camera, Box(left, top, scale * box.width, box_height)


def aim_crop(face: np.ndarray, framing: Framing, size: int) -> tuple[Camera, Box]:
    """The camera for a square crop of `size` pixels, framed as FER2013's."""
    box_height = size / (CROP_OF_BOX * framing.side)
    centre = (size - 1) / 2
    return aim(face, framing, box_height, centre + framing.right * size, centre + framing.down * size)
