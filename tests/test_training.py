"""Training: schedules by hand, reproducible to the bit, learning what can be learnt, stopping as it should."""

from __future__ import annotations

import math
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer_core import batches as batches_module
from fer_core import training
from fer_core.batches import Batches, epoch_seed, expect_random_reads, rows_worth_learning, targets_of
from fer_core.config import make_config
from fer_core.data import FaceDataset, demo_faces
from fer_core.data.cache import cache_dir
from fer_core.errors import CheckpointError, ConfigError, DataError, RunError
from fer_core.learner import Learner, learning_rate, make_optimizer
from fer_core.runs import Run, read_tensors
from fer_core.soft_labels import write_soft_labels
from fer_core.training import Progress, epochs_to_keep, fit, pick_device, run_info

CPU = torch.device("cpu")


def weights(run: Run) -> dict[str, torch.Tensor]:
    """The full-precision weights and the optimiser's moments at the end of a run."""
    return read_tensors(run.path / "state.safetensors")[0]


def assert_same_run(one: Run, other: Run) -> None:
    """Weights, moments, checkpoints, epochs' metrics (but for seconds) and predictions are the same to the bit."""
    assert weights(one).keys() == weights(other).keys()
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name
    assert one.epochs() == other.epochs()
    for epoch in one.epochs():
        mine, theirs = (read_tensors(run.checkpoint_path(epoch))[0] for run in (one, other))
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    epochs = [[record | {"seconds": 0} for record in r.records() if record["kind"] == "epoch"] for r in (one, other)]
    assert epochs[0] == epochs[1]
    saved, again = one.predictions("validation"), other.predictions("validation")
    assert saved is not None
    assert again is not None
    assert saved.epochs == again.epochs
    np.testing.assert_array_equal(saved.probabilities, again.probabilities)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record after each step, however short it was."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_RECORDS", 0.0)


# -- learning rates and optimisers ------------------------------------------------------------------------------------


def test_constant_learning_rate() -> None:
    config = make_config({"lr": 0.1})
    assert {learning_rate(config, epoch, step, 5) for epoch in (1, 50, 100) for step in (1, 5)} == {0.1}


def test_step_schedule() -> None:
    config = make_config({"lr": 0.1, "schedule": "step", "step_size": 2, "gamma": 0.5})
    rates = [learning_rate(config, epoch, step, 3) for epoch in range(1, 7) for step in range(1, 4)]
    assert rates == [0.1] * 6 + [0.05] * 6 + [0.025] * 6


def test_step_schedule_is_torchs() -> None:
    config = make_config({"lr": 1e-3, "schedule": "step", "step_size": 25, "gamma": 0.3})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 25, 0.3)
    for epoch in range(1, 101):
        assert learning_rate(config, epoch, 1, 10) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_cosine_schedule() -> None:
    config = make_config({"lr": 0.2, "schedule": "cosine", "epochs": 2})
    rates = [learning_rate(config, epoch, step, 4) for epoch in (1, 2) for step in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * k / 8)) for k in range(8)])
    assert rates[0] == 0.2
    assert rates[4] == pytest.approx(0.1)


def test_linear_schedule_with_warm_up() -> None:
    config = make_config({"schedule": "linear", "lr": 1.0, "epochs": 2, "warmup": 0.25})
    rates = [learning_rate(config, epoch, step, 4) for epoch in (1, 2) for step in range(1, 5)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_warm_up_before_the_other_schedules() -> None:
    constant, step = (
        make_config({"schedule": name, "lr": 1.0, "epochs": 2, "warmup": 0.25, "step_size": 1, "gamma": 0.1})
        for name in ("constant", "step")
    )
    for config, last in ((constant, 1.0), (step, 0.1)):
        rates = [learning_rate(config, epoch, step, 4) for epoch in (1, 2) for step in range(1, 5)]
        assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, last, last, last, last])


