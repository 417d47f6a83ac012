"""A checkpoint as an ONNX file that stands alone: gray levels in, probabilities out, labels in the metadata.

    input    faces           uint8 (N, 48, 48), gray levels 0..255 as they come from a picture; any N
    output   probabilities   float32 (N, 7), rows sum to 1
    output   logits          float32 (N, 7), what the network says before the softmax

The checkpoint's own preprocessing (histogram equalisation where it was trained with it, normalisation) is part of the
graph. The input is uint8 so that a face on another scale, such as 0..1, is refused instead of misread.

With 8-bit weights and activations (`quantized`) a processor takes 0.6 to 0.7 of the time; the accuracy stays, but
probabilities move by 0.003 to 0.008 on average and 1 face in 27 (report-resnet) to 80 (best) of PublicTest gets another
emotion. `Predictor` never uses such a file; `OnnxPredictor` reads faces with one.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import fer_core
from fer_core.errors import DataError, FerError
from fer_core.labels import EMOTIONS
from fer_core.preprocess import FACE_SIZE, Preprocess
from fer_core.runs import Checkpoint

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUTS = "faces", ("probabilities", "logits")
OPSET = 20  # read by ONNX Runtime 1.17 (2024) and later, in Python, C++, .NET and the browser
MAX_DIFFERENCE = 1e-4  # of probabilities; float32 sums in another order differ by about 1e-6
MIN_AGREEMENT = 0.9  # share of faces whose emotion is the same in 8 bits; measured: 0.96 to 0.99


@dataclass(frozen=True)
class OnnxExport:
    """A file that was written, and how it compared with PyTorch in ONNX Runtime before.

    faces           how many were compared
    max_difference  the largest difference of a probability
    agreement       the share of faces with the same most probable emotion
    """

    path: Path
    faces: int
    max_difference: float
    agreement: float

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size


class FacesToProbabilities(nn.Module):
    """A network with what stands before and after it: uint8 (N, 48, 48) -> float32 (N, 7), float32 (N, 7)."""

    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.model = model
        self.preprocess = preprocess

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        pixels = equalized(faces) if self.preprocess.equalize else faces
        logits: Tensor = self.model(self.preprocess.normalize(pixels))
        return logits.softmax(dim=1), logits


def equalized(faces: Tensor) -> Tensor:
    """`fer_core.preprocess.equalize` on a tensor, equal to the last bit: uint8 (N, 48, 48), same shape and type out."""
    levels = faces.flatten(1).long()  # (N, 2304)
    counts = torch.zeros(levels.shape[0], 256, dtype=torch.long, device=faces.device)
    counts = counts.scatter_add(1, levels, torch.ones_like(levels))
    brightest = counts.gather(1, levels.amax(dim=1, keepdim=True))  # (N, 1): how many pixels have the highest level
    step = torch.div(levels.shape[1] - brightest, 255, rounding_mode="floor")
    below = counts.cumsum(1) - counts  # (N, 256)
    new = torch.div(below + step // 2, step.clamp(min=1), rounding_mode="floor").clamp(max=255)
    flat = torch.where(step == 0, levels, new.gather(1, levels))  # too few levels to spread: left as they are
    return flat.view_as(faces).to(torch.uint8)


def to_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The checkpoint's network with its preprocessing, valid ONNX. Takes seconds. Raises FerError without `onnx`."""
    onnx, _ = _import("onnx"), _import("onnxscript")
    whole = FacesToProbabilities(checkpoint.model, checkpoint.preprocess).eval()
    example = torch.zeros(2, FACE_SIZE, FACE_SIZE, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own insides
        program = torch.onnx.export(
            whole,
            (example,),
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _describe(proto, checkpoint)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _describe(proto: onnx.ModelProto, checkpoint: Checkpoint, more: dict[str, str] | None = None) -> None:
    """Replace what the exporter notes of itself (stack traces with paths of this machine) by what a user needs."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    graph.name = checkpoint.run
    graph.input[0].doc_string = f"uint8 gray levels 0..255 of N faces, {FACE_SIZE} x {FACE_SIZE}, rows from the top"
    graph.output[0].doc_string = f"Probabilities of {', '.join(EMOTIONS)}; a row sums to 1"
    graph.output[1].doc_string = "The same before the softmax"
    proto.producer_name, proto.producer_version = "fer_core", fer_core.__version__
    proto.doc_string = f"{checkpoint.run}, epoch {checkpoint.epoch}: facial expression of gray 48 x 48 faces"
    del proto.metadata_props[:]
    for key, value in {**metadata(checkpoint), **(more or {})}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value


def metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the file says of itself; `labels`, `preprocess`, `scores` and, of a file, `temperatures` are JSON."""
    steps = "equalisation and normalisation" if checkpoint.preprocess.equalize else "normalisation"
    return {
        "labels": json.dumps(EMOTIONS),
        "run": checkpoint.run,
        "epoch": str(checkpoint.epoch),
        "preprocess": json.dumps(checkpoint.preprocess.to_dict()),
        "preprocess_note": f"{steps} are part of the graph: feed gray levels 0..255 as they are",
        "precision": "float32",
        "scores": json.dumps(checkpoint.scores),
    }


def quantized(proto: onnx.ModelProto, faces: np.ndarray) -> onnx.ModelProto:
    """The same network with its convolutions in 8-bit integers, weights channel by channel.

    Those that read one channel, first and depthwise ones, stay as they are: little work, and accuracy lost in 8 bits.

    faces: uint8 (N, 48, 48), a few hundred of the kind to be read; the range of each layer is the mean of the ranges
    that it has in batches of 64. Post-training static quantisation of ONNX Runtime (Jacob et al. 2018 describe the
    arithmetic).
    """
    quantization = _import("onnxruntime.quantization")
    batches = iter([{INPUT: faces[start : start + 64]} for start in range(0, len(faces), 64)])
    one_channel = {one.name for one in proto.graph.initializer if len(one.dims) == 4 and one.dims[1] == 1}

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(batches, None)

    log = (
        logging.getLogger()
    )  # it warns there, twice, that it was not asked to optimise first: the exporter has done so
    level = log.level
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        log.setLevel(logging.ERROR)
        try:
            quantization.quantize_static(
                copy.deepcopy(proto),  # it alters what it is given
                out,
                Reader(),
                per_channel=True,
                reduce_range=True,  # weights of 7 bits: x86 without VNNI adds two products in 16 bits, which 8 overflow
                activation_type=quantization.QuantType.QUInt8,  # with signed weights: what x86 and ARM multiply fastest
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[
                    node.name for node in proto.graph.node if node.op_type == "Conv" and node.input[1] in one_channel
                ],
                extra_options={"CalibMovingAverage": True},
            )
        finally:
            log.setLevel(level)
        small: onnx.ModelProto = _import("onnx").load(out)
    return small


def export_onnx(
    checkpoint: Checkpoint,
    path: Path,
    faces: np.ndarray,
    overwrite: bool = False,
    calibration: np.ndarray | None = None,
    temperatures: Mapping[str, float] | None = None,
) -> OnnxExport:
    """Write a checkpoint as ONNX once ONNX Runtime and PyTorch agree on `faces`, uint8 (N, 48, 48), and on one alone.

    calibration: write 8-bit integers, their ranges taken from these faces (see `quantized`). temperatures: those of the
    checkpoint by `tta`, kept in the metadata.
    Raises DataError for a file that is there already or cannot be written, FerError where the two disagree (nothing is
    written then) or `onnx` and `onnxruntime` are not installed.
    """
    check_onnx_target(path, overwrite)
    proto, more = to_onnx(checkpoint), {"temperatures": json.dumps(dict(temperatures or {}))}
    if calibration is not None:
        proto = quantized(proto, calibration)
        more["precision"] = f"8-bit integers, calibrated on {len(calibration)} faces"
    _describe(proto, checkpoint, more)
    content = proto.SerializeToString()
    theirs, ours = answers(checkpoint, content, faces)
    alone, _ = answers(checkpoint, content, faces[:1])
    difference = float(max(np.abs(theirs - ours).max(), np.abs(alone - ours[:1]).max()))
    agreement = float((theirs.argmax(axis=1) == ours.argmax(axis=1)).mean())
    if not (difference <= MAX_DIFFERENCE if calibration is None else agreement >= MIN_AGREEMENT):
        raise FerError(
            f"ONNX Runtime differs from PyTorch by {difference:.1g} in {checkpoint.run}, epoch {checkpoint.epoch}, and "
            f"sees the same emotion in {agreement:.0%} of {len(faces)} faces; nothing was written: "
            + (
                "report this with the versions of onnx and torch."
                if calibration is None
                else "export it without 8 bits."
            )
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    finally:
        aside.unlink(missing_ok=True)
    return OnnxExport(path, len(faces), difference, agreement)


def check_onnx_target(path: Path, overwrite: bool = False) -> None:
    """Refuse what `export_onnx` would refuse, before it has worked for seconds."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: there is no folder {path.parent}; make it or choose another place.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} is there already; choose another name, or overwrite it with --force.")


def open_session(content: bytes) -> Any:
    """An ONNX Runtime session on one thread of the CPU; it may be asked by several at once, each with its own faces.

    Raises FerError where `onnxruntime` is not installed.
    """
    onnxruntime = _import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answers(checkpoint: Checkpoint, content: bytes, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities (N, 7) of ONNX Runtime, and those of PyTorch."""
    theirs = open_session(content).run(OUTPUTS[:1], {INPUT: faces})[0]
    with torch.inference_mode():
        ours = checkpoint.model(checkpoint.preprocess(faces)).softmax(dim=1).numpy()
    return theirs, ours


def _import(name: str) -> Any:
    """A library that only this module needs, once it is needed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        hint = "install it with: pip install -r requirements.txt"
        raise FerError(f"{name} cannot be imported ({error}); {hint}") from error
