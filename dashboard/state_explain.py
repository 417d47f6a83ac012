"""The caching of what the Saliency and Layers pages show; `state` does that of all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from dashboard.progress import progress
from dashboard.state import Choice, _checkpoint_key, _loaded, _memory, kept_stamps, model_lock, predictor, split
from fer_core.data import FaceDataset
from fer_core.runs import Checkpoint, Run

if TYPE_CHECKING:
    from fer_core.explain.attribution import Attribution, Target
    from fer_core.explain.averages import Averages
    from fer_core.explain.features import FeatureMaps
    from fer_core.explain.film import Film
    from fer_core.explain.layers import ConvLayer
    from fer_core.explain.maximisation import Ascent, FilterFilm, Maximised
    from fer_core.explain.pictures import Look
    from fer_core.explain.pixel_weights import PixelWeights
    from fer_core.explain.regions import RegionStudy
    from fer_core.explain.top_faces import LayerActivity
    from fer_core.explain.trust import Trust

# -- the network to ask ----------------------------------------------------------------------------


def own_network(chosen: Choice) -> Checkpoint:
    """The chosen network once more, for what takes long: under `model_lock` all other sessions would wait for it.
    Raises CheckpointError."""
    from fer_core.inference import Predictor

    return Predictor.load(chosen.run, chosen.epoch).checkpoint


@contextmanager
def network_for(chosen: Choice, method: str, faces: int) -> Iterator[Checkpoint]:
    """A network to explain: for many faces, or by many fits, one of its own, else the one that all share, locked."""
    from fer_core.explain.attribution import METHODS

    if faces > 1 or METHODS[method].repeats:
        yield own_network(chosen)
    else:
        with model_lock():
            yield predictor(chosen).checkpoint


# -- what layers have learned ----------------------------------------------------------------------


def conv_layers(chosen: Choice) -> dict[str, ConvLayer]:
    """The layers of the chosen network by name. Raises CheckpointError."""
    _loaded("torch")
    from fer_core.explain.layers import conv_layers

    model = predictor(chosen).checkpoint.model
    return _memory().get(("layers", *_checkpoint_key(chosen)), lambda: conv_layers(model))


def feature_maps(chosen: Choice, layer: str, part: FaceDataset, row: int) -> FeatureMaps:
    """A layer's activations on one face of `part`."""
    from fer_core.explain.features import feature_maps

    def compute() -> FeatureMaps:
        with model_lock():
            return feature_maps(predictor(chosen).checkpoint, part.images[row : row + 1], layer)

    return _memory().get(("maps", *_checkpoint_key(chosen), layer, part.fingerprint, row), compute)


def kernels(chosen: Choice, layer: str) -> np.ndarray | None:
    """The kernels of a layer that sees the face itself, float32 (C, h, w); None for another layer."""
    from fer_core.explain.features import kernels

    return kernels(predictor(chosen).checkpoint.model, layer)


def maximised(
    chosen: Choice, layer: str, channels: Sequence[int], face: np.ndarray | None, ascent: Ascent
) -> Maximised:
    """What excites channels of a layer, from noise or from a face uint8 (48, 48). Shows progress."""
    from fer_core.explain.maximisation import maximise

    def compute() -> Maximised:
        faces = None if face is None else np.repeat(face[None], len(channels), axis=0)
        with progress(f"Climbing for {layer}") as report:
            return maximise(own_network(chosen), layer, channels, faces, ascent, report)

    start = b"" if face is None else face.tobytes()
    return _memory().get(("climb", *_checkpoint_key(chosen), layer, tuple(channels), start, ascent), compute)


def filter_film(run: Run, layer: str, channel: int, ascent: Ascent) -> FilterFilm:
    """What excites a channel at each epoch that the run kept. Shows progress."""
    from fer_core.explain.maximisation import film

    def compute() -> FilterFilm:
        with progress(f"Climbing at each epoch of {run.name}") as report:
            return film(run, layer, channel, ascent=ascent, report=report)

    return _memory().get(("film", str(run.path), layer, channel, ascent), compute, kept_stamps(run))


def layer_activity(chosen: Choice, split_name: str) -> dict[str, LayerActivity]:
    """All layers over a split of the chosen data. Shows progress. Raises CheckpointError."""
    from fer_core.explain.top_faces import top_faces

    part = split(split_name)

    def compute() -> dict[str, LayerActivity]:
        with progress(f"{chosen} looks at {len(part):,} faces") as report:
            return top_faces(chosen.run, chosen.epoch, part, report)

    return _memory().get(("activity", *_checkpoint_key(chosen), part.fingerprint), compute)