def test_cosine_after_warm_up_is_the_cosine_of_what_is_left() -> None:
    config = make_config({"schedule": "cosine", "lr": 2.0, "epochs": 5, "warmup": 0.2})
    rates = [learning_rate(config, epoch, step, 2) for epoch in range(1, 6) for step in (1, 2)]
    assert rates[:2] == pytest.approx([2 / 3, 4 / 3])
    assert rates[2:] == pytest.approx([1 + math.cos(math.pi * k / 8) for k in range(8)])


def test_optimizers_are_those_of_the_config() -> None:
    model = torch.nn.Linear(2, 2)
    sgd = make_optimizer(make_config({"optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.1}), model)
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"], sgd.defaults["weight_decay"]) == (0.8, True, 0.1)
    assert not make_optimizer(make_config({"optimizer": "sgd", "momentum": 0.0}), model).defaults["nesterov"]
    assert type(make_optimizer(make_config({"optimizer": "adam"}), model)) is torch.optim.Adam
    assert type(make_optimizer(make_config({"optimizer": "adamw"}), model)) is torch.optim.AdamW


def test_a_step_is_the_textbook_one(tiny: Any) -> None:
    """Against a step written out here: loss with smoothed targets, gradient, SGD with weight decay."""
    config = tiny(optimizer="sgd", momentum=0.0, weight_decay=0.01, label_smoothing=0.2, precision="fp32",
                  model_args={"widths": [2, 2], "dropout": [0, 0, 0]})  # fmt: skip
    torch.manual_seed(0)
    learner = Learner(config, CPU)
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    faces, emotions = torch.randn(6, 1, 48, 48), torch.tensor([0, 1, 2, 3, 4, 4])
    targets = torch.eye(7)[emotions] * 0.8 + 0.2 / 7
    logits = learner.model(faces)
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    gradients = torch.autograd.grad(expected, list(learner.model.parameters()))
    loss, answers = learner.step(faces, targets, lr=0.05)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(answers, logits.detach())
    for (name, parameter), gradient in zip(learner.model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(
            parameter, before[name] - 0.05 * (gradient + 0.01 * before[name]), rtol=1e-4, atol=1e-6
        )


def test_the_average_of_the_weights_by_hand(tiny: Any) -> None:
    learner = Learner(tiny(average=0.5), CPU)
    name = "linear.bias"
    start = learner.model.state_dict()[name].clone()
    expected = start
    for step in (1, 2, 30):
        with torch.no_grad():
            learner.model.get_parameter(name).add_(step)
        learner.average(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * learner.model.get_parameter(name).detach()
    torch.testing.assert_close(learner.weights()[name], expected)
    assert learner.weights().keys() == learner.model.state_dict().keys()
    plain = Learner(tiny(), CPU)
    assert torch.equal(plain.weights()[name], plain.model.state_dict()[name])


def test_targets_are_smoothed_labels_and_what_others_say(faces: FaceDataset, tiny: Any, tmp_path: Path) -> None:
    train = faces.split("train")
    smoothed = targets_of(tiny(label_smoothing=0.7), train)
    assert smoothed[0].tolist() == pytest.approx([0.4 if e == train.emotions[0] else 0.1 for e in range(7)])
    said = np.random.default_rng(0).dirichlet(np.ones(7), len(train))
    write_soft_labels(tmp_path / "soft.npz", said, train)
    mixed = targets_of(tiny(soft_labels=str(tmp_path / "soft.npz"), soft_weight=0.25), train)
    np.testing.assert_allclose(mixed, 0.75 * np.eye(7)[train.emotions] + 0.25 * said, atol=1e-3)
    rows = np.array([70, 3, 12])
    cleaned = replace(train.subset(rows), emotions=np.array([6, 0, 2], np.int8))  # fewer, moved and labelled anew
    few = targets_of(tiny(soft_labels=str(tmp_path / "soft.npz"), soft_weight=1.0), cleaned)
    np.testing.assert_allclose(few, said[rows], atol=1e-3)
    with pytest.raises(DataError, match=r"made of other faces: it does not know 28 of these 28 .*face-084 is one"):
        targets_of(tiny(soft_labels=str(tmp_path / "soft.npz")), faces.split("validation"))
    with pytest.raises(DataError, match=r"There is no .*none\.npz; make it with: python -m fer_core soften"):
        targets_of(tiny(soft_labels=str(tmp_path / "none.npz")), train)
    (tmp_path / "torn.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"torn\.npz holds no soft labels"):
        targets_of(tiny(soft_labels=str(tmp_path / "torn.npz")), train)


def test_teachers_are_asked_about_each_face_as_it_is_shown(train: Any, faces: FaceDataset, tiny: Any) -> None:
    """The oracle: their checkpoints, loaded anew, on the very faces of the batch."""
    runs = [train(tiny(seed=seed), f"teacher-{seed}") for seed in (1, 2)]
    learning = {"crop": 3.0, "mixup": 0.5, "cutmix": 0.5, "erase": 0.5, "seed": 3}
    config = tiny(teachers=" ".join(f"{run.path}:2" for run in runs), soft_weight=0.25, precision="fp32", **learning)
    pupil, alone = (Batches(c, faces.split("train"), CPU).of_epoch(1) for c in (config, tiny(**learning)))
    for batch, labels in zip(pupil, alone, strict=True):
        assert torch.equal(batch.faces, labels.faces)
        with torch.no_grad():
            said = [run.load_checkpoint(2).model(batch.faces).softmax(dim=1) for run in runs]
        torch.testing.assert_close(batch.targets, 0.75 * labels.targets + 0.25 * (said[0] + said[1]) / 2)


def test_a_pupil_resumes_to_the_bit(train: Any, new_run: Any, faces: FaceDataset, tiny: Any) -> None:
    config = tiny(teachers=f"{train(tiny(), 'teacher').path}:2", crop=2.0)
    runs = [new_run(config, name) for name in ("whole", "parts")]
    fit(config, faces, runs[0], "cpu")
    fit(replace(config, epochs=1), faces, runs[1], "cpu")
    fit(config, faces, runs[1], "cpu", resume=True)
    assert_same_run(*runs)


def test_what_cannot_be_learned_from_is_named_before_a_run_is_made(train: Any, faces: FaceDataset, tiny: Any) -> None:
    teacher = train(tiny(equalize=True), "teacher")
    with pytest.raises(RunError, match="There is no run 'nowhere'"):
        run_info(tiny(teachers="nowhere:1"), faces, "cpu")
    with pytest.raises(CheckpointError, match="kept no checkpoint of epoch 99"):
        run_info(tiny(teachers=f"{teacher.path}:99"), faces, "cpu")
    with pytest.raises(ConfigError, match=r"The teacher .*teacher:1 needs equalize = true\."):
        run_info(tiny(teachers=f"{teacher.path}:1"), faces, "cpu")
    with pytest.raises(DataError, match=r"There is no none\.npz; make it with: python -m fer_core soften"):
        run_info(tiny(soft_labels="none.npz"), faces, "cpu")
    with pytest.raises(ConfigError, match="Both teachers and soft_labels are given"):
        tiny(teachers=f"{teacher.path}:1", soft_labels="soft.npz")


def test_faces_worth_learning(faces: FaceDataset, tiny: Any) -> None:
    """Planted: a face that stands three times, one that stands twice with other labels, and one that is all gray."""
    images, emotions = faces.images[:10].copy(), faces.emotions[:10].copy()
    images[[4, 7]], emotions[[4, 7]] = images[1], emotions[1]
    images[9], emotions[9], emotions[2] = images[2], 3, 5
    images[5] = 200
    part = replace(faces.subset(np.arange(10)), images=images, emotions=emotions)
    assert rows_worth_learning(part).tolist() == [0, 1, 3, 6, 8]
    batches = Batches(tiny(drop_duplicates=True, rotation=0.0, crop=0.0), part, CPU)
    (batch,) = batches.of_epoch(1)
    assert torch.equal(batch.faces, batches.preprocess(images[[0, 1, 3, 6, 8]])[batch.rows])


@pytest.mark.parametrize(("second", "left"), [(0, 1), (1, 0)])
def test_too_few_faces_worth_learning(faces: FaceDataset, new_run: Any, tiny: Any, second: int, left: int) -> None:
    """Two equal faces: one to learn where their labels agree, none where they conflict."""
    emotions, images = np.array([0, second, 3, 4], np.int8), faces.images[[0, 0, 1, 2]]
    few = replace(faces.subset(np.array([0, 1, 90, 91])), images=images, emotions=emotions)
    with pytest.raises(DataError, match=rf"conflicting labels {left} of the 2 training faces of Patterns are left"):
        new_run(tiny(drop_duplicates=True), dataset=few)


# -- batches ----------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_face_once_in_its_own_order(faces: FaceDataset, tiny: Any) -> None:
    batches = Batches(tiny(rotation=0.0, crop=0.0), faces, CPU)
    epochs = [list(batches.of_epoch(epoch)) for epoch in (1, 1, 2)]
    shown = [torch.cat([batch.faces for batch in epoch]) for epoch in epochs]
    assert [len(batch.faces) for batch in epochs[0]] == [32, 32, 32, 30]
    expected = Counter(face.tobytes() for face in batches.preprocess(faces.images).numpy())
    for images in shown:
        assert Counter(face.numpy().tobytes() for face in images) == expected
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[0], shown[2])


def test_faces_and_labels_stay_together(faces: FaceDataset, tiny: Any) -> None:
    batches = Batches(tiny(rotation=0.0, crop=0.0), faces, CPU)
    label_of = {
        face.tobytes(): int(e) for face, e in zip(batches.preprocess(faces.images).numpy(), faces.emotions, strict=True)
    }
    for batch in batches.of_epoch(3):
        assert [label_of[face.numpy().tobytes()] for face in batch.faces] == batch.emotions.tolist()
        assert faces.emotions[batch.rows.numpy()].tolist() == batch.emotions.tolist()
        assert torch.equal(batch.targets, torch.eye(7)[batch.emotions])
        assert batch.faces.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("n", "sizes"), [(65, [32, 33]), (66, [32, 32, 2]), (64, [32, 32]), (33, [33]), (2, [2])])
def test_no_batch_holds_a_single_face(faces: FaceDataset, tiny: Any, n: int, sizes: list[int]) -> None:
    batches = Batches(tiny(), faces.subset(np.arange(n)), CPU)
    assert [len(batch.rows) for batch in batches.of_epoch(1)] == sizes
    assert batches.steps == len(sizes)


def test_equalisation_is_done_once_for_all_faces(faces: FaceDataset, tiny: Any) -> None:
    plain, equalized = (Batches(tiny(equalize=on), faces, CPU).pixels for on in (False, True))
    assert plain is not None
    assert equalized is not None
    assert torch.equal(plain, torch.from_numpy(faces.images))
    assert equalized.float().std() > plain.float().std()


def test_faces_too_many_for_a_copy_are_read_batch_by_batch(
    faces: FaceDataset, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "faces.npy", faces.images)
    on_disk = replace(faces, images=np.load(tmp_path / "faces.npy", mmap_mode="r"))
    config = tiny(equalize=True, flip=True)
    copied = list(Batches(config, faces, CPU).of_epoch(2))
    monkeypatch.setattr(batches_module, "LARGEST_COPY", 1000)
    batches = Batches(config, on_disk, CPU)
    assert batches.pixels is None
    for one, other in zip(copied, batches.of_epoch(2), strict=True):
        assert torch.equal(one.faces, other.faces)
        assert torch.equal(one.rows, other.rows)


def test_seeds_of_epochs_do_not_collide() -> None:
    assert len({epoch_seed(seed, epoch) for seed in range(20) for epoch in range(1, 101)}) == 2000


# -- fit --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "sgd", "precision": "fp32"}, {"precision": "bf16", "flip": True}]
)
def test_the_same_seed_gives_the_same_weights(train: Any, tiny: Any, changes: dict[str, Any]) -> None:
    config = tiny(epochs=2, **changes)
    one = train(config, "one")
    torch.manual_seed(12345)  # whatever was drawn before does not matter
    assert_same_run(one, train(config, "other"))


def test_another_seed_gives_other_weights(train: Any, tiny: Any) -> None:
    one, other = train(tiny(epochs=1), "one"), train(tiny(epochs=1, seed=1), "other")
    assert not torch.equal(weights(one)["model.linear.weight"], weights(other)["model.linear.weight"])


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "sgd", "lr": 0.03}, {"optimizer": "adamw", "schedule": "cosine"}]
)
def test_what_can_be_learnt_is_learnt(train: Any, tiny: Any, changes: dict[str, Any]) -> None:
    run = train(tiny(epochs=12, **{"lr": 1e-2, **changes}))
    table = run.metrics()
    training = table[table["split"] == "train"]
    assert training["loss"].iloc[-1] < 0.5 * training["loss"].iloc[0]
    assert table[table["split"] == "validation"]["accuracy"].max() > 0.8  # chance is 1 in 7


