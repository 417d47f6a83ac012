"""Run directories: what is written comes back, and what is damaged is named while all else goes on."""

from __future__ import annotations

import json
import os
import pickle
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fer_core.config import make_config
from fer_core.data import FaceDataset, split_validation
from fer_core.errors import CheckpointError, ConfigError, RunError
from fer_core.runs import (
    HEARTBEAT_TIMEOUT,
    Run,
    create_run,
    find_run,
    free_name,
    halved,
    list_runs,
    load_checkpoint_file,
    read_tensors,
    write_tensors,
)


@pytest.fixture
def empty(tmp_path: Path) -> Run:
    """A run without any training."""
    return create_run(tmp_path / "runs", "empty", {"config": make_config({"epochs": 5}).to_dict()})


# -- the directory ----------------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_created(empty: Run) -> None:
    again = Run(empty.path)
    assert again.name == "empty"
    assert again.config == make_config({"epochs": 5})
    assert again.info["format_version"] == 1
    assert (again.epochs(), again.best_epoch(), again.records(), again.predictions("validation")) == (
        [],
        None,
        [],
        None,
    )


def test_the_faces_that_a_run_learned_from(finished: Run, empty: Run, faces: FaceDataset) -> None:
    learned = finished.training_faces(faces)
    assert learned is not None
    np.testing.assert_array_equal(learned.ids, faces.ids[:84])
    assert finished.training_faces(faces.subset(np.arange(1, 126))) is None
    named = replace(faces, emotions=np.where(faces.splits == 2, 3, faces.emotions).astype(np.int8))
    assert finished.training_faces(named) is not None  # whether test faces have labels says nothing of the training
    assert empty.training_faces(faces) is None  # it did not note its data
    unsplit = replace(faces, splits=np.zeros_like(faces.splits))
    drawn = split_validation(unsplit, empty.config.validation_fraction, empty.config.seed)
    vars(empty)["info"] = {**empty.info, "data": {"fingerprint": drawn.fingerprint_without_test}}
    learned = empty.training_faces(unsplit)
    assert learned is not None
    assert set(learned.ids) == set(drawn.ids[(drawn.splits == 0) & (drawn.emotions >= 0)])
    assert len(learned) < 112 == (faces.emotions >= 0).sum()


def test_what_a_training_writes_is_plain_and_complete(finished: Run, faces: FaceDataset) -> None:
    assert sorted(path.name for path in finished.path.iterdir()) == [
        "dynamics.bin",
        "epoch-001.safetensors",
        "epoch-002.safetensors",
        "epoch-003.safetensors",
        "metrics.jsonl",
        "predictions-validation.npz",
        "run.json",
        "state.safetensors",
        "status.json",
    ]
    assert finished.info["data"]["fingerprint"] == faces.subset(faces.splits != 2).fingerprint
    assert finished.info["data"]["counts"] == {"train": 84, "validation": 28, "test": 14}
    assert finished.info["parameters"] == 6_991
    assert {"torch", "commit", "device", "cores"} <= finished.info["machine"].keys()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "../up", "exp:1", "x" * 300])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match=f"'{name[:60]}' cannot be a run's name"):
        create_run(tmp_path, name, {})
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_is_refused_and_a_free_one_found(empty: Run) -> None:
    root = empty.path.parent
    with pytest.raises(RunError, match=r"There is already a run at .*empty; choose another --name, or --resume empty"):
        create_run(root, "empty", {})
    assert free_name(root, "other") == "other"
    assert free_name(root, "empty") == "empty-2"
    create_run(root, "empty-2", {})
    assert free_name(root, "empty") == "empty-3"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is not a run: it holds no run.json"),
        ("{", "cannot be read"),
        ("[]", "holds no config"),
        ("{}", "holds no config"),
        ('{"config": {}, "format_version": 2}', "has format 2, this version reads format 1; update the project"),
    ],
)
def test_a_damaged_run_json_is_named(empty: Run, text: str | None, reason: str) -> None:
    path = empty.path / "run.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RunError, match=reason) as caught:
        _ = Run(empty.path).info
    assert str(empty.path) in str(caught.value)


def test_a_config_of_another_version_is_named(empty: Run) -> None:
    (empty.path / "run.json").write_text('{"format_version": 1, "config": {"epochs": 5, "warp": 9}}')
    with pytest.raises(RunError, match=r"run.json: There is no setting 'warp'"):
        _ = Run(empty.path).config


