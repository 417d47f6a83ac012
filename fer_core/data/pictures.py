"""Encoded pictures (JPEG, PNG, ...) -> faces, several at a time."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_core.preprocess import FACE_SIZE, to_face

# What Pillow raises for bytes that are no picture, or a damaged one.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # Pillow would run programs of others for EPS
_THREADS = 4  # Pillow decodes outside the interpreter's lock

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Faces:
    """Decoded pictures: images uint8 (N, 48, 48); `broken` maps the position of each one that failed to the reason."""

    images: np.ndarray
    resized: int = 0
    recoloured: int = 0
    broken: dict[int, str] = field(default_factory=dict)


def decode_all(pictures: Sequence[bytes | Path | None]) -> Faces:
    """Encoded pictures, or files of them -> faces, brought to 48x48 gray; a broken one stays black and is noted."""
    faces = Faces(np.zeros((len(pictures), FACE_SIZE, FACE_SIZE), np.uint8))
    for i, picture in enumerate(pictures):
        try:
            encoded = picture.read_bytes() if isinstance(picture, Path) else picture
            if not encoded:
                faces.broken[i] = "the picture is empty"
                continue
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                faces.images[i] = to_face(ImageOps.exif_transpose(image))
                faces.resized += image.size != (FACE_SIZE, FACE_SIZE)
                faces.recoloured += image.mode != "L"
        except BROKEN as error:
            faces.broken[i] = f"not a picture that can be read ({first_words(error)})"
    return faces


def first_words(error: Exception) -> str:
    """The library's reason, short and without the addresses of its objects."""
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error).partition("\n")[0]


def in_threads(work: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
    """`map` over a few threads that keeps the order and takes only a few jobs ahead: memory stays bounded."""
    remaining = iter(jobs)
    with ThreadPoolExecutor(_THREADS) as pool:
        running = [pool.submit(work, job) for job in islice(remaining, 2 * _THREADS)]
        while running:
            yield running.pop(0).result()
            running += [pool.submit(work, job) for job in islice(remaining, 1)]