def test_labels_of_chance_are_not_learnt(new_run: Any, faces: FaceDataset, tiny: Any) -> None:
    """The oracle for leaks: with labels drawn at random, validation stays near 1 in 7."""
    drawn = np.random.default_rng(0).integers(0, 7, len(faces)).astype(np.int8)
    shuffled = replace(faces, emotions=np.where(faces.emotions < 0, faces.emotions, drawn))
    run = new_run(tiny(epochs=8, lr=1e-2), dataset=shuffled)
    fit(run.config, shuffled, run, "cpu")
    assert run.metrics().query("split == 'validation'")["accuracy"].max() < 0.5


def test_what_is_recorded_of_an_epoch(train: Any, tiny: Any) -> None:
    run = train(tiny(epochs=2, schedule="step", step_size=1))
    table = run.metrics()
    assert table["epoch"].tolist() == [1, 1, 2, 2]
    assert table["split"].tolist() == ["train", "validation"] * 2
    assert table["n"].tolist() == [84, 28] * 2
    assert table["step"].tolist() == [3, 3, 6, 6]
    assert table["lr"].tolist()[::2] == pytest.approx([3e-3, 3e-4])
    assert (table["seconds"] > 0).all()
    confusion = np.array(table["confusion"].iloc[1])
    assert confusion.sum() == 28
    assert np.trace(confusion) / 28 == pytest.approx(table["accuracy"].iloc[1])


