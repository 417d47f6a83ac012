"""The faces of one photo, and what a checkpoint says of them: as a table, and as marks on the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from fer_core.explain.pictures import Look
from fer_core.faces import Detector, Face, crop_faces, face_square, find_faces
from fer_core.labels import COLORS, EMOTIONS
from fer_core.marks import Box, Square, box_patches, label_patch, label_width, map_patch, paint

if TYPE_CHECKING:  # neither is needed to find faces
    from fer_core.data.photos import Photo

SHOWN = 1280  # pixels of the longer side of a photo that is kept to be shown


@dataclass(frozen=True)
class FoundFaces:
    """The faces of one photo, from left to right.

    name     the file's
    size     of the photo as it was read: width, height
    scale    pixels of the photo as it was read for one of the file: below 1 where it was shrunk
    notices  sentences on what was not used as it is
    faces    in pixels of the photo as it was read
    crops    uint8 (N, 48, 48), what a network sees
    shown    uint8 (h, w, 3), the photo at a size to be looked at, its longer side at most `SHOWN`
    """

    name: str
    size: tuple[int, int]
    scale: float
    notices: tuple[str, ...]
    faces: tuple[Face, ...]
    crops: np.ndarray
    shown: np.ndarray

    @property
    def zoom(self) -> float:
        """Pixels of `shown` for one of the photo as it was read."""
        return float(self.shown.shape[1] / self.size[0])

    def box(self, i: int) -> Box:
        """A face's box on `shown`."""
        left, top, right, bottom = (each * self.zoom for each in self.faces[i].box)
        return left, top, right, bottom

    def square(self, i: int) -> Square:
        """The square on `shown` that a face's crop was cut from."""
        left, top, side = (each * self.zoom for each in face_square(self.faces[i]))
        return left, top, side


def find_in_photo(photo: Photo, name: str, detector: Detector | None = None) -> FoundFaces:
    """Find and crop the faces of a photo; the default detector for None. The photo itself is not kept."""
    height, width = photo.rgb.shape[:2]
    faces = find_faces(photo.rgb, detector)
    shown = Image.fromarray(photo.rgb)
    shown.thumbnail((SHOWN, SHOWN), Image.Resampling.BOX)
    crops = crop_faces(photo.rgb, faces)
    return FoundFaces(name, (width, height), photo.scale, photo.notices, tuple(faces), crops, np.array(shown))


def face_table(found: FoundFaces, said: np.ndarray) -> pd.DataFrame:
    """A line a face: file, its number, the most probable emotion and all probabilities, float32 (N, 7), its box in
    pixels of the file, and how sure the detector is."""
    boxes = np.array([face.box for face in found.faces], float).reshape(-1, 4) / found.scale
    return pd.DataFrame(
        {
            "file": found.name,
            "face": np.arange(1, len(boxes) + 1),
            "emotion": [EMOTIONS[row.argmax()] for row in said],
            **{name: said[:, i].astype(float).round(4) for i, name in enumerate(EMOTIONS)},
            **{edge: boxes[:, i].round(1) for i, edge in enumerate(("left", "top", "right", "bottom"))},
            "detector_score": np.array([face.score for face in found.faces], float).round(4),
        }
    )


def marked_photo(
    found: FoundFaces,
    said: np.ndarray,
    chosen: int | None = None,
    maps: np.ndarray | None = None,
    look: Look | None = None,
    scale: float = 1.0,
) -> np.ndarray:
    """The photo with every face boxed and numbered, uint8 (h, w, 3).

    said    float32 (N, 7): colour and label of a box come from the most probable emotion
    chosen  the face whose box is drawn thicker
    maps    float32 (N, 48, 48), of which `part_of` was taken: laid over the faces as `look` says, `scale` at the end
    """
    picture = found.shown.copy()
    height, width = picture.shape[:2]
    size, thick = max(12, width // 34), max(1, width // 320)
    boxes = [found.box(i) for i in range(len(said))]
    best = said.argmax(axis=1).tolist()
    if maps is not None:
        paint(picture, [map_patch(found.square(i), values, look or Look(), scale) for i, values in enumerate(maps)])
    for i, (box, emotion) in enumerate(zip(boxes, best, strict=True)):
        paint(picture, box_patches(box, COLORS[EMOTIONS[emotion]], thick * (2 if i == chosen else 1)))
    texts = [f"{i} {EMOTIONS[emotion]}" for i, emotion in enumerate(best, 1)]
    with_shares = [f"{text} {100 * row.max():.0f}%" for text, row in zip(texts, said, strict=True)]
    if all(_fits(text, box, size) for text, box in zip(with_shares, boxes, strict=True)):
        texts = with_shares
    for i, (text, box) in enumerate(zip(texts, boxes, strict=True)):  # after all boxes, so that none crosses a label
        if _fits(text, box, size):
            label = label_patch(text, COLORS[EMOTIONS[best[i]]], box[:2], size, (width, height))
        else:  # the number alone, small on a small face
            letters = int(np.clip((box[3] - box[1]) / 2.5, 8, size))
            label = label_patch(str(i + 1), COLORS[EMOTIONS[best[i]]], box[:2], letters, (width, height))
        paint(picture, [label])
    return picture


def _fits(text: str, box: Box, size: int) -> bool:
    """Is there room for a text above a box? It may be a little wider."""
    return label_width(text, size) <= 1.25 * (box[2] - box[0])
