"""The TensorBoard log, read back by TensorBoard's own reader."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_core.__main__ import main
from fer_core.data import FaceDataset
from fer_core.errors import CheckpointError, DataError
from fer_core.evaluation import Evaluation
from fer_core.explain.embedding import penultimate
from fer_core.labels import EMOTIONS
from fer_core.runs import Run
from fer_core.tensorboard_log import TensorBoardLog, confusion_picture, write_tensorboard

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture(scope="module")
def validation(faces: FaceDataset) -> FaceDataset:
    return faces.split("validation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def log(folder: Path, finished: Run, validation: FaceDataset) -> TensorBoardLog:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CACHE", str(folder / "cache"))
        return write_tensorboard(finished, 2, validation, "validation", folder / "log")


@pytest.fixture(scope="module")
def read(log: TensorBoardLog) -> Any:
    found = accumulators.EventAccumulator(str(log.path), {"scalars": 0, "images": 0, "tensors": 0, "graph": 1})
    found.Reload()
    return found


def tsv(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines(), delimiter="\t"))


def test_every_recorded_number_is_a_scalar(read: Any, finished: Run) -> None:
    lines = [json.loads(line) for line in (finished.path / "metrics.jsonl").read_text().splitlines()]
    expected: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["kind"] == "epoch":
            for name in ("accuracy", "loss"):
                expected.setdefault(f"{name}/{line['split']}", {})[line["epoch"]] = line[name]
            for name in ("lr", "seconds"):
                if name in line:
                    expected.setdefault(name, {})[line["epoch"]] = line[name]
    assert set(read.Tags()["scalars"]) == set(expected)
    assert {"accuracy/train", "accuracy/validation", "loss/train", "loss/validation", "lr"} <= set(expected)
    for tag, values in expected.items():
        shown = {event.step: event.value for event in read.Scalars(tag)}
        assert shown == {epoch: pytest.approx(value, rel=1e-6) for epoch, value in values.items()}
        assert list(shown) == [1, 2, 3]


def picture(event: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))


def test_the_confusion_matrices(read: Any, finished: Run, validation: FaceDataset) -> None:
    recorded = {r["epoch"]: r["confusion"] for r in finished.records() if r.get("confusion")}
    shown = {event.step: picture(event) for event in read.Images("confusion/validation")}
    assert list(shown) == [1, 2, 3]
    for epoch, matrix in recorded.items():
        result = Evaluation("run", epoch, "Patterns", "validation", np.array(matrix))
        assert (shown[epoch] == confusion_picture(result)).all()
    (own,) = read.Images("confusion/validation of Patterns")
    assert own.step == 2
    assert (picture(own) == shown[2]).all()  # the same faces as the run's own
    assert len(validation) == 28


def test_a_matrix_is_drawn_by_its_shares() -> None:
    matrix = np.zeros((7, 7), int)
    matrix[3, 3], matrix[3, 0], matrix[1, 4] = 9, 1, 5
    drawn = confusion_picture(Evaluation("run", 1, "Few", "test", matrix))
    corner = lambda i, j: tuple(drawn[92 + 52 * i + 2, 84 + 52 * j + 2])  # noqa: E731
    assert corner(1, 4) == (0, 114, 178)
    assert corner(0, 0) == (255, 255, 255)
    assert corner(3, 3) == tuple(np.round(255 + 0.9 * (np.array([0, 114, 178]) - 255)).astype(int))


def test_the_graph_is_the_networks(read: Any) -> None:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    graph = read.Graph()
    assert isinstance(graph, GraphDef)
    names = " ".join(node.name for node in graph.node)
    for part in ("conv1", "res1", "conv2", "res2", "linear"):
        assert f"/{part}" in names or f"[{part}]" in names


def test_the_embeddings_are_the_penultimate_features(
    log: TensorBoardLog, finished: Run, validation: FaceDataset
) -> None:
    features = penultimate(finished.load_checkpoint(2), validation.images).astype(np.float64)
    shown = np.array(tsv(log.path / "00002" / "validation" / "tensors.tsv"), float)
    assert shown.shape == (28, log.dimensions) == (28, 28)
    assert log.kept == pytest.approx(1, abs=1e-4)  # 28 faces have no more than 27 components
    centred = features - features.mean(axis=0)

    def distances(points: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))

    np.testing.assert_allclose(distances(shown), distances(centred), rtol=2e-3, atol=2e-3)


def test_what_each_point_says(log: TensorBoardLog, finished: Run, validation: FaceDataset) -> None:
    header, *rows = tsv(log.path / "00002" / "validation" / "metadata.tsv")
    assert header == ["id", "true", "predicted", "outcome", "confidence"]
    saved = finished.predictions("validation")
    assert saved is not None
    said = saved.probabilities[saved.epochs.index(2)].astype(float)
    for row, cells in enumerate(rows):
        truth, predicted = EMOTIONS[validation.emotions[row]], EMOTIONS[said[row].argmax()]
        assert cells[:4] == [validation.ids[row], truth, predicted, "right" if truth == predicted else "wrong"]
        assert float(cells[4]) == pytest.approx(said[row].max(), abs=6e-4)
    assert len(rows) == 28


def test_the_sprite_holds_the_faces_in_order(log: TensorBoardLog, validation: FaceDataset) -> None:
    sprite = np.asarray(Image.open(log.path / "00002" / "validation" / "sprite.png").convert("L")).astype(int)
    side = 6  # the smallest square of tiles that holds 28
    assert sprite.shape == (side * 48, side * 48)
    tiles = sprite.reshape(side, 48, side, 48).swapaxes(1, 2).reshape(-1, 48, 48)
    assert np.abs(tiles[:28] - validation.images).max() <= 1
    config = (log.path / "projector_config.pbtxt").read_text()
    assert "sprite.png" in config
    assert str(log.path) not in config  # so that it can be moved


def test_without_faces_there_is_no_picture_and_no_name(folder: Path, finished: Run, validation: FaceDataset) -> None:
    log = write_tensorboard(finished, 2, validation, "validation", folder / "bare", shows_faces=False)
    assert not list(log.path.rglob("*.png"))
    assert "sprite" not in (log.path / "projector_config.pbtxt").read_text()
    assert [cells[0] for cells in tsv(log.path / "00002" / "validation" / "metadata.tsv")[1:4]] == ["0", "1", "2"]
    everything = b"".join(file.read_bytes() for file in log.path.rglob("*") if file.is_file())
    assert b"face-0" not in everything


def test_faces_without_labels(folder: Path, finished: Run, faces: FaceDataset) -> None:
    log = write_tensorboard(finished, 3, faces.split("test"), "test", folder / "unlabelled")
    rows = tsv(log.path / "00003" / "test" / "metadata.tsv")[1:]
    assert {(cells[1], cells[3]) for cells in rows} == {("no label", "")}
    found = accumulators.EventAccumulator(str(log.path))
    found.Reload()
    assert found.Tags()["images"] == ["confusion/validation"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, finished: Run, validation: FaceDataset) -> None:
    out = tmp_path / "log"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="log is there already; choose another folder"):
        write_tensorboard(finished, 2, validation, "validation", out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_nothing_is_left_where_it_fails(
    tmp_path: Path, copied: Run, validation: FaceDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fer_core.tensorboard_log._add_embedding", full)
    with pytest.raises(DataError, match="cannot be written"):
        write_tensorboard(copied, 2, validation, "validation", tmp_path / "logs" / "log")
    assert list((tmp_path / "logs").iterdir()) == []
    with pytest.raises(CheckpointError, match="kept no checkpoint of epoch 9"):
        write_tensorboard(copied, 9, validation, "validation", tmp_path / "logs" / "log")
    with pytest.raises(DataError, match="has no exam split"):
        write_tensorboard(copied, 2, validation.subset(np.zeros(28, bool)), "exam", tmp_path / "logs" / "log")


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str]]:
    def run(*arguments: object) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, capsys.readouterr().out

    return run


def test_the_command(
    call: Callable[..., tuple[Any, str]], copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_DATA", raising=False)
    code, text = call("export", "tensorboard", "run:3", "--runs", copied.path.parent, "--split", "test", "--no-faces")
    assert code in (0, None)
    folder = tmp_path / "tensorboard" / "run-epoch-003"
    assert text.splitlines() == [
        "Wrote tensorboard/run-epoch-003: curves of 3 epochs, the graph, and the features of 336 faces of Demo faces "
        "(rendered demo faces), test, without the faces.",
        "See it with: tensorboard --logdir tensorboard/run-epoch-003",
    ]
    assert len(tsv(folder / "00003" / "test" / "metadata.tsv")) == 337
    code, _ = call("export", "tensorboard", "run:3", "--runs", copied.path.parent)
    assert code == "Error: tensorboard/run-epoch-003 is there already; choose another folder with --out, or remove it."
    code, _ = call("export", "tensorboard", "run:3", "--runs", copied.path.parent, "--split", "exam", "--out", "other")
    assert code.startswith("Error: There is no split 'exam'")
    assert not (tmp_path / "other").exists()