@pytest.mark.usefixtures("every_step")
def test_progress_goes_to_whoever_asks(new_run: Any, faces: FaceDataset, tiny: Any) -> None:
    seen: list[Progress] = []
    run = new_run(tiny(epochs=2))
    fit(run.config, faces, run, "cpu", report=seen.append)
    assert [(p.epoch, p.step) for p in seen] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert all((p.epochs, p.steps) == (2, 3) for p in seen)
    assert math.isnan(seen[0].validation_accuracy)
    assert seen[3].validation_accuracy == run.metrics().query("split == 'validation'")["accuracy"].iloc[0]
    assert all(p.images_per_second > 0 for p in seen)
    assert seen[-1].eta_seconds == 0 < seen[0].eta_seconds
    steps = run.metrics("step")
    assert steps["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert steps["n"].tolist() == [32, 64, 84] * 2
    assert steps["loss"].tolist() == [p.loss for p in seen]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("all", [1, 2, 3, 4, 5, 6, 7]),
        ("every:3", [1, 3, 6, 7]),  # the first, each third, and always the newest
        ("last", [7]),
        ("best", [4, 7]),
        ("every:5,best,last", [1, 4, 5, 7]),
    ],
)
def test_which_epochs_are_kept(copied: Run, keep: str, kept: list[int]) -> None:
    for epoch in range(1, 8):
        copied.checkpoint_path(epoch).touch()
    accuracy = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.6, 5: 0.5, 6: 0.6, 7: 0.1}
    (copied.path / "metrics.jsonl").unlink()
    for epoch, value in accuracy.items():
        copied.append_metrics(kind="epoch", epoch=epoch, split="validation", accuracy=value)
    assert epochs_to_keep(keep, copied) == kept