def test_one_damaged_run_does_not_hide_the_others(copied: Run) -> None:
    root = copied.path.parent
    create_run(root, "broken", {}).path.joinpath("run.json").write_text("{")
    (root / "no-run").mkdir()
    runs = list_runs(root)
    assert [run.name for run in runs] == ["broken", "run"]
    with pytest.raises(RunError):
        _ = runs[0].info
    assert runs[0].status().state == "stopped"
    assert runs[1].load_checkpoint().epoch == copied.best_epoch()
    assert list_runs(root / "nowhere") == []


def test_runs_are_found_by_name_or_path(empty: Run) -> None:
    root = empty.path.parent
    assert find_run("empty", root) == find_run(empty.path) == empty
    with pytest.raises(RunError, match=r"There is no run 'full' in .*; the runs are: empty\."):
        find_run("full", root)
    with pytest.raises(RunError, match=r"the runs are: none\."):
        find_run("full", root / "nowhere")


def test_only_epochs_and_what_is_kept_can_change(empty: Run) -> None:
    changed = empty.extended({"epochs": "9", "keep_epochs": "all"})
    assert (changed.epochs, changed.keep_epochs) == (9, "all")
    assert Run(empty.path).config.epochs == 5  # nothing is written yet
    empty.set_config(changed)
    assert empty.config == Run(empty.path).config == changed
    assert Run(empty.path).info["format_version"] == 1
    with pytest.raises(ConfigError, match="A resumed run keeps its lr, seed; only epochs and keep_epochs can change"):
        empty.extended({"lr": "1", "epochs": "9", "seed": "1"})


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_come_back_by_kind(empty: Run) -> None:
    empty.append_metrics(kind="step", epoch=1, step=10, split="train", loss=2.0, accuracy=0.2)
    empty.append_metrics(kind="epoch", epoch=1, step=12, split="train", loss=1.5, accuracy=0.4)
    empty.append_metrics(kind="epoch", epoch=1, step=12, split="validation", loss=1.6, accuracy=0.3, confusion=[[1]])
    assert empty.metrics("step")["loss"].tolist() == [2.0]
    assert empty.metrics()["split"].tolist() == ["train", "validation"]
    assert empty.metrics()["confusion"].iloc[1] == [[1]]
    assert list(empty.metrics().columns) == list(empty.metrics("step").columns)


