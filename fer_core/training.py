"""`fit`: one training, from the faces in memory to the checkpoints of a run directory.

Reproducible by construction: the random numbers of an epoch (order of faces, augmentation, dropout) depend on the seed
and the epoch's number alone, and the learning rate on the step's number alone. So a run that was killed goes on from
its last whole epoch to the very weights that it would have had.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.config import TrainConfig, parse_keep
from fer_core.data import FaceDataset
from fer_core.data.augment import Augment, Mix
from fer_core.data.keys import face_keys
from fer_core.dynamics import DynamicsRecorder
from fer_core.errors import ConfigError, DataError, RunError
from fer_core.evaluation import Evaluation, evaluate
from fer_core.inference import predict_probabilities
from fer_core.labels import EMOTIONS
from fer_core.models import count_parameters, create_model
from fer_core.models.emotion_net import EmotionNet
from fer_core.muon import Muon
from fer_core.preprocess import Preprocess
from fer_core.runs import Run, read_tensors, restored, stored, write_tensors
from fer_core.soft_labels import read_soft_labels
from fer_core.team import Team

SECONDS_BETWEEN_RECORDS = 1.0  # within an epoch; a fast epoch has one at its end only
FACES_TO_START_FROM = 4_000  # whose patches a whitening layer is made of
LARGEST_COPY = 1 << 30  # bytes of faces that are copied to memory, or to the GPU's
ALONE = Team()
TRAIN_ON_FEWEST = 2  # a batch-norm layer has no variance over a single face


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
    torch.manual_seed(config.seed)
    learner = Learner(config, target, team)
    batches = Batches(config, train, target)
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


class Learner:
    """The network and its optimiser: one call a step, and a file to go on from."""

    def __init__(self, config: TrainConfig, device: torch.device, team: Team = ALONE) -> None:
        self.config = config
        self.device = device
        self.team = team
        model = create_model(config.model, config.model_args).train()
        self.model: nn.Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = team.wrap(self.model)
        self.optimizer = make_optimizer(config, self.model)
        self.averaged = {name: t.clone() for name, t in self._floats().items()} if config.average else {}

    def initialise(self, batches: Batches) -> None:
        """Let a model that takes some of its weights from faces see the first of them."""
        if isinstance(self.model, EmotionNet):
            self.model.initialise(batches.inputs(torch.arange(min(len(batches.faces), FACES_TO_START_FROM))))
            self.averaged |= {name: self._floats()[name].clone() for name in self.averaged}

    def step(self, faces: Tensor, targets: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        """One update towards targets float32 (B, 7), rows of sum 1. Returns the mean loss, a scalar on the device, and
        the logits (B, 7)."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        share = self.team.share
        with autocast(self.config.precision, self.device):
            logits = self.network(faces[share])
        logits = logits.float()
        # The team averages gradients: shares of different sizes count by their size.
        loss = F.cross_entropy(logits, targets[share], reduction="sum") * (self.team.size / len(faces))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        logits = self.team.gathered(logits.detach(), len(faces))
        return F.cross_entropy(logits, targets), logits

    def average(self, step: int) -> None:
        """Let the moving average follow, after step `step` of the training: the fewer there were, the faster."""
        if self.averaged:
            decay = min(self.config.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self.averaged.values()), list(self._floats().values()), 1 - decay)

    def weights(self) -> dict[str, Tensor]:
        """What is scored and saved: the moving average where there is one, else the last weights."""
        return {**self.model.state_dict(), **self.averaged}

    def _floats(self) -> dict[str, Tensor]:
        """Weights and running means, not the counters of batch norm."""
        return {name: tensor for name, tensor in self.model.state_dict().items() if tensor.is_floating_point()}

    def save(self, run: Run, epoch: int) -> None:
        """state.safetensors: full-precision weights and the optimiser's moments after an epoch."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items() if tensor is not None}
        tensors |= {f"average.{name}": tensor for name, tensor in self.averaged.items()}
        write_tensors(_state_file(run), tensors, {"epoch": epoch})

    def load(self, run: Run) -> int:
        """The epoch after which the state was saved; weights and moments are as they were then."""
        tensors, header = read_tensors(_state_file(run))
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        moments: dict[int, dict[str, Tensor]] = {}
        parameters = list(self.model.parameters())
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, moment = name.split(".", 2)
                moments.setdefault(int(index), {})[moment] = _laid_out_like(parameters[int(index)], tensor)
        try:
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
            for name, tensor in self.averaged.items():
                tensor.copy_(tensors[f"average.{name}"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(f"{run.path / 'state.safetensors'} does not fit {self.config.model}: {error}.") from error
        return int(header["epoch"])


def _laid_out_like(parameter: Tensor, moment: Tensor) -> Tensor:
    """An optimiser's moment in its parameter's memory layout (channels last), as before it was saved: in another one
    the updates are slower and may round otherwise. Step counts, which are scalars, stay as they are."""
    return torch.empty_like(parameter, device="cpu").copy_(moment) if moment.shape == parameter.shape else moment


class Batch(NamedTuple):
    """What one step learns from."""

    faces: Tensor
    """float32 (B, 1, 48, 48), channels last"""
    targets: Tensor
    """float32 (B, 7), rows of sum 1"""
    emotions: Tensor
    """int64 (B,), the labels"""
    rows: Tensor
    """int64 (B,), positions among the training faces"""
    mixed: bool
    """Are the faces mixed with others, so that an answer is to no face alone?"""


class Batches:
    """The training faces as uint8; shuffled, normalised and augmented batch by batch on the device."""

    def __init__(self, config: TrainConfig, faces: FaceDataset, device: torch.device) -> None:
        self.preprocess = Preprocess(equalize=config.equalize)
        self.augment = Augment(
            config.rotation, config.crop, config.flip, config.zoom, config.brightness, config.contrast, config.erase
        )
        self.mix = Mix(config.mixup, config.cutmix)
        self.config = config
        targets = targets_of(config, faces)
        if config.drop_duplicates:
            rows = rows_worth_learning(faces)
            faces, targets = faces.subset(rows), targets[rows]
        self.faces = faces
        self.device = device
        self.pixels = None  # too many to keep a copy of: each batch is read where the data set has it, be it on a disk
        if faces.images.nbytes <= LARGEST_COPY:
            self.pixels = torch.from_numpy(np.array(self.preprocess.pixels(faces.images))).to(device)
        self.emotions = torch.from_numpy(faces.emotions.astype(np.int64)).to(device)
        self.targets = torch.from_numpy(targets).to(device)
        # A last batch of a single face would break batch norm: it joins the one before.
        n = len(faces)
        self.edges = [*range(0, n, config.batch_size), n]
        if len(self.edges) > 2 and n - self.edges[-2] < TRAIN_ON_FEWEST:
            del self.edges[-2]

    def inputs(self, rows: Tensor) -> Tensor:
        """The normalised faces of these rows, float32 (B, 1, 48, 48), on the device."""
        if self.pixels is not None:
            return self.preprocess.normalize(self.pixels[rows])
        return self.preprocess(self.faces.images[rows.cpu().numpy()]).to(self.device)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.edges) - 1

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """All faces once, in the order of this epoch."""
        generator = torch.Generator().manual_seed(epoch_seed(self.config.seed, epoch))
        order = torch.randperm(len(self.faces), generator=generator).to(self.device)
        for start, end in zip(self.edges, self.edges[1:], strict=False):
            rows = order[start:end]
            faces = self.augment(self.inputs(rows), generator)
            mixed, targets = self.mix(faces, self.targets[rows], generator)
            shown = mixed.contiguous(memory_format=torch.channels_last)
            yield Batch(shown, targets, self.emotions[rows], rows, mixed is not faces)


def targets_of(config: TrainConfig, faces: FaceDataset) -> np.ndarray:
    """What is to be learnt of each face: its label, smoothed, and what other networks say of it: float32 (N, 7)."""
    smoothing = config.label_smoothing
    targets = np.eye(len(EMOTIONS), dtype=np.float32)[faces.emotions] * (1 - smoothing) + smoothing / len(EMOTIONS)
    if config.soft_labels:
        said = read_soft_labels(Path(config.soft_labels), faces)
        targets = (1 - config.soft_weight) * targets + config.soft_weight * said
    return np.asarray(targets, np.float32)


def make_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that the config names; its learning rate is set before each step."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )
    if config.optimizer == "muon":
        return Muon(model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def learning_rate(config: TrainConfig, epoch: int, step: int, steps: int) -> float:
    """The learning rate of a step; epochs and steps count from 1."""
    if config.schedule == "step":
        return config.lr * config.gamma ** ((epoch - 1) // config.step_size)
    if config.schedule == "constant":
        return config.lr
    taken, total = (epoch - 1) * steps + step - 1, config.epochs * steps
    rise = config.warmup * total
    if taken < rise:
        return config.lr * (taken + 1) / (rise + 1)
    left = (total - taken) / (total - rise)
    return config.lr * (left if config.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


def epoch_seed(seed: int, epoch: int) -> int:
    """One well-mixed seed for each (seed, epoch)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


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


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 autocast where it is asked for, or (auto) where the processor computes in it: on others it is emulated
    and slower than float32."""
    enabled = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def has_fast_bf16(device: torch.device) -> bool:
    """Does this device compute in bfloat16 natively?"""
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def labelled_split(dataset: FaceDataset, split: str) -> FaceDataset:
    """The labelled faces of a split. Raises DataError where training cannot do with them."""
    faces = dataset.split(split).labelled()
    if len(faces) < TRAIN_ON_FEWEST:
        raise DataError(f"{dataset.name} has {len(faces)} labelled faces in its {split} split; training needs more.")
    return faces


def rows_worth_learning(faces: FaceDataset) -> np.ndarray:
    """Positions of the faces that stand for all that equal them pixel for pixel, without those whose labels conflict
    and those of a single gray level."""
    _, first, group = np.unique(face_keys(faces.images), return_index=True, return_inverse=True)
    agree = np.ones(len(first), bool)
    agree[group[faces.emotions != faces.emotions[first][group]]] = False
    kept = first[agree & (np.ptp(faces.images[first], axis=(1, 2)) > 0)]
    return np.asarray(np.sort(kept))


def epochs_to_keep(keep: str, run: Run) -> list[int]:
    """Which of the checkpoints there are stay under a `keep_epochs` rule; the newest one always does."""
    every, best, _ = parse_keep(keep)
    epochs = run.epochs()
    kept = {epoch for epoch in epochs if every and (epoch == 1 or epoch % every == 0)}
    best_epoch = run.best_epoch() if best else None
    return sorted(kept.union(epochs[-1:], [] if best_epoch is None else [best_epoch]))


def require_resumable(run: Run, dataset: FaceDataset) -> None:
    """Raises DataError where the run was begun on other faces, RunError where it kept nothing to go on from."""
    began_with = run.info.get("data", {}).get("fingerprint")
    if began_with != dataset.fingerprint:
        raise DataError(
            f"{run.name} was begun on other data (fingerprint {began_with}, not {dataset.fingerprint}); "
            "give --data the same faces, or start a new run."
        )
    if run.epochs() and not _state_file(run).exists():
        raise RunError(
            f"{run.name} has no {_state_file(run).name} to go on from (no shipped run has); start a new run."
        )


def _resume(run: Run, learner: Learner) -> int:
    """Bring learner and run back to the last whole epoch; returns the epoch to go on with."""
    epoch = learner.load(run) if _state_file(run).exists() else 0
    if learner.team.leads:
        run.rewind(epoch)
        run.set_config(learner.config)
        run.keep(epochs_to_keep(learner.config.keep_epochs, run))
    return epoch + 1


def _state_file(run: Run) -> Path:
    return run.path / "state.safetensors"


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

    parameters = count_parameters(create_model(config.model, config.model_args))
    for split in ("train", "validation"):
        labelled_split(dataset, split)
    counts = {split: int(row.sum()) for split, row in dataset.counts().iterrows()}
    return {
        "config": config.to_dict(),
        "parameters": parameters,
        "data": {
            "name": dataset.name,
            "is_demo": dataset.is_demo,
            "counts": counts,
            "fingerprint": dataset.fingerprint,
        },
        "labels": list(EMOTIONS),
        "machine": describe_machine(pick_device(device)),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