def test_a_run_without_checkpoints_keeps_none(new_run: Any, tiny: Any) -> None:
    assert epochs_to_keep("every:2,best,last", new_run(tiny())) == []


def test_epochs_are_dropped_while_the_training_goes_on(train: Any, tiny: Any) -> None:
    run = train(tiny(epochs=5, keep_epochs="every:2"))
    assert run.epochs() == [1, 2, 4, 5]
    assert run.predictions("validation").epochs == (1, 2, 4, 5)
    assert run.metrics()["epoch"].nunique() == 5


@pytest.mark.usefixtures("every_step")
def test_a_stop_request_ends_it_after_the_step(new_run: Any, faces: FaceDataset, tiny: Any) -> None:
    run = new_run(tiny())

    def stop(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (2, 2):
            run.request_stop()

    fit(run.config, faces, run, "cpu", report=stop)
    assert run.status().state == "stopped"
    assert run.epochs() == [1]
    assert run.metrics("step")["step"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("moment", [(1, 1), (2, 2), (3, 3)])
def test_a_stopped_run_goes_on_to_the_same_weights(
    new_run: Any, train: Any, faces: FaceDataset, tiny: Any, moment: tuple[int, int]
) -> None:
    whole, stopped = train(tiny(), "whole"), new_run(tiny(), "stopped")

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.step) == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped.config, faces, stopped, "cpu", report=interrupt)
    assert stopped.status().state == "stopped"
    fit(stopped.config, faces, stopped, "cpu", resume=True)
    assert_same_run(whole, stopped)
    assert whole.metrics("step")["step"].tolist() == stopped.metrics("step")["step"].tolist()
    assert stopped.status().state == "finished"