@pytest.mark.parametrize(
    "torn", [b'{"kind": "step", "epo', b'{"kind": "step"}\n', b"[1, 2]\n", b"\n", b"\0\0\0", b"7\n", b'{"kind": "\xc3']
)
def test_a_torn_line_is_skipped(empty: Run, torn: bytes) -> None:
    empty.append_metrics(kind="epoch", epoch=1, split="train", loss=1.0)
    with (empty.path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    assert empty.metrics()["loss"].tolist() == [1.0]


def test_no_metrics_give_an_empty_table(empty: Run) -> None:
    assert empty.metrics().empty
    assert {"epoch", "split", "accuracy"} <= set(empty.metrics().columns)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(RunError, match=r"state\.safetensors cannot be written \(I/O error.*make room"):
        write_tensors(tmp_path / "state.safetensors", {}, {})
    assert list(tmp_path.iterdir()) == []


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_with_all_that_it_takes(finished: Run, faces: FaceDataset) -> None:
    checkpoint = finished.load_checkpoint(2)
    assert (checkpoint.run, checkpoint.epoch) == ("run", 2)
    assert checkpoint.scores["n"] == 28
    assert not checkpoint.model.training
    state, _ = read_tensors(finished.path / "state.safetensors")
    last = finished.load_checkpoint(3).model.state_dict()
    for name, tensor in last.items():  # kernels were stored in float16, all else in full
        full = state[f"model.{name}"]
        torch.testing.assert_close(
            tensor, full, rtol=2**-11 if full.dim() > 1 else 0, atol=1e-7 if full.dim() > 1 else 0
        )
    assert checkpoint.model(checkpoint.preprocess(faces.images[:3])).shape == (3, 7)


def test_a_renamed_run_goes_by_its_new_name(copied: Run) -> None:
    renamed = Run(copied.path.rename(copied.path.with_name("mine")))
    assert renamed.load_checkpoint(2).run == "mine"


def test_the_best_epoch_is_the_kept_one_with_the_highest_validation_accuracy(copied: Run) -> None:
    lines = [
        ("train", 1, 0.9),
        ("validation", 1, 0.5),
        ("validation", 2, 0.6),
        ("validation", 3, 0.6),
        ("validation", 7, 0.8),
    ]
    (copied.path / "metrics.jsonl").write_text(
        "".join(json.dumps({"kind": "epoch", "epoch": e, "split": s, "accuracy": a}) + "\n" for s, e, a in lines)
    )
    assert copied.best_epoch() == 2
    (copied.path / "metrics.jsonl").unlink()
    assert copied.best_epoch() == 3


def test_an_epoch_that_was_not_kept_is_named_with_those_that_were(finished: Run, empty: Run) -> None:
    with pytest.raises(CheckpointError, match=r"run kept no checkpoint of epoch 7; the epochs kept are: 1, 2, 3\."):
        finished.load_checkpoint(7)
    with pytest.raises(CheckpointError, match="empty holds no checkpoint yet; train it"):
        empty.load_checkpoint()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewrite(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Callable[[Path], None]:
    """Changes a checkpoint's tensors or header."""

    def damage(path: Path) -> None:
        tensors, header = read_tensors(path)
        change(tensors, header)
        save_file(tensors, path, {"fer_core": json.dumps(header)})

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "is not a whole safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "is not a whole safetensors file"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x07."), "is not a whole safetensors file"),
    "a text": (lambda path: path.write_text("weights " * 99), "is not a whole safetensors file"),
    "a folder": (make_folder, "is not a whole safetensors file"),
    "of others": (lambda path: save_file({"a": torch.ones(2)}, path), "was not written by this project"),
    "no JSON": (lambda path: save_file({}, path, {"fer_core": "{"}), "was not written by this project"),
    "a list": (lambda path: save_file({}, path, {"fer_core": "[1]"}), "was not written by this project"),
    "newer": (rewrite(lambda _, h: h.update(format_version=2)), "has format 2, this version reads format 1; update"),
    "labels": (rewrite(lambda _, h: h.update(labels=["cat", "dog"])), r"trained for other labels: \['cat', 'dog'\]"),
    "no labels": (rewrite(lambda _, h: h.pop("labels")), "trained for other labels: None"),
    "architecture": (rewrite(lambda _, h: h.update(model="EmotionCNN")), r"\(EmotionCNN\): EmotionCNN cannot be built"),
    "unknown model": (rewrite(lambda _, h: h.update(model="VGG")), "There is no model 'VGG'"),
    "no model": (rewrite(lambda _, h: h.pop("model")), "lacks 'model' in its header"),
    "no epoch": (rewrite(lambda _, h: h.pop("epoch")), "lacks 'epoch' in its header"),
    "widths": (rewrite(lambda _, h: h.update(model_args={"widths": [4, 9]})), "size mismatch for conv2.conv.weight"),
    "missing": (rewrite(lambda t, _: t.pop("linear.bias")), r'Missing key\(s\) in state_dict: "linear.bias"'),
    "preprocess": (rewrite(lambda _, h: h.update(preprocess={"median": 1})), "unexpected keyword argument 'median'"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_checkpoint_that_cannot_be_used_is_named_with_the_reason(copied: Run, damage: Any, reason: str) -> None:
    path = copied.checkpoint_path(2)
    damage(path)
    with pytest.raises(CheckpointError, match=reason) as caught:
        copied.load_checkpoint(2)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert copied.load_checkpoint(3).epoch == 3  # the others go on


def test_a_checkpoint_of_the_other_network_is_refused(copied: Run) -> None:
    path = copied.checkpoint_path(1)
    rewrite(lambda _, header: header.update(model="EmotionCNN", model_args={}))(path)
    with pytest.raises(
        CheckpointError, match=r'does not fit the model it names \(EmotionCNN\): Missing key\(s\).*"conv3'
    ):
        load_checkpoint_file(path)


def test_nothing_that_is_loaded_is_executed(copied: Run, tmp_path: Path) -> None:
    """A pickle under a checkpoint's name does not run."""
    proof = tmp_path / "executed"
    payload = b"cos\nmkdir\n(V" + str(proof).encode() + b"\ntR."
    pickle.loads(payload)
    proof.rmdir()  # so that payload does what it should when it is unpickled
    copied.checkpoint_path(1).write_bytes(payload)
    (copied.path / "predictions-validation.npz").write_bytes(payload)
    with pytest.raises(CheckpointError):
        copied.load_checkpoint(1)
    assert copied.predictions("validation") is None
    assert not proof.exists()


def test_the_header_can_be_read_without_the_project(finished: Run) -> None:
    with safe_open(finished.checkpoint_path(1), framework="np") as file:
        header = json.loads(file.metadata()["fer_core"])
        assert file.get_tensor("linear.weight").dtype == np.float16
    assert header["labels"][3] == "Happy"
    assert header["preprocess"] == {"mean": 0.5077, "std": 0.2551, "equalize": False}
    assert (header["model"], header["model_args"], header["epoch"]) == ("EmotionResNet", {"widths": [4, 8]}, 1)


@pytest.mark.parametrize("refusals", [2, 99])
def test_a_file_that_another_process_reads_is_replaced_later(
    empty: Run, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    """Windows refuses to replace a file while it is read elsewhere."""
    empty.write_text("note.txt", "old")
    moves, pauses = [], []
    real = Path.replace

    def in_use(aside: Path, path: Path) -> Path:
        moves.append(path)
        if len(moves) <= refusals:
            raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
        return real(aside, path)

    monkeypatch.setattr(Path, "replace", in_use)
    monkeypatch.setattr(time, "sleep", pauses.append)
    if refusals == 2:
        empty.write_text("note.txt", "new")
        assert len(pauses) == 2
    else:
        with pytest.raises(PermissionError):
            empty.write_text("note.txt", "new")
        assert sum(pauses) < 2
    assert (empty.path / "note.txt").read_text() == ("new" if refusals == 2 else "old")
    assert not list(empty.path.glob(".note*"))


def test_a_write_that_fails_leaves_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"a": torch.ones(3)}, {})

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_tensors(path, {"a": torch.zeros(3)}, {})
    assert read_tensors(path)[0]["a"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


# -- predictions ------------------------------------------------------------------------------------------------------


def some_probabilities(seed: int, n: int = 28) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(7), n).astype(np.float32)


