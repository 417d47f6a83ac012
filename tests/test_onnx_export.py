"""A checkpoint as ONNX: what ONNX Runtime says of gray levels is what PyTorch says, and the file tells what it is."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fer_core import onnx_export
from fer_core.__main__ import main
from fer_core.data import demo_faces
from fer_core.errors import DataError, FerError
from fer_core.inference import predict_probabilities
from fer_core.labels import EMOTIONS
from fer_core.models import MODELS, create_model
from fer_core.onnx_export import equalized, export_onnx, open_session, quantized, to_onnx
from fer_core.preprocess import Preprocess, equalize
from fer_core.runs import CHECKPOINTS, Checkpoint, Run

ROOT = Path(__file__).parent.parent
ARGUMENTS: dict[str, list[dict[str, Any]]] = {"EmotionNet": [{}, {"widths": [8, 16], "depths": [1, 2], "squeeze": 4}]}
NETWORKS = [(name, arguments) for name in MODELS for arguments in ARGUMENTS.get(name, [{}])]


def checkpoint_of(name: str, arguments: dict[str, Any], preprocess: Preprocess | None = None) -> Checkpoint:
    """A network with weights as after some training: norms that have seen data, logits of several units."""
    torch.manual_seed(0)
    model = create_model(name, arguments)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)  # negative scales too: pooling and norm do not commute then
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.2, 3.0)  # type: ignore[arg-type]
    scores = {"validation": {"accuracy": 0.5, "n": 28}}
    return Checkpoint("a-run", 7, model.eval(), preprocess or Preprocess(0.4, 0.3), scores)


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    return checkpoint_of("EmotionResNet", {"widths": [4, 8]})


@pytest.fixture(scope="module")
def proto(small: Checkpoint) -> onnx.ModelProto:
    return to_onnx(small)


def levels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 48, 48)).astype(np.uint8)


@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_every_network_answers_as_in_pytorch_whatever_the_batch(name: str, arguments: dict[str, Any]) -> None:
    checkpoint = checkpoint_of(name, arguments)
    content = to_onnx(checkpoint).SerializeToString()
    session = open_session(content)
    for n in (1, 2, 5):
        faces = levels(n)
        probabilities, logits = session.run(["probabilities", "logits"], {"faces": faces})
        by_hand = torch.from_numpy((faces[:, None] / 255 - 0.4) / 0.3).float()
        with torch.no_grad():
            expected = checkpoint.model(by_hand).numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(logits, expected, atol=1e-5 * scale)
        raised = np.exp(expected.astype(np.float64) - expected.max(axis=1, keepdims=True))
        np.testing.assert_allclose(probabilities, raised / raised.sum(axis=1, keepdims=True), atol=1e-5 * scale)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_the_model_is_as_it_was(small: Checkpoint) -> None:
    before = {name: tensor.clone() for name, tensor in small.model.state_dict().items()}
    to_onnx(small)
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.model.state_dict().items())
    assert not small.model.training
    assert not any(module._forward_hooks for module in small.model.modules())


PICTURES = {
    "noise": levels(3),
    "one level": np.full((1, 48, 48), 77, np.uint8),
    "two levels": np.where(levels(1) < 30, 10, 200).astype(np.uint8),
    "a few bright pixels": np.where(np.arange(48 * 48).reshape(1, 48, 48) < 9, 255, 0).astype(np.uint8),
    "nearly all of the highest level": np.where(np.arange(48 * 48).reshape(1, 48, 48) < 200, 3, 9).astype(np.uint8),
    "dark": (levels(2) // 16).astype(np.uint8),
    "ramp": (np.arange(48 * 48).reshape(1, 48, 48) // 9).astype(np.uint8),
}


@pytest.mark.parametrize("name", PICTURES)
def test_equalisation_in_the_graph_is_pillows_to_the_last_bit(name: str) -> None:
    faces = PICTURES[name]
    result = equalized(torch.from_numpy(faces))
    assert result.dtype == torch.uint8
    np.testing.assert_array_equal(result.numpy(), equalize(faces))


def test_a_network_trained_on_equalised_faces_gets_them_in_onnx_too() -> None:
    checkpoint = checkpoint_of("EmotionCNN", {"widths": [4, 4, 4]}, Preprocess(equalize=True))
    proto = to_onnx(checkpoint)
    faces = np.concatenate([*PICTURES.values(), demo_faces().images[:20]])
    said = open_session(proto.SerializeToString()).run(["logits"], {"faces": faces})[0]
    with torch.no_grad():
        expected = checkpoint.model(checkpoint.preprocess(faces)).numpy()
        plain = checkpoint.model(Preprocess()(faces)).numpy()
    np.testing.assert_allclose(said, expected, atol=1e-5)
    assert np.abs(said - plain).max() > 0.01
    assert "equalisation" in about(proto)["preprocess_note"]


def about(proto: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.metadata_props}


def test_the_file_says_what_it_is(proto: onnx.ModelProto) -> None:
    onnx.checker.check_model(proto, full_check=True)
    session = open_session(proto.SerializeToString())
    (faces,) = session.get_inputs()
    assert (faces.name, faces.type, faces.shape) == ("faces", "tensor(uint8)", ["N", 48, 48])
    outputs = {output.name: (output.type, output.shape) for output in session.get_outputs()}
    assert outputs == {name: ("tensor(float)", ["N", 7]) for name in ("probabilities", "logits")}
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["labels"]) == list(EMOTIONS)
    assert (known["run"], known["epoch"]) == ("a-run", "7")
    assert json.loads(known["preprocess"]) == {"mean": 0.4, "std": 0.3, "equalize": False}
    assert json.loads(known["scores"]) == {"validation": {"accuracy": 0.5, "n": 28}}
    assert "equalisation" not in known["preprocess_note"]


def test_the_graph_is_small_and_holds_nothing_of_this_machine(proto: onnx.ModelProto, small: Checkpoint) -> None:
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Conv") == 6
    assert "BatchNormalization" not in kinds  # part of the convolutions
    assert len(kinds) < 30
    content = proto.SerializeToString()
    weights = sum(4 * parameter.numel() for parameter in small.model.parameters())
    assert weights < len(content) < weights + 20_000
    for trace in (str(ROOT).encode(), sys.prefix.encode(), b"site-packages", b".py"):
        assert trace not in content


def test_faces_on_another_scale_are_refused_not_misread(proto: onnx.ModelProto) -> None:
    session = open_session(proto.SerializeToString())
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="uint8"):
        session.run(None, {"faces": np.zeros((1, 48, 48), np.float32)})


def test_a_file_is_overwritten_only_when_asked(small: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("mine")
    with pytest.raises(
        DataError, match=r"net\.onnx is there already; choose another name, or overwrite it with --force"
    ):
        export_onnx(small, path, levels(4))
    assert path.read_text() == "mine"
    exported = export_onnx(small, path, levels(4), overwrite=True)
    assert exported.size == path.stat().st_size
    assert exported.faces == 4
    assert 0 <= exported.max_difference < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_places_that_cannot_be_written_to(small: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        export_onnx(small, tmp_path / "nowhere" / "net.onnx", levels(4))
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        export_onnx(small, tmp_path, levels(4), overwrite=True)


def test_a_network_that_answers_otherwise_is_not_written(
    small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = to_onnx(checkpoint_of("EmotionCNN", {"widths": [4, 4, 4]}))
    monkeypatch.setattr(onnx_export, "to_onnx", lambda _: other)
    with pytest.raises(
        FerError, match=r"ONNX Runtime differs from PyTorch by 0\.\d+ in a-run, epoch 7, .* nothing was written"
    ):
        export_onnx(small, tmp_path / "net.onnx", levels(4))
    assert not list(tmp_path.iterdir())


def test_eight_bits_are_a_quarter_and_see_nearly_the_same(finished: Run, faces: Any, tmp_path: Path) -> None:
    checkpoint = finished.load_checkpoint()
    exported = export_onnx(checkpoint, tmp_path / "net.onnx", faces.images, calibration=faces.images[:64])
    proto = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(proto, full_check=True)
    eight = [entry for entry in proto.graph.initializer if entry.data_type == onnx.TensorProto.INT8]
    assert sum(len(entry.dims) > 1 for entry in eight) == 5  # all convolutions but the first, which has one channel
    assert about(proto)["precision"] == "8-bit integers, calibrated on 64 faces"
    assert json.loads(about(proto)["labels"]) == list(EMOTIONS)
    said = open_session(proto.SerializeToString()).run(["probabilities"], {"faces": faces.images})[0]
    with torch.no_grad():
        expected = checkpoint.model(checkpoint.preprocess(faces.images)).softmax(dim=1).numpy()
    assert exported.max_difference == pytest.approx(np.abs(said - expected).max(), abs=1e-6)
    assert 1e-4 < exported.max_difference < 0.2
    same = (said.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert exported.agreement == pytest.approx(same)
    assert same > 0.95


def test_eight_bits_hardly_move_the_answers_of_a_real_network() -> None:
    """On processors without VNNI too, where weights of 8 bits overflow sums of 16 bits."""
    checkpoint, faces = Run(CHECKPOINTS / "report-resnet").load_checkpoint(86), demo_faces()
    proto = quantized(to_onnx(checkpoint), faces.split("train").images[:256])
    images = faces.split("validation").images
    said = open_session(proto.SerializeToString()).run(["probabilities"], {"faces": images})[0]
    expected = predict_probabilities(checkpoint.model, checkpoint.preprocess, images, torch.device("cpu"))
    assert (said.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


def test_eight_bits_that_see_something_else_are_not_written(tmp_path: Path) -> None:
    checkpoint, images = Run(CHECKPOINTS / "report-resnet").load_checkpoint(86), demo_faces().images[:126]
    dark = np.zeros((8, 48, 48), np.uint8)  # ranges from pictures that are nothing like the faces
    with pytest.raises(
        FerError, match=r"the same emotion in \d+% of 126 faces; nothing was written: export it without"
    ):
        export_onnx(checkpoint, tmp_path / "net.onnx", images, calibration=dark)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_library_that_is_not_installed_is_named(
    small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(FerError, match=rf"^{library} cannot be imported .* pip install -r requirements\.txt"):
        export_onnx(small, tmp_path / "net.onnx", levels(4))
    assert not list(tmp_path.iterdir())


def test_the_command(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    runs = ["--runs", str(finished.path.parent)]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["export", "onnx", "run:2", *runs])
    said = capsys.readouterr().out
    difference = re.search(r"on 256 faces of Demo faces .* PyTorch differ by at most (\S+) in a probability", said)
    assert difference is not None
    assert float(difference[1]) < 1e-5
    known = onnxruntime.InferenceSession("run-epoch-002.onnx").get_modelmeta().custom_metadata_map
    assert (known["run"], known["epoch"]) == ("run", "2")

    with pytest.raises(SystemExit, match=r"Error: run-epoch-002\.onnx is there already"):
        main(["export", "onnx", "run:2", *runs])
    with pytest.raises(SystemExit, match="Error: run kept no checkpoint of epoch 9"):
        main(["export", "onnx", "run:9", *runs])
    assert [file.name for file in tmp_path.iterdir()] == ["run-epoch-002.onnx"]
