"""Which pixels an answer rests on: every method in one registry, one call, one frozen result.

    result = attribute(checkpoint, faces, "integrated-gradients", target=("Fear", "Surprise"))
    result.maps      # float32 (N, 48, 48)

A new method is a function `Question -> Tensor` and a line in `METHODS`; no view changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fer_core.errors import ConfigError, DataError
from fer_core.explain import gradients, perturbation
from fer_core.labels import EMOTIONS, UNLABELLED
from fer_core.preprocess import FACE_SIZE
from fer_core.runs import Checkpoint

if TYPE_CHECKING:  # torch is imported when a network runs
    import torch
    from torch import Tensor

    from fer_core.explain.score import Question

BATCH_SIZE = 64
Target = str | tuple[str, str]  # "predicted", "true" or an emotion; a pair of them stands for the difference of two
Sign = Literal["both", "positive", "negative", "absolute"]


@dataclass(frozen=True)
class Method:
    """One way to ask which pixels carry a score.

    sentence     what a value means, in one plain sentence
    shown        which part of the values its paper draws
    per_gray     True for a slope (logits per gray level); else a map shares out logits
    takes_layer  True where the map depends on a layer
    repeats      of methods that draw lots: the maps of several draws (repeats, N, 48, 48); `function` is their mean
    """

    title: str
    sentence: str
    paper: str
    function: Callable[[Question], Tensor]
    shown: Sign = "both"
    per_gray: bool = False
    takes_layer: bool = False
    repeats: Callable[[Question], Tensor] | None = None

    @property
    def unit(self) -> str:
        return "logits per gray level" if self.per_gray else "logits"


METHODS: dict[str, Method] = {
    "saliency": Method(
        "Saliency",
        "How fast the score changes when a pixel gets lighter: the gradient of the score.",
        "Simonyan, Vedaldi & Zisserman 2013, arXiv:1312.6034",
        gradients.saliency,
        shown="absolute",
        per_gray=True,
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        f"The gradient averaged over {gradients.SMOOTHGRAD_SAMPLES} copies of the face with noise of "
        f"{gradients.SMOOTHGRAD_NOISE:.0f} gray levels.",
        "Smilkov et al. 2017, arXiv:1706.03825",
        gradients.smoothgrad,
        shown="absolute",
        per_gray=True,
    ),
    "input-x-gradient": Method(
        "Input x Gradient",
        "The gradient times how far the pixel is from the mean gray of the training faces.",
        "Shrikumar et al. 2016, arXiv:1605.01713",
        gradients.input_x_gradient,
    ),
    "guided-backprop": Method(
        "Guided Backprop",
        "The gradient, with what speaks against the score dropped at every ReLU or GELU on the way back.",
        "Springenberg et al. 2014, arXiv:1412.6806",
        gradients.guided_backprop,
        shown="positive",
        per_gray=True,
    ),
    "integrated-gradients": Method(
        "Integrated Gradients",
        "What each pixel adds on the way from an all-gray face, the training mean, to this one; all pixels together "
        "add up to the difference of the two scores.",
        "Sundararajan, Taly & Yan 2017, arXiv:1703.01365",
        gradients.integrated_gradients,
    ),
    "grad-cam": Method(
        "Grad-CAM",
        "Where a layer is active in channels that raise the score.",
        "Selvaraju et al. 2017, arXiv:1610.02391",
        gradients.grad_cam,
        shown="positive",
        takes_layer=True,
    ),
    "occlusion": Method(
        "Occlusion",
        f"How much the score falls when a window of {perturbation.OCCLUSION_WINDOW}x{perturbation.OCCLUSION_WINDOW} "
        "pixels is covered with mean gray.",
        "Zeiler & Fergus 2014, arXiv:1311.2901",
        perturbation.occlusion,
    ),
    "lime": Method(
        "LIME",
        f"What each of {perturbation.LIME_PATCHES**2} patches adds, by a linear model fitted to the face with patches "
        "covered at random.",
        "Ribeiro, Singh & Guestrin 2016, arXiv:1602.04938",
        perturbation.lime,
        repeats=perturbation.lime_fits,
    ),
    "lime-superpixels": Method(
        "LIME, superpixels",
        "What each superpixel adds: as LIME, over pieces whose borders follow the edges of this face. The borders move "
        "with noise that nobody sees, and so does the map.",
        "Ribeiro, Singh & Guestrin 2016, arXiv:1602.04938; Achanta et al. 2012, doi:10.1109/TPAMI.2012.120",
        perturbation.lime_superpixels,
        repeats=perturbation.lime_superpixel_fits,
    ),
}


@dataclass(frozen=True)
class Attribution:
    """One method's maps of N faces under one checkpoint.

    maps           float32 (N, 48, 48), in `unit`; positive where the pixel speaks for the target
    method         key of `METHODS`
    targets        what was explained, face by face: "Happy", or "Fear minus Surprise"
    layer          of methods that take one, else ""
    probabilities  float32 (N, 7), what the checkpoint says of the faces
    weights        float32 (N, 7), the logits that make up the score: +1 for the target, -1 for what it is compared with
    problems       for each face "", or why its map is all zero or not finite
    spread         float32 (N, 48, 48), standard deviation over the repeats of a method that draws lots, else None
    """

    run: str
    epoch: int
    method: str
    targets: tuple[str, ...]
    layer: str
    maps: np.ndarray
    probabilities: np.ndarray
    weights: np.ndarray
    problems: tuple[str, ...]
    spread: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def title(self) -> str:
        """The method, and the layer where it takes one."""
        return METHODS[self.method].title + (f" at {self.layer}" if self.layer else "")

    @property
    def unit(self) -> str:
        return METHODS[self.method].unit


def attribute(
    checkpoint: Checkpoint,
    faces: np.ndarray,
    method: str,
    target: Target = "predicted",
    layer: str | None = None,
    *,
    emotions: np.ndarray | None = None,
    seed: int = 0,
    report: Callable[[float], object] | None = None,
) -> Attribution:
    """Which pixels of each face speak for the target, and how strongly.

    faces     uint8 (N, 48, 48)
    method    key of `METHODS`
    target    "predicted", "true", an emotion, or a pair of these: the first one's logit minus the second one's
    layer     for Grad-CAM, by its name in menus; the last convolution for None. Other methods ignore it
    emotions  int (N,), the true ones; needed for "true"
    seed      of methods that draw lots: equal seeds give equal maps
    report    called with the share done, 0..1

    Raises ConfigError for an unknown method, target or layer, DataError where "true" is asked of a face without label.
    """
    chosen = find_method(method)
    layer = find_layer_name(checkpoint, layer) if chosen.takes_layer else ""
    parts = [(np.empty((0, FACE_SIZE, FACE_SIZE), np.float32),) * 2 + (np.empty((0, len(EMOTIONS)), np.float32),) * 2]
    with running(checkpoint):
        for start in range(0, len(faces), BATCH_SIZE):
            batch = slice(start, min(start + BATCH_SIZE, len(faces)))

            def told(share: float, batch: slice = batch) -> None:
                if report:
                    report((batch.start + share * (batch.stop - batch.start)) / len(faces))

            probabilities = probabilities_of(checkpoint, faces[batch])
            truth = emotions[batch] if emotions is not None else None
            weights = target_weights(target, probabilities.argmax(axis=1), truth)
            maps = maps_of(chosen, make_question(checkpoint, faces[batch], weights, layer, seed, told))
            parts.append((maps.mean(axis=0), maps.std(axis=0), probabilities, weights))
            told(1.0)
    means, spread, probabilities, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Attribution(
        run=checkpoint.run,
        epoch=checkpoint.epoch,
        method=method,
        targets=tuple(_named(row) for row in weights),
        layer=layer,
        maps=means,
        probabilities=probabilities,
        weights=weights,
        problems=_problems(checkpoint, means, probabilities, weights),
        spread=spread if chosen.repeats else None,
    )


# -- the steps, for those who ask the same of other inputs or other weights -------------------------


def find_method(key: str) -> Method:
    """A method by its key. Raises ConfigError naming those there are."""
    if key not in METHODS:
        raise ConfigError(f"There is no method '{key}'; the methods are {', '.join(METHODS)}.")
    return METHODS[key]


def find_layer_name(checkpoint: Checkpoint, layer: str | None) -> str:
    """A layer's name once it is known to exist, the last convolution's for None. Raises ConfigError."""
    from fer_core.explain.layers import conv_layers, find_layer

    if layer is not None:
        return find_layer(checkpoint.model, layer).name
    names = list(conv_layers(checkpoint.model))
    if not names:
        raise ConfigError(f"{type(checkpoint.model).__name__} has no convolution; choose a method that takes no layer.")
    return names[-1]


@contextmanager
def running(checkpoint: Checkpoint) -> Iterator[None]:
    """The network in evaluation mode and gradients possible, whatever the caller forbade; all is put back after."""
    import torch

    from fer_core.explain.layers import evaluating

    with evaluating(checkpoint.model), torch.inference_mode(False), torch.enable_grad():
        yield


def make_question(
    checkpoint: Checkpoint,
    faces: np.ndarray,
    weights: np.ndarray,
    layer: str = "",
    seed: int = 0,
    report: Callable[[float], object] = lambda _: None,
) -> Question:
    """What to ask a method of faces uint8 (N, 48, 48), the score being logits times `weights` (N, 7)."""
    import torch

    from fer_core.explain.score import Question

    inputs = checkpoint.preprocess(faces).to(_device(checkpoint)).requires_grad_()
    gray = 255 * checkpoint.preprocess.std
    return Question(checkpoint.model, inputs, torch.from_numpy(weights).to(inputs), gray, layer, seed, report)


def maps_of(method: Method, ask: Question) -> np.ndarray:
    """A method's maps in its unit, one for each repeat: float32 (repeats, N, 48, 48)."""
    maps = method.repeats(ask) if method.repeats else method.function(ask).unsqueeze(0)
    maps = maps.detach() / ask.gray if method.per_gray else maps.detach()
    return np.asarray(maps.float().cpu().numpy())