@pytest.mark.usefixtures("every_step")
def test_all_that_the_fast_recipes_use_resumes_to_the_bit(new_run: Any, faces: FaceDataset, tiny: Any) -> None:
    config = tiny(
        model="EmotionNet", model_args={"widths": [8, 8], "depths": [1, 0], "squeeze": 4, "dropout": 0.1},
        optimizer="muon", schedule="linear", warmup=0.3, average=0.9, mixup=0.4, cutmix=0.3, erase=0.5, zoom=0.1,
        sharp=0.5, brightness=0.2, contrast=0.2, drop_duplicates=True, flip=True, label_smoothing=0.1,
    )  # fmt: skip
    whole, parts = (new_run(config, name) for name in ("whole", "parts"))
    fit(config, faces, whole, "cpu")
    fit(config, faces, parts, "cpu", report=lambda p: parts.request_stop() if (p.epoch, p.step) == (2, 2) else None)
    assert parts.status().state == "stopped"
    fit(config, faces, parts, "cpu", resume=True)
    assert_same_run(whole, parts)
    averaged = {name for name in weights(whole) if name.startswith("average.")}
    assert averaged
    kept = read_tensors(whole.checkpoint_path(3))[0]
    last = weights(whole)
    torch.testing.assert_close(kept["linear.weight"].float(), last["average.linear.weight"], atol=1e-3, rtol=1e-3)
    assert not torch.equal(last["average.linear.weight"], last["model.linear.weight"])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_the_reports_network_resumes_to_the_bit(new_run: Any, faces: FaceDataset, tiny: Any, optimizer: str) -> None:
    """At its real size, where vectorised loops and memory layouts matter."""
    config = tiny(model_args={}, batch_size=42, optimizer=optimizer)
    runs = [new_run(config, name) for name in ("whole", "parts")]
    fit(config, faces, runs[0], "cpu")
    short = tiny(model_args={}, batch_size=42, optimizer=optimizer, epochs=1)
    fit(short, faces, runs[1], "cpu")
    fit(config, faces, runs[1], "cpu", resume=True)
    assert_same_run(*runs)