def test_predictions_come_back_epoch_by_epoch(empty: Run) -> None:
    for epoch in (1, 2, 3):
        empty.save_predictions(epoch, some_probabilities(epoch), "validation", "abc")
    empty.save_predictions(2, some_probabilities(9), "validation", "abc")  # scored again
    empty.save_predictions(1, some_probabilities(4, 5), "test", "def")
    saved = empty.predictions("validation")
    assert saved is not None
    assert (saved.epochs, saved.split, saved.fingerprint) == ((1, 3, 2), "validation", "abc")
    assert saved.probabilities.shape == (3, 28, 7)
    np.testing.assert_array_equal(saved.probabilities[2], some_probabilities(9).astype(np.float16))


def test_predictions_on_other_faces_are_replaced(empty: Run) -> None:
    empty.save_predictions(1, some_probabilities(1), "validation", "abc")
    empty.save_predictions(2, some_probabilities(2, 10), "validation", "other")
    saved = empty.predictions("validation")
    assert saved is not None
    assert (saved.epochs, saved.fingerprint, saved.probabilities.shape) == ((2,), "other", (1, 10, 7))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", None])
def test_damaged_predictions_are_as_none(copied: Run, content: bytes | None) -> None:
    path = copied.path / "predictions-validation.npz"
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    assert copied.predictions("validation") is None
    copied.save_predictions(3, some_probabilities(1), "validation", "abc")
    assert copied.predictions("validation").epochs == (3,)  # type: ignore[union-attr]


def test_predictions_without_an_entry_are_as_none(empty: Run) -> None:
    np.savez(empty.path / "predictions-validation.npz", epochs=np.array([1]))
    assert empty.predictions("validation") is None
    np.savez(empty.path / "predictions-validation.npz", epochs=np.array([{}], dtype=object))  # would need pickle
    assert empty.predictions("validation") is None


def test_keeping_some_epochs_removes_checkpoints_and_predictions_of_the_others(copied: Run) -> None:
    before = copied.predictions("validation")
    copied.keep([1, 3])
    after = copied.predictions("validation")
    assert copied.epochs() == [1, 3]
    assert before is not None
    assert after is not None
    assert after.epochs == (1, 3)
    np.testing.assert_array_equal(after.probabilities, before.probabilities[[0, 2]])


