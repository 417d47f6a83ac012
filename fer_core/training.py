"""`fit`: one training, from the faces in memory to the checkpoints of a run directory.

Reproducible by construction: the random numbers of an epoch (order of faces, augmentation, dropout) depend on the seed
and the epoch's number alone, and the learning rate on the step's number alone. So a run that was killed goes on from
its last whole epoch to the very weights that it would have had.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fer_core.batches import TRAIN_ON_FEWEST, Batch, Batches, epoch_seed, rows_worth_learning
from fer_core.config import TrainConfig, parse_keep
from fer_core.data import FaceDataset
from fer_core.dynamics import DynamicsRecorder
from fer_core.errors import ConfigError, DataError, RunError
from fer_core.evaluation import Evaluation, evaluate
from fer_core.inference import predict_probabilities
from fer_core.labels import EMOTIONS
from fer_core.learner import ALONE, Learner, checkpoint_to_start_from, learning_rate, state_file
from fer_core.models import count_parameters, create_model
from fer_core.precision import convolve_in_float32
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Run, restored, stored
from fer_core.soft_labels import read_soft_labels
from fer_core.teachers import checkpoints_of_teachers
from fer_core.team import Team

SECONDS_BETWEEN_RECORDS = 1.0  # within an epoch; a fast epoch has one at its end only


@dataclass(frozen=True)
class Progress:
    """How far a training is, after a step. Accuracies are shares 0..1, NaN before the first is known."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    validation_accuracy: float
    images_per_second: float
    eta_seconds: float


Report = Callable[[Progress], None]


def fit(
    config: TrainConfig,
    dataset: FaceDataset,
    run: Run,
    device: str = "auto",
    report: Report | None = None,
    resume: bool = False,
    team: Team = ALONE,
) -> None:
    """Train `config` on the dataset's train split, score its validation split after each epoch, and keep all in `run`.

    Raises DataError for a data set without labelled train and validation faces (or, on resuming, another one than the
    run began with), ConfigError for a device that is not there, RunError if the loss stops being a finite number.
    """
    target = pick_device(device)
    train, validation = labelled_split(dataset, "train"), labelled_split(dataset, "validation")
    torch.backends.cudnn.deterministic = True
    convolve_in_float32()  # what is not autocast: the scores of each epoch
    torch.manual_seed(config.seed)
    learner = Learner(config, target, team)
    batches = Batches(config, train, target)
    if not (resume and state_file(run).exists()):
        learner.initialise(batches)
    if resume:
        require_resumable(run, dataset)

    with team.training(run) as beat:
        first_epoch = _resume(run, learner) if resume else 1
        journal = Journal(run, batches, validation, first_epoch, report) if team.leads else None
        if journal:
            learner.save(run, first_epoch - 1)  # a run has a state to go on from before it has a checkpoint
        for epoch in range(first_epoch, config.epochs + 1):
            seed_epoch(config.seed, epoch)
            for step, batch in enumerate(batches.of_epoch(epoch), start=1):
                lr = learning_rate(config, epoch, step, batches.steps)
                loss, logits = learner.step(batch.faces, batch.targets, lr)
                learner.average((epoch - 1) * batches.steps + step)
                beat(journal.after_step(epoch, step, batch, loss, logits, lr) if journal else None)
            if journal:
                journal.after_epoch(epoch, learner.weights(), beat if team.size == 1 else None)
                learner.save(run, epoch)  # from here on a resumed run goes on with the next epoch
                run.keep(epochs_to_keep(config.keep_epochs, run))


