"""Do crops of detected faces show what FER2013's crops show? On its faces, enlarged and pasted on gray.

    python -m benchmarks.framing FER2013.parquet [--run RUN[:EPOCH]] [--faces 500]

The first table is over a sample of the validation faces at several sizes: how many are found, how far the square that
is cropped lies from the original crop, and how large it is beside it. Then all validation faces: a checkpoint's
accuracy on the originals and on what was found of them. A face that is not found counts as wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from fer_core.commands.common import DEFAULT_RUN
from fer_core.data import load_dataset
from fer_core.evaluation import Share
from fer_core.faces import Face, crop_faces, face_square, find_faces
from fer_core.inference import Predictor
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import find_checkpoint

ZOOMS = (1, 2, 4, 8, 16)
USUAL = 4
MOST_OFFSET, MOST_SCALE, MOST_LOSS = 0.05, 0.15, 3.0  # of the side; of the side; points of accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", default=DEFAULT_RUN)
    parser.add_argument("--faces", type=int, default=500, help="in the sample of the first table")
    options = parser.parse_args()
    faces = load_dataset(options.data).split("validation").labelled()
    sample = np.random.default_rng(0).permutation(len(faces))[: options.faces]

    print(f"{len(sample)} validation faces of {faces.name}; offset and size in sides of the original crop\n")
    print("| side, pixels | found | mean offset, right and down | mean distance on each | mean size | its deviation |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for zoom in ZOOMS:
        places = np.array([place for _, place, _ in found_on_gray(faces.images[sample], zoom) if place is not None])
        (x, y, size), (far_x, far_y, _) = places.mean(axis=0), np.abs(places).mean(axis=0)
        offset, far = f"{x:+.1%}, {y:+.1%}", f"{far_x:.1%}, {far_y:.1%}"
        share = len(places) / len(sample)
        print(
            f"| {zoom * FACE_SIZE} | {share:.1%} | {offset} | {far} | {size:.3f} | {places[:, 2].std():.3f} |",
            flush=True,
        )
    print(f"\nMean offsets are to be under {MOST_OFFSET:.0%}, mean sizes within {MOST_SCALE:.0%} of 1.\n")

    predictor = Predictor.load(*find_checkpoint(options.run))
    crops = [crop for _, _, crop in tqdm(found_on_gray(faces.images, USUAL), "Finding", len(faces), leave=False)]
    found = np.array([crop is not None for crop in crops])
    there = np.stack([crop for crop in crops if crop is not None])
    right = predictor.predict(faces.images).emotions == faces.emotions
    right_found = np.zeros(len(faces), bool)
    right_found[found] = predictor.predict(there).emotions == faces.emotions[found]
    print(f"{predictor.checkpoint.run}:{predictor.checkpoint.epoch} on the {len(faces):,} validation faces")
    for name, hits in (
        ("originals", right),
        (f"found at {USUAL * FACE_SIZE} pixels", right_found),
        ("of these, the originals", right[found]),
        ("of these, as found", right_found[found]),
    ):
        print(f"  {name:24} {Share(int(hits.sum()), len(hits))}")
    print(f"  lost: {100 * (right.mean() - right_found.mean()):.2f} points, to be under {MOST_LOSS:.0f}")


def found_on_gray(
    images: np.ndarray, zoom: int
) -> Iterator[tuple[list[Face], tuple[float, float, float] | None, np.ndarray | None]]:
    """Of each face uint8 (48, 48), enlarged and with half its side of gray around it: what is found; of the face with
    the highest score the offset right and down and the size of its square, in sides of the original; and its crop."""
    side = zoom * FACE_SIZE
    for image in images:
        enlarged = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        canvas = np.full((2 * side, 2 * side), 128, np.uint8)
        canvas[side // 2 : -side // 2, side // 2 : -side // 2] = np.asarray(enlarged)
        rgb = np.repeat(canvas[..., None], 3, axis=2)
        faces = find_faces(rgb)
        if not faces:
            yield faces, None, None
            continue
        best = max(faces, key=lambda face: face.score)
        left, top, size = face_square(best)
        place = ((left + size / 2) / side - 1, (top + size / 2) / side - 1, size / side)
        yield faces, place, crop_faces(rgb, [best])[0]


if __name__ == "__main__":
    main()