def pixel_weights(chosen: Choice, layer: str, split_name: str) -> PixelWeights:
    """How strongly each pixel moves a layer, by emotion. Shows progress."""
    from fer_core.explain.pixel_weights import pixel_weights

    part = split(split_name)

    def compute() -> PixelWeights:
        with progress(f"Gradients of {layer}") as report:
            return pixel_weights(own_network(chosen), layer, part, report)

    return _memory().get(("weights", *_checkpoint_key(chosen), layer, part.fingerprint), compute)


# -- what the network looks at ---------------------------------------------------------------------


def attribution(
    chosen: Choice, split_name: str, rows: Sequence[int], method: str, target: Target, layer: str
) -> Attribution:
    """One method's maps of some rows of a split. Shows progress. Raises ConfigError or DataError."""
    from fer_core.explain.attribution import METHODS, attribute

    part, rows = split(split_name), list(rows)
    layer = layer if METHODS[method].takes_layer else ""
    _loaded("captum.attr")

    def compute() -> Attribution:
        title = f"{METHODS[method].title} by {chosen}"
        with progress(title) as report, network_for(chosen, method, len(rows)) as net:
            faces, truth = part.images[rows], part.emotions[rows]
            return attribute(net, faces, method, target, layer or None, emotions=truth, report=report)

    key = ("map", *_checkpoint_key(chosen), part.fingerprint, tuple(rows), method, target, layer)
    return _memory().get(key, compute)


def trust(chosen: Choice, split_name: str, row: int, method: str, target: Target, layer: str) -> Trust:
    """All checks of one face's map. Shows progress. Raises ConfigError or DataError."""
    from fer_core.explain.attribution import METHODS
    from fer_core.explain.trust import examine

    part, result = split(split_name), attribution(chosen, split_name, [row], method, target, layer)

    def compute() -> Trust:
        with progress(f"Checks of {METHODS[method].title}") as report:
            return examine(own_network(chosen), part.images[row], result, report=report)

    key = ("trust", *_checkpoint_key(chosen), part.fingerprint, row, method, target, result.layer)
    return _memory().get(key, compute)


def map_film(run: Run, split_name: str, row: int, method: str, target: Target, layer: str) -> Film:
    """One face's map at every epoch that a run kept. Shows progress. Raises ConfigError, DataError, CheckpointError."""
    from fer_core.explain.film import make_film

    part = split(split_name)

    def compute() -> Film:
        with progress(f"Each epoch of {run.name} looks at the face") as report:
            return make_film(
                run,
                part.images[row],
                method,
                target,
                layer or None,
                emotion=int(part.emotions[row]),
                load=lambda epoch: own_network(Choice(run, epoch)),
                report=report,
            )

    key = ("map film", str(run.path), part.fingerprint, row, method, target, layer)
    return _memory().get(key, compute, kept_stamps(run))


def film_file(film: Film, look: Look, form: str, dark: bool = False) -> bytes:
    """A film as an animated picture; remembered, since making it takes longer than a click should."""
    from fer_core.explain.film import animation

    key = ("film file", id(film), look, form, dark)  # the film is kept beside its file: no other film can get its id
    return _memory().get(key, lambda: (film, animation(film, look, form, dark)))[1]


def average_maps(
    chosen: Choice, split_name: str, groups: dict[str, np.ndarray], method: str, target: Target, layer: str
) -> Averages:
    """The mean map of each group of rows of a split. Shows progress. Raises ConfigError or DataError."""
    from fer_core.explain.averages import average_maps

    part = split(split_name)

    def compute() -> Averages:
        with progress(f"{chosen} looks at the faces of each group") as report:
            return average_maps(
                own_network(chosen),
                part.images,
                groups,
                method,
                target,
                layer or None,
                emotions=part.emotions,
                report=report,
            )

    names = tuple(groups)
    key = ("averages", *_checkpoint_key(chosen), part.fingerprint, names, method, target, layer)
    return _memory().get(key, compute)


def region_study(chosen: Choice, split_name: str, most: int) -> RegionStudy:
    """Which regions carry each emotion, over a split of the chosen data. Shows progress. Raises DataError."""
    from fer_core.explain.regions import study_regions

    part = split(split_name)

    def compute() -> RegionStudy:
        with progress(f"{chosen} looks at faces with regions covered") as report:
            return study_regions(own_network(chosen), part.images, part.emotions, most=most, report=report)

    return _memory().get(("regions", *_checkpoint_key(chosen), part.fingerprint, most), compute)