class Journal:
    """What a training writes into its run: scores within and after each epoch, checkpoints, what was learned when."""

    def __init__(
        self, run: Run, batches: Batches, validation: FaceDataset, first_epoch: int, report: Report | None
    ) -> None:
        config, device = batches.config, batches.device
        self.run, self.batches, self.validation = run, batches, validation
        self.judge = create_model(config.model, config.model_args).eval()
        self.judge.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dynamics = DynamicsRecorder(run.path, batches.faces.images, done=first_epoch - 1)
        self.clock = _Clock(config, batches, first_epoch, report)
        self.began = time.monotonic()
        self.totals = torch.zeros(2, device=device)  # summed loss, right answers
        self.seen = 0

    def after_step(
        self, epoch: int, step: int, batch: Batch, loss: Tensor, logits: Tensor, lr: float
    ) -> dict[str, Any] | None:
        """Count a step; once a second and at the epoch's end add a line and return the progress."""
        if not batch.mixed:
            self.dynamics.add(batch.rows, logits, batch.emotions)
        right = (logits.argmax(dim=1) == batch.emotions).sum()
        self.totals += torch.stack([loss * len(logits), right])
        self.seen += len(logits)
        ends = step == self.batches.steps
        if not (self.clock.is_due() or ends):
            return None
        mean_loss, accuracy = (self.totals / self.seen).tolist()
        _require_finite(mean_loss, epoch, step)
        line = {"epoch": epoch, "step": (epoch - 1) * self.batches.steps + step, "split": "train"}
        line |= {"loss": mean_loss, "accuracy": accuracy, "n": self.seen, "lr": lr}
        self.run.append_metrics(kind="step", **line)
        progress = asdict(self.clock.tick(epoch, step, mean_loss, accuracy))
        if ends:
            self.run.append_metrics(kind="epoch", **line, seconds=time.monotonic() - self.began)
            self.dynamics.end_epoch()
        return progress

    def after_epoch(self, epoch: int, weights: dict[str, Tensor], beat: Callable[[], None] | None) -> None:
        """Score the validation faces with the weights, and keep both."""
        # What is scored is what is saved: the weights as the checkpoint holds them, computed in full precision.
        weights = stored(weights)
        self.judge.load_state_dict(restored(weights))
        began = time.monotonic()
        preprocess, faces, run = self.batches.preprocess, self.validation, self.run
        probabilities = predict_probabilities(
            self.judge, preprocess, faces.images, self.totals.device, report=(lambda _: beat()) if beat else None
        )
        result = evaluate(probabilities, faces.emotions, run=run.name, epoch=epoch, data=faces.name, split="validation")
        _require_finite(result.loss, epoch, self.batches.steps)
        self.clock.validation_accuracy = result.accuracy.value
        run.save_checkpoint(epoch, weights, preprocess, _scores(result))
        run.save_predictions(epoch, probabilities, "validation", faces.fingerprint)
        line = {"epoch": epoch, "step": epoch * self.batches.steps, **_scores(result)}
        line |= {"confusion": result.confusion.tolist(), "seconds": time.monotonic() - began}
        run.append_metrics(kind="epoch", **line)
        self.began, self.seen = time.monotonic(), 0
        self.totals.zero_()


def _scores(result: Evaluation) -> dict[str, Any]:
    return {"split": result.split, "loss": result.loss, "accuracy": result.accuracy.value, "n": result.n}


def seed_epoch(seed: int, epoch: int) -> None:
    """Fix torch's own random numbers (dropout) for an epoch."""
    torch.manual_seed(epoch_seed(seed, epoch))


