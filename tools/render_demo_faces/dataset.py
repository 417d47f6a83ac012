"""The data set: every person shows every emotion once, each time in another pose and light."""

from __future__ import annotations

import io
import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from fer_core.labels import EMOTIONS
from fer_core.preprocess import FACE_SIZE
from tools.render_demo_faces.assets import Head
from tools.render_demo_faces.camera import Framing, draw_framing
from tools.render_demo_faces.expressions import Expression, draw_expression
from tools.render_demo_faces.identity import draw_person
from tools.render_demo_faces.model import Model
from tools.render_demo_faces.picture import as_bytes, as_fer2013, crop, shrunk
from tools.render_demo_faces.render import Studio
from tools.render_demo_faces.shading import draw_light

SUPERSAMPLING = 4  # a face is rendered this many times larger than it ships
_USAGE = (("Training", 0.7), ("PublicTest", 0.15), ("PrivateTest", 0.15))  # FER2013's names of the splits
_NUMBERS = ("intensity", "yaw", "pitch", "roll")


@dataclass(frozen=True)
class Face:
    """A rendered face. picture: float (size, size, 3); image: what of it ships, uint8 (48, 48)."""

    expression: Expression
    framing: Framing
    picture: np.ndarray
    image: np.ndarray


def faces_of(studio: Studio, seed: int, identity: int, size: int = FACE_SIZE * SUPERSAMPLING) -> list[Face]:
    """The seven faces of one person; they depend on nothing but the seed, the identity's number and the size."""
    person = draw_person(np.random.default_rng([seed, identity]), studio.model.head.targets)
    faces = []
    for label, emotion in enumerate(EMOTIONS):
        rng = np.random.default_rng([seed, identity, label])
        expression, framing, light = draw_expression(rng, emotion), draw_framing(rng), draw_light(rng)
        picture = crop(studio, person, expression, framing, light, size, rng)
        faces.append(Face(expression, framing, picture, as_fer2013(picture, rng)))
    return faces


def usage_of(identity: int, identities: int) -> str:
    """The split of an identity, so that nobody is in two: the first 70 % train, then 15 % and 15 %."""
    place = (identity + 0.5) / identities
    for usage, share in _USAGE:
        place -= share
        if place < 0:
            return usage
    return _USAGE[-1][0]


def rows_of(faces: list[Face], identity: int, usage: str) -> list[dict[str, object]]:
    """A person's rows of the table."""
    return [
        {
            "image": {"bytes": _png(face.image), "path": f"{identity:03d}-{face.expression.emotion.lower()}.png"},
            "emotion": EMOTIONS.index(face.expression.emotion),
            "usage": usage,
            "identity": identity,
            "intensity": face.expression.intensity,
            "yaw": face.framing.yaw,
            "pitch": face.framing.pitch,
            "roll": face.framing.roll,
        }
        for face in faces
    ]


def schema() -> pa.Schema:
    """The columns, and what Hugging Face's `datasets` wants to know of them: a number's emotion among it."""
    features: dict[str, object] = {
        "image": {"_type": "Image"},
        "emotion": {"names": list(EMOTIONS), "_type": "ClassLabel"},
        "usage": {"dtype": "string", "_type": "Value"},
        "identity": {"dtype": "int16", "_type": "Value"},
        **{name: {"dtype": "float32", "_type": "Value"} for name in _NUMBERS},
    }
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("emotion", pa.int8()),
        ("usage", pa.string()),
        ("identity", pa.int16()),
        *((name, pa.float32()) for name in _NUMBERS),
    ]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def write_dataset(head: Head, file: Path, identities: int, seed: int, workers: int) -> None:
    """Renders everybody, shows progress, and puts the Parquet file in place when it is whole."""
    rows: list[dict[str, object]] = []
    for identity, faces in enumerate(tqdm(_everybody(head, identities, seed, workers), "People", identities)):
        rows += rows_of(faces, identity, usage_of(identity, identities))
    beside = file.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, schema()), beside, compression="zstd", row_group_size=len(EMOTIONS) * 100)
    beside.replace(file)


def write_sheet(studio: Studio, file: Path, people: list[int], seed: int, large: int) -> None:
    """A picture of these people, a row each, as they ship (48 px) and, the first `large` of them, at 192 px."""
    size = FACE_SIZE * SUPERSAMPLING
    rows = []
    for person in people[:large]:
        faces = faces_of(studio, seed, person, 2 * size)
        rows.append(np.concatenate([as_bytes(shrunk(face.picture, 2)) for face in faces], axis=1))
    small = [np.concatenate([face.image for face in faces_of(studio, seed, person)], axis=1) for person in people]
    for start in range(0, len(small), SUPERSAMPLING):
        row = np.concatenate(small[start : start + SUPERSAMPLING], axis=1)
        rows.append(np.repeat(row[..., None], 3, axis=2))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def _everybody(head: Head, identities: int, seed: int, workers: int) -> Iterator[list[Face]]:
    with multiprocessing.Pool(workers, _open_studio, (head,)) as pool:
        yield from pool.imap(partial(_in_studio, seed), range(identities))


_studio: Studio  # of a worker process


def _open_studio(head: Head) -> None:
    global _studio
    _studio = Studio(Model(head))


def _in_studio(seed: int, identity: int) -> list[Face]:
    return faces_of(_studio, seed, identity)


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()