def test_rewinding_forgets_what_came_later(copied: Run) -> None:
    (copied.path / ".state.safetensors.123.tmp").write_bytes(b"half a file")
    with (copied.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "ep')
    records = [record for record in copied.records() if record["epoch"] <= 1]
    copied.rewind(1)
    assert copied.records() == records
    assert copied.epochs() == [1]
    assert copied.predictions("validation").epochs == (1,)  # type: ignore[union-attr]
    assert not list(copied.path.glob(".*"))
    copied.rewind(0)
    assert (copied.records(), copied.epochs(), copied.best_epoch()) == ([], [], None)
    assert copied.predictions("validation").epochs == ()  # type: ignore[union-attr]
    copied.save_predictions(1, some_probabilities(1), "validation", "abc")
    assert copied.predictions("validation").epochs == (1,)  # type: ignore[union-attr]


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_of_a_training_from_its_beginning_to_its_end(empty: Run) -> None:
    assert empty.status().state == "stopped"
    with empty.training() as beat:
        assert empty.status().state == "running"
        assert empty.status().pid == os.getpid()
        beat()
        with (
            pytest.raises(RunError, match=f"empty is already being trained by process {os.getpid()}"),
            empty.training(),
        ):
            pytest.fail("two trainings of one run")
        assert empty.status().state == "running"
    assert empty.status().state == "finished"


def test_a_stop_request_ends_the_training_at_the_next_beat(empty: Run) -> None:
    steps = 0
    empty.request_stop()  # one from before the start means nothing
    with empty.training() as beat:
        while True:
            beat()
            steps += 1
            if steps == 3:
                empty.request_stop()
    assert steps == 3
    assert empty.status().state == "stopped"
    with empty.training() as beat:  # and is forgotten with the end
        beat()
    assert empty.status().state == "finished"


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (KeyboardInterrupt(), "stopped", ""),
        (RunError("The loss became nan."), "failed", "The loss became nan."),
        (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError('division by zero')"),
    ],
)
def test_how_a_training_ended_is_told(empty: Run, error: BaseException, state: str, text: str) -> None:
    with pytest.raises(type(error)), empty.training():
        raise error
    assert (empty.status().state, empty.status().error) == (state, text)


def test_ctrl_c_in_the_very_moment_of_the_beginning(empty: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Run.write_status

    def interrupted(run: Run, state: str, **more: Any) -> None:
        write(run, state, **more)
        if state == "running":
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write_status", interrupted)
    with pytest.raises(KeyboardInterrupt), empty.training():
        pytest.fail("it began")
    assert empty.status().state == "stopped"


def test_a_training_whose_process_is_gone_was_interrupted(empty: Run) -> None:
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    record = {"state": "running", "pid": int(process.stdout), "host": platform.node(), "heartbeat": time.time()}
    (empty.path / "status.json").write_text(json.dumps(record))
    assert empty.status().state == "interrupted"
    with empty.training():
        assert empty.status().state == "running"


def test_a_training_on_another_machine_is_told_by_its_heartbeat(empty: Run) -> None:
    """On a shared disk: what has that process's number here, or has not, is another matter."""
    record = {"state": "running", "pid": 2**22 + 1, "host": "elsewhere", "heartbeat": time.time()}
    (empty.path / "status.json").write_text(json.dumps(record))
    assert empty.status().state == "running"
    with pytest.raises(RunError, match=f"already being trained by process {2**22 + 1} on elsewhere"), empty.training():
        pytest.fail("it began")
    record["heartbeat"] = time.time() - HEARTBEAT_TIMEOUT - 1
    (empty.path / "status.json").write_text(json.dumps(record))
    assert empty.status().state == "interrupted"


def test_a_training_without_a_heartbeat_was_interrupted(empty: Run) -> None:
    """A process id alone proves nothing: after a restart of the machine it belongs to another program."""
    record = {"state": "running", "pid": os.getpid(), "heartbeat": time.time() - HEARTBEAT_TIMEOUT - 1, "error": ""}
    (empty.path / "status.json").write_text(json.dumps(record))
    assert empty.status().state == "interrupted"


def test_the_heart_beats_at_most_once_a_second(empty: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with empty.training() as beat:
        first = empty.status().heartbeat
        now += 0.9
        beat()
        assert empty.status().heartbeat == first
        now += 0.2
        beat()
        assert empty.status().heartbeat > first


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": 1, "mood": 2}', "\xff"])
def test_a_damaged_status_is_told(empty: Run, text: str) -> None:
    (empty.path / "status.json").write_bytes(text.encode("latin-1"))
    assert empty.status().state == "interrupted"
    assert "status.json cannot be read" in empty.status().error


def test_a_shipped_run_without_status_counts_as_finished(copied: Run) -> None:
    (copied.path / "status.json").unlink()
    assert copied.status().state == "finished"


def test_halved_probabilities_keep_their_leader() -> None:
    """0.4001 and 0.4002 round to one float16; the second led and still does. Others are only rounded."""
    close = np.array([[0.4001, 0.4002, 0.1997, 0, 0, 0, 0], [0.1, 0.2, 0.7, 0, 0, 0, 0]], np.float32)
    assert close.astype(np.float16)[0].argmax() == 0
    half = halved(close)
    assert half.dtype == np.float16
    assert half.argmax(axis=1).tolist() == [1, 2]
    np.testing.assert_allclose(half, close, atol=3e-4)
    rng = np.random.default_rng(0)
    many = rng.dirichlet(np.ones(7), 50_000).astype(np.float32)
    np.testing.assert_array_equal(halved(many).argmax(axis=1), many.argmax(axis=1))
    assert (halved(many) != many.astype(np.float16)).any(axis=1).sum() < 50
