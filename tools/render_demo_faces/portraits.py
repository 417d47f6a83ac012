"""A few pictures as people take them: one head or several, for the photo page and its tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tools.render_demo_faces.camera import Box, Framing
from tools.render_demo_faces.expressions import draw_expression
from tools.render_demo_faces.identity import draw_person
from tools.render_demo_faces.picture import Sitter, as_bytes, scene, shrunk
from tools.render_demo_faces.render import Studio
from tools.render_demo_faces.shading import Light

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Seat:
    """Who sits where: the face's height and centre in pixels of the finished picture, angles in degrees."""

    person: int
    emotion: str
    height: float
    column: float
    row: float
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


# People are numbered from 10,000 on: none of them is in the data set.
PORTRAITS: dict[str, tuple[tuple[int, int], list[Seat]]] = {
    "happy.jpg": ((512, 448), [Seat(10_017, "Happy", 230, 224, 225, yaw=-14, roll=5)]),
    "surprise.jpg": ((512, 448), [Seat(10_016, "Surprise", 230, 224, 225, yaw=10, pitch=-4)]),
    "angry.jpg": ((512, 448), [Seat(10_020, "Angry", 230, 224, 225, yaw=16, pitch=6, roll=-4)]),
    "two.jpg": (
        (480, 640),
        [Seat(10_004, "Sad", 190, 180, 230, yaw=14, pitch=8, roll=7), Seat(10_029, "Neutral", 200, 455, 225, yaw=-12)],
    ),
    "group.jpg": (
        (540, 960),
        [
            Seat(10_007, "Happy", 148, 110, 270, yaw=14, roll=-4),
            Seat(10_013, "Surprise", 144, 300, 215, yaw=4),
            Seat(10_015, "Disgust", 150, 478, 285, yaw=-10, roll=8),
            Seat(10_024, "Fear", 146, 660, 210, yaw=-6, roll=-3),
            Seat(10_027, "Happy", 149, 845, 275, yaw=-20, roll=6),
        ],
    ),
}


def render_portrait(studio: Studio, name: str, seed: int) -> tuple[np.ndarray, list[Box]]:
    """A portrait of PORTRAITS -> uint8 (rows, columns, 3) and each face's box."""
    (rows, columns), seats = PORTRAITS[name]
    k = SUPERSAMPLING
    rng = np.random.default_rng([seed, *name.encode()])
    sitters = []
    for seat in seats:
        person = draw_person(np.random.default_rng([seed, seat.person]), studio.model.head.targets)
        expression = draw_expression(np.random.default_rng([seed, seat.person, 1]), seat.emotion, 1.0)
        framing = Framing(seat.yaw, seat.pitch, seat.roll, distance=16)
        sitters.append(Sitter(person, expression, framing, k * seat.height, k * seat.column, k * seat.row))
    picture, boxes = scene(studio, sitters, _SOFT, (k * rows, k * columns), rng)
    return as_bytes(shrunk(picture, k)), [Box(b.left / k, b.top / k, b.width / k, b.height / k) for b in boxes]


def write_portraits(studio: Studio, folder: Path, seed: int) -> None:
    """The JPEG files, and `portraits.json`: for each, where the faces are and what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = {}
    for name, (_, seats) in PORTRAITS.items():
        picture, boxes = render_portrait(studio, name, seed)
        Image.fromarray(picture).save(folder / name, quality=88, optimize=True)
        faces[name] = [
            {"emotion": seat.emotion, **{side: round(value, 1) for side, value in vars(box).items()}}
            for seat, box in zip(seats, boxes, strict=True)
        ]
    (folder / "portraits.json").write_text(json.dumps(faces, indent=1) + "\n", encoding="utf-8")


_SOFT = Light(
    key_way=np.array([0.45, 0.45, 0.77]),
    key=np.array([1.05, 1.0, 0.94]),
    fill_way=np.array([-0.7, 0.1, 0.7]),
    fill=0.3,
    around=0.32,
    gloss=0.09,
    brightness=0.24,
)