def test_moments_lie_in_memory_as_before(train: Any, tiny: Any) -> None:
    learner = Learner(tiny(), CPU)
    assert learner.load(train(tiny(epochs=1))) == 1
    kernels = [parameter for parameter in learner.model.parameters() if parameter.dim() == 4]
    for kernel in kernels:
        moments = learner.optimizer.state[kernel]
        assert moments["exp_avg"].stride() == moments["exp_avg_sq"].stride() == kernel.stride()
    assert kernels[1].is_contiguous(memory_format=torch.channels_last)


def test_a_training_goes_on_from_the_weights_of_a_checkpoint(
    train: Any, new_run: Any, faces: FaceDataset, tiny: Any
) -> None:
    """To the bit those weights, averaged ones too, before the first step; the checkpoint is not needed to resume."""
    source = train(tiny(epochs=2), "source")
    config = tiny(epochs=2, seed=5, average=0.9, start_from=f"{source.path}:1")
    learner = Learner(config, CPU)
    learner.initialise(Batches(config, faces.split("train"), CPU))
    expected = source.load_checkpoint(1).model.state_dict()
    for found in (learner.model.state_dict(), learner.weights()):
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())

    runs = [new_run(config, name) for name in ("whole", "parts")]
    fit(config, faces, runs[0], "cpu")
    fit(replace(config, epochs=1), faces, runs[1], "cpu")
    shutil.rmtree(source.path)
    fit(config, faces, runs[1], "cpu", resume=True)
    assert_same_run(*runs)


def test_a_checkpoint_of_another_network_is_no_start(train: Any, faces: FaceDataset, tiny: Any) -> None:
    source = train(tiny(), "source")
    wider = tiny(start_from=str(source.path), model_args={"widths": [3, 4]})
    with pytest.raises(ConfigError, match=r"source is EmotionResNet .*, not EmotionResNet .*; set model"):
        run_info(wider, faces, "cpu")
    with pytest.raises(RunError, match="There is no run 'nowhere'"):
        run_info(tiny(start_from="nowhere:1"), faces, "cpu")
    with pytest.raises(CheckpointError, match="kept no checkpoint of epoch 99"):
        run_info(tiny(start_from=f"{source.path}:99"), faces, "cpu")


def test_more_epochs_for_a_finished_run(train: Any, faces: FaceDataset, tiny: Any) -> None:
    whole, extended = train(tiny(epochs=4), "whole"), train(tiny(epochs=2), "extended")
    fit(extended.extended({"epochs": 4}), faces, extended, "cpu", resume=True)
    assert_same_run(whole, extended)
    assert Run(extended.path).config.epochs == 4


def test_another_keep_rule_takes_effect_on_resuming(train: Any, faces: FaceDataset, tiny: Any) -> None:
    run = train(tiny(epochs=4))
    fit(run.extended({"keep_epochs": "last"}), faces, run, "cpu", resume=True)
    assert run.epochs() == [4]


def test_a_finished_run_that_is_resumed_stays_as_it_is(train: Any, faces: FaceDataset, tiny: Any) -> None:
    run = train(tiny())
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.name != "status.json"}
    fit(run.config, faces, run, "cpu", resume=True)
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.name != "status.json"} == before


def test_resuming_on_other_data_is_refused(train: Any, faces: FaceDataset, tiny: Any) -> None:
    run = train(tiny(epochs=1))
    other = faces.subset(np.arange(1, 126))
    known, given = faces.fingerprint_without_test, other.fingerprint_without_test
    with pytest.raises(DataError, match=f"run was begun on other data .fingerprint {known}, not {given}"):
        fit(run.config, other, run, "cpu", resume=True)
    assert run.status().state == "finished"
    assert run.epochs() == [1]
    fit(
        run.extended({"epochs": 2}), faces.subset(faces.splits != 2), run, "cpu", resume=True
    )  # test faces do not matter
    assert run.epochs() == [1, 2]
    with pytest.raises(ConfigError, match="run was trained for 2 epochs already; give --epochs 2 or more"):
        run.extended({"epochs": 1})


