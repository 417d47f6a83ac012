"""The architectures by name. A new one is one file here and one line in `MODELS`; no view or command changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from fer_core.errors import ConfigError
from fer_core.models.emotion_cnn import EmotionCNN
from fer_core.models.emotion_net import EmotionNet
from fer_core.models.emotion_resnet import EmotionResNet

MODELS: dict[str, type[nn.Module]] = {
    "EmotionCNN": EmotionCNN,
    "EmotionResNet": EmotionResNet,
    "EmotionNet": EmotionNet,
}


def create_model(name: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """A freshly initialised network: float32 (B, 1, 48, 48) -> logits (B, 7).

    Raises ConfigError naming a model that does not exist or arguments that it does not take.
    """
    if name not in MODELS:
        raise ConfigError(f"There is no model '{name}'; the models are {', '.join(MODELS)}.")
    try:
        return MODELS[name](**dict(arguments or {}))
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise ConfigError(f"{name} cannot be built with {dict(arguments or {})}: {error}.") from error


def conv_layers(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions in forward order under the names that menus show: `conv1` (`conv1.conv` in full), `res1.0`."""
    return {name.removesuffix(".conv"): layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}


def count_parameters(model: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
