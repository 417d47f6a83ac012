"""The network that learns: a call a step, its optimiser, learning rate and moving average, and what it goes on from."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.batches import Batches
from fer_core.config import TrainConfig
from fer_core.data.dataset import spread
from fer_core.errors import ConfigError, RunError
from fer_core.models import create_model
from fer_core.models.emotion_net import EmotionNet
from fer_core.muon import Muon
from fer_core.precision import autocast
from fer_core.runs import Checkpoint, Run, find_checkpoint, read_tensors, write_tensors
from fer_core.team import Team

FACES_TO_START_FROM = 4_000  # spread over all, whose patches a whitening layer is made of
ALONE = Team()


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
        """The first weights where they are not all random: those of a checkpoint, or some that are made of faces.

        Raises CheckpointError where the checkpoint cannot be read, ConfigError where it is of another model.
        """
        if self.config.start_from:
            self.model.load_state_dict(checkpoint_to_start_from(self.config).model.state_dict())
        elif isinstance(self.model, EmotionNet):
            self.model.initialise(batches.inputs(torch.from_numpy(spread(len(batches.faces), FACES_TO_START_FROM))))
        for name, tensor in self.averaged.items():
            tensor.copy_(self._floats()[name])

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
        write_tensors(state_file(run), tensors, {"epoch": epoch})

    def load(self, run: Run) -> int:
        """The epoch after which the state was saved; weights and moments are as they were then."""
        tensors, header = read_tensors(state_file(run))
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


def checkpoint_to_start_from(config: TrainConfig) -> Checkpoint:
    """The checkpoint that `config.start_from` names, of the very model that is to be trained.

    Raises RunError or CheckpointError where there is none, ConfigError where it is of another model.
    """
    run, epoch = find_checkpoint(config.start_from)
    theirs = run.config
    if (theirs.model, theirs.model_args) != (config.model, config.model_args):
        raise ConfigError(
            f"start_from = {config.start_from} is {theirs.model} {theirs.model_args}, not {config.model} "
            f"{config.model_args}; set model and model_args as they are there."
        )
    return run.load_checkpoint(epoch)


def _laid_out_like(parameter: Tensor, moment: Tensor) -> Tensor:
    """An optimiser's moment in its parameter's memory layout (channels last), as before it was saved: in another one
    the updates are slower and may round otherwise. Step counts, which are scalars, stay as they are."""
    return torch.empty_like(parameter, device="cpu").copy_(moment) if moment.shape == parameter.shape else moment


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
    taken, total = (epoch - 1) * steps + step - 1, config.epochs * steps
    rise = config.warmup * total
    if taken < rise:
        return config.lr * (taken + 1) / (rise + 1)
    if config.schedule == "step":
        return config.lr * config.gamma ** ((epoch - 1) // config.step_size)
    if config.schedule == "constant":
        return config.lr
    left = (total - taken) / (total - rise)
    return config.lr * (left if config.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


def state_file(run: Run) -> Path:
    """Where a run keeps what it goes on from."""
    return run.path / "state.safetensors"
