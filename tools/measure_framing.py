"""How faces sit in 48-pixel crops, by a face detector: what the demo faces' framing was set and checked with.

    python -m tools.measure_framing fer_core/data/demo/demo_faces.parquet FER2013.parquet

The detector sees each crop enlarged four times, with its border pixels repeated around it.
"""

from __future__ import annotations

import sys

import numpy as np
from tqdm import tqdm

from fer_core.data import load_dataset
from fer_core.reference import find_in_crop

FACES = 700


def framing(image: np.ndarray) -> list[float] | None:
    """Box centre, box height, where eyes and mouth are, in pixels; tilt in degrees; turn of the nose."""
    face = find_in_crop(image)
    if face is None:
        return None
    right_eye, left_eye, nose = face.landmarks[:3]
    eyes, mouth = face.landmarks[:2].mean(0), face.landmarks[3:].mean(0)
    across = left_eye - right_eye
    return [
        *face.centre,
        face.height,
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