def probabilities_of(checkpoint: Checkpoint, faces: np.ndarray) -> np.ndarray:
    """uint8 (N, 48, 48) -> float32 (N, 7)."""
    import torch

    with torch.no_grad():
        logits = checkpoint.model(checkpoint.preprocess(faces).to(_device(checkpoint)))
    return np.asarray(logits.softmax(dim=1).cpu().numpy())


def target_weights(target: Target, predicted: np.ndarray, true: np.ndarray | None) -> np.ndarray:
    """Which logits make up the score of each face: float32 (N, 7), see `attribute` for what a target is."""
    first, second = target if isinstance(target, tuple) else (target, None)
    weights = _one_hot(first, predicted, true)
    return weights - _one_hot(second, predicted, true) if second is not None else weights


def _one_hot(target: str, predicted: np.ndarray, true: np.ndarray | None) -> np.ndarray:
    identity = np.eye(len(EMOTIONS), dtype=np.float32)
    if target == "predicted":
        return np.asarray(identity[predicted])
    if target == "true":
        if true is None or (true == UNLABELLED).any():
            raise DataError("A face without label has no true emotion to explain; choose the predicted one or a name.")
        return np.asarray(identity[true])
    if target not in EMOTIONS:
        raise ConfigError(f"'{target}' is no target; choose predicted, true or one of {', '.join(EMOTIONS)}.")
    return np.asarray(identity[np.full(len(predicted), EMOTIONS.index(target))])