def pick_device(name: str) -> torch.device:
    """auto: CUDA, else Apple's MPS, else the CPU. Raises ConfigError for a device that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name, False):
        raise ConfigError(f"There is no device '{name}' on this machine; use --device auto or one of "
                          f"{', '.join(kind for kind, ok in there.items() if ok)}.")  # fmt: skip
    return torch.device(name)


def labelled_split(dataset: FaceDataset, split: str) -> FaceDataset:
    """The labelled faces of a split. Raises DataError where training cannot do with them."""
    faces = dataset.split(split).labelled()
    if len(faces) < TRAIN_ON_FEWEST:
        raise DataError(f"{dataset.name} has {len(faces)} labelled faces in its {split} split; training needs more.")
    return faces


def epochs_to_keep(keep: str, run: Run) -> list[int]:
    """Which of the checkpoints there are stay under a `keep_epochs` rule; the newest one always does."""
    every, best, _ = parse_keep(keep)
    epochs = run.epochs()
    kept = {epoch for epoch in epochs if every and (epoch == 1 or epoch % every == 0)}
    best_epoch = run.best_epoch() if best else None
    return sorted(kept.union(epochs[-1:], [] if best_epoch is None else [best_epoch]))


def require_resumable(run: Run, dataset: FaceDataset) -> None:
    """Raises DataError where the run was begun on other faces, RunError where it kept nothing to go on from."""
    if not run.began_with(dataset):
        raise DataError(
            f"{run.name} was begun on other data (fingerprint {run.data_fingerprint or 'not noted'}, not "
            f"{dataset.fingerprint_without_test}); "
            "give --data the same faces, or start a new run."
        )
    if run.epochs() and not state_file(run).exists():
        raise RunError(f"{run.name} has no {state_file(run).name} to go on from (no shipped run has); start a new run.")


def _resume(run: Run, learner: Learner) -> int:
    """Bring learner and run back to the last whole epoch; returns the epoch to go on with."""
    epoch = learner.load(run) if state_file(run).exists() else 0
    if learner.team.leads:
        run.rewind(epoch)
        run.set_config(learner.config)
        run.keep(epochs_to_keep(learner.config.keep_epochs, run))
    return epoch + 1


def _require_finite(loss: float, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise RunError(f"The loss became {loss} in epoch {epoch} at step {step}; try a smaller lr.")


class _Clock:
    """Turns steps into speed and time left, for whoever watches."""

    def __init__(self, config: TrainConfig, batches: Batches, first_epoch: int, report: Report | None) -> None:
        self.config, self.batches, self.report = config, batches, report
        self.began = self.ticked = time.monotonic()
        self.before = (first_epoch - 1) * batches.steps
        self.validation_accuracy = math.nan

    def is_due(self) -> bool:
        """Is it time for another record?"""
        return time.monotonic() - self.ticked >= SECONDS_BETWEEN_RECORDS

    def tick(self, epoch: int, step: int, loss: float, accuracy: float) -> Progress:
        self.ticked = time.monotonic()
        spent = time.monotonic() - self.began
        done = (epoch - 1) * self.batches.steps + step - self.before
        left = self.config.epochs * self.batches.steps - self.before - done
        progress = Progress(
            epoch=epoch,
            epochs=self.config.epochs,
            step=step,
            steps=self.batches.steps,
            loss=loss,
            accuracy=accuracy,
            validation_accuracy=self.validation_accuracy,
            images_per_second=done * len(self.batches.faces) / self.batches.steps / spent,
            eta_seconds=left * spent / done,
        )
        if self.report:
            self.report(progress)
        return progress


def run_info(config: TrainConfig, dataset: FaceDataset, device: str) -> dict[str, Any]:
    """What run.json says of a training: config, data, versions, commit and hardware.

    Raises what speaks against the training, as `fit` does, so that no run is created in vain.
    """
    from fer_core.provenance import describe_machine

    parameters = count_parameters(_tried_model(config))
    if config.start_from:
        checkpoint_to_start_from(config)
    checkpoints_of_teachers(config)
    for split in ("train", "validation"):
        labelled_split(dataset, split)
    if config.drop_duplicates:
        rows_worth_learning(labelled_split(dataset, "train"))
    if config.soft_labels:
        read_soft_labels(Path(config.soft_labels), labelled_split(dataset, "train"))
    counts = {split: int(row.sum()) for split, row in dataset.counts().iterrows()}
    return {
        "config": config.to_dict(),
        "parameters": parameters,
        "data": {
            "name": dataset.name,
            "is_demo": dataset.is_demo,
            "counts": counts,
            "fingerprint": dataset.fingerprint_without_test,
        },
        "labels": list(EMOTIONS),
        "machine": describe_machine(pick_device(device)),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@torch.inference_mode()
def _tried_model(config: TrainConfig) -> nn.Module:
    """The network of a config, which has read one face. Raises ConfigError where it cannot."""
    model = create_model(config.model, config.model_args)
    try:
        model.eval()(torch.zeros(1, 1, FACE_SIZE, FACE_SIZE))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f"{config.model} with {config.model_args} cannot read a face: {error}.") from error
    return model