def test_a_run_without_its_state_is_not_begun_anew(train: Any, faces: FaceDataset, tiny: Any) -> None:
    """A shipped run has none: resuming must not throw its epochs away."""
    run = train(tiny(epochs=2))
    (run.path / "state.safetensors").unlink()
    with pytest.raises(RunError, match=r"run has no state.safetensors to go on from .*; start a new run"):
        fit(run.extended({"epochs": 3}), faces, run, "cpu", resume=True)
    assert run.epochs() == [1, 2]
    assert Run(run.path).config.epochs == 2


def test_a_running_run_is_not_touched_by_resuming_it(train: Any, faces: FaceDataset, tiny: Any) -> None:
    run = train(tiny(epochs=2))
    with run.training():
        (run.path / "epoch-003.safetensors").touch()
        with pytest.raises(RunError, match="already being trained"):
            fit(run.config, faces, run, "cpu", resume=True)
        assert run.epochs() == [1, 2, 3]


def test_a_damaged_state_is_named(train: Any, faces: FaceDataset, tiny: Any) -> None:
    run = train(tiny(epochs=1))
    path = run.path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"state.safetensors is not a whole safetensors file"):
        fit(run.config, faces, run, "cpu", resume=True)
    assert run.status().state == "failed"
    assert run.epochs() == [1]


def test_a_loss_that_is_no_number_fails_the_run(
    new_run: Any, faces: FaceDataset, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SECONDS_BETWEEN_RECORDS", math.inf)  # a record, and a look, at the epoch's end alone
    run = new_run(tiny(optimizer="sgd", lr=100.0, weight_decay=10.0, epochs=20))
    with pytest.raises(RunError, match=r"The loss became (nan|inf) in epoch \d+ at step 3; try a smaller lr"):
        fit(run.config, faces, run, "cpu")
    assert run.status().state == "failed"
    assert "try a smaller lr" in run.status().error
    assert all(math.isfinite(record["loss"]) for record in run.records())


def test_data_without_labelled_splits_is_refused(faces: FaceDataset, tiny: Any) -> None:
    for split, rows in (("train", faces.splits != 0), ("validation", faces.splits != 1)):
        with pytest.raises(DataError, match=f"Patterns has 0 labelled faces in its {split} split; training needs more"):
            run_info(tiny(), faces.subset(rows), "cpu")


def test_devices() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match=r"There is no device 'tpu' on this machine; use --device auto or one of cpu"):
        pick_device("tpu")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells of each mapping how it is read")
def test_mapped_faces_are_read_one_by_one(tmp_path: Path) -> None:
    """The kernel's own record of the mapping says "rr", random reads, once it was told; of others nothing is said."""
    path = tmp_path / "faces.bin"
    np.zeros((10, 48, 48), np.uint8).tofile(path)
    images = np.memmap(path, np.uint8, "r").reshape(-1, 48, 48)[2:]

    def flags() -> list[str]:
        mapping = Path("/proc/self/smaps").read_text().split(str(path))[1]
        return next(line for line in mapping.splitlines() if line.startswith("VmFlags")).split()

    assert "rr" not in flags()
    expect_random_reads(images)
    assert "rr" in flags()
    expect_random_reads(np.zeros((1, 48, 48), np.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_system_is_told_of_random_reads_of_cached_faces() -> None:
    faces = demo_faces()
    expect_random_reads(faces.images)
    mappings = Path("/proc/self/smaps").read_text().split(str(cache_dir()))[1:]
    assert any(" rr " in line for line in "".join(mappings).splitlines() if line.startswith("VmFlags"))
