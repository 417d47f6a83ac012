"""Networks that another learns from while it is trained: asked about each face as it is shown, augmented and mixed, so
that it learns their function and not only their answers to a fixed set (Beyer et al. 2022, "Knowledge distillation: A
good teacher is patient and consistent")."""

from __future__ import annotations

import torch
from torch import Tensor

from fer_core.config import TrainConfig
from fer_core.errors import ConfigError
from fer_core.precision import autocast
from fer_core.preprocess import Preprocess
from fer_core.runs import Checkpoint, find_checkpoint


class Teachers:
    """The checkpoints that `config.teachers` names, averaged with equal weights.

    Raises RunError or CheckpointError where one cannot be read, ConfigError where it needs faces prepared otherwise.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.precision, self.device = config.precision, device
        self.models = [checkpoint.model for checkpoint in checkpoints_of_teachers(config)]
        for model in self.models:
            model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def __call__(self, faces: Tensor) -> Tensor:
        """float32 (B, 1, 48, 48), normalised -> the mean of their probabilities, float32 (B, 7), rows of sum 1."""
        with autocast(self.precision, self.device):
            answers = [model(faces).float().softmax(dim=1) for model in self.models]
        return torch.stack(answers).mean(dim=0)


def checkpoints_of_teachers(config: TrainConfig) -> list[Checkpoint]:
    """What `config.teachers` names, in evaluation mode on the CPU; see `Teachers` for what it raises."""
    found = []
    for name in config.teachers.split():
        run, epoch = find_checkpoint(name)
        checkpoint = run.load_checkpoint(epoch)
        if checkpoint.preprocess != Preprocess(equalize=config.equalize):
            raise ConfigError(f"The teacher {name} needs equalize = {str(checkpoint.preprocess.equalize).lower()}.")
        found.append(checkpoint)
    return found