def _named(weights: np.ndarray) -> str:
    """What one row of weights stands for."""
    if not weights.any():
        return "nothing"
    name = EMOTIONS[weights.argmax()]
    return f"{name} minus {EMOTIONS[weights.argmin()]}" if weights.min() < 0 else name


def _problems(
    checkpoint: Checkpoint, maps: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> tuple[str, ...]:
    """For each face "", or in one sentence why its map says nothing."""
    return tuple(
        "" if np.isfinite(each).all() and each.any() else _reason(checkpoint, each, probabilities[i], weights[i])
        for i, each in enumerate(maps)
    )


def _reason(checkpoint: Checkpoint, values: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> str:
    finite = np.isfinite(values).all()
    broken = [name for name, tensor in checkpoint.model.state_dict().items() if not tensor.isfinite().all()]
    if not finite and broken:
        return f"The map is not finite, since weights of the network are not: {broken[0]} holds NaN or infinity."
    if not finite and not np.isfinite(probabilities).all():
        return "The map is not finite, since the network's own answer to this face is not."
    if not finite:
        return "The map is not finite though the network's answer is: its gradient overflows on the way back."
    if not weights.any():
        return "The map is all zero, since an emotion is compared with itself; choose another one to compare with."
    return (
        "The map is all zero: no change of a pixel reaches the score, as where ReLUs on every way to it are silent, or "
        "the face is the plain mean gray that it is compared with."
    )


def _device(checkpoint: Checkpoint) -> torch.device:
    return next(checkpoint.model.parameters()).device
