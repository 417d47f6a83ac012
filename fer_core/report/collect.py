"""What a report tells, computed: from a checkpoint and labelled faces to one frozen object. Says nothing in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from fer_core.calibration import Calibration, Reliability, calibrate, load_calibration, reliability
from fer_core.config import parse_keep
from fer_core.data import FaceDataset
from fer_core.data.leaks import seen_in_training
from fer_core.errors import CheckpointError, DataError
from fer_core.evaluation import Evaluation, Share, evaluate
from fer_core.explain.attribution import Attribution, attribute
from fer_core.explain.averages import Averages, average_maps
from fer_core.explain.layers import conv_layers
from fer_core.explain.maximisation import Ascent, Maximised, maximise
from fer_core.explain.pixel_weights import PixelWeights, pixel_weights
from fer_core.explain.regions import REGIONS, RegionStudy, region_map, study_regions
from fer_core.labels import EMOTIONS
from fer_core.predictions import split_probabilities
from fer_core.report import PARTS, chosen_parts
from fer_core.runs import Checkpoint, Run

FACES = 16  # on the sheet of saliency maps, and of mistakes
AVERAGED = 64  # faces of each emotion, for mean saliency
REGION_FACES = 60  # of the best and of the worst label, each covered in 128 ways
ASCENT = Ascent(steps=32)
SURE = 0.9  # from which probability on the network is called sure
LEAST_OF_PAIRS = 3.04  # standard errors: a difference that chance gives in 5 % of the cases to any of 21 pairs


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a report tells. What was not asked for (see `collect`) is None.

    data           all faces that were opened, split as the run split them
    faces          the labelled faces of `split`, on which the checkpoint is scored
    probabilities  float32 (N, 7), of those
    seen           which of those stand pixel for pixel among the faces that the run was trained on, bool (N,)
    calibration    the run's own, of whatever faces; where it has none one fitted here, on half of `faces`
    stored         is it the run's own?
    """

    run: Run
    checkpoint: Checkpoint
    data: FaceDataset
    split: str
    faces: FaceDataset
    probabilities: np.ndarray
    parts: tuple[str, ...]
    seen: np.ndarray | None = None
    calibration: Calibration | None = None
    stored: bool = False
    saliency: Attribution | None = None
    averages: Averages | None = None
    regions: RegionStudy | None = None
    filters: dict[str, Maximised] = field(default_factory=dict)
    conv1: PixelWeights | None = None

    @property
    def epoch(self) -> int:
        return self.checkpoint.epoch

    @cached_property
    def evaluation(self) -> Evaluation:
        return evaluate(
            self.probabilities,
            self.faces.emotions,
            run=self.run.name,
            epoch=self.epoch,
            data=self.faces.name,
            split=self.split,
            seen=self.seen,
        )

    @cached_property
    def reliability(self) -> Reliability:
        return reliability(self.probabilities, self.faces.emotions)

    @property
    def same_data(self) -> bool:
        """Are these the very faces that the run was trained on?"""
        return self.run.began_with(self.data)

    @cached_property
    def own_data(self) -> bool:
        """Is this the data that the run was trained on, be it before faces were left out of it or labelled anew?"""
        return self.same_data or self.run.training_faces(self.data) is not None

    @property
    def calibrated_here(self) -> bool:
        """Is there a calibration, and of the very faces that are scored here?"""
        return self.calibration is not None and self.calibration.fingerprint == self.faces.fingerprint

    @property
    def scores(self) -> pd.Series[float]:
        """The validation accuracy that the run recorded of each epoch, in their order."""
        key = ("accuracy", "validation")
        return self.curves[key].dropna().astype(float) if key in self.curves else pd.Series(dtype=float)

    @property
    def picked_among(self) -> int:
        """Among how many epochs this one was picked by its score on the faces that it is scored on here; 0 for none.

        What the run recorded decides, since files may be gone: the epoch that scored best was picked among all that
        were scored, and the best of those kept (what a checkpoint is where no epoch is named) among these. The last
        epoch can be named before there is any score, so it was not picked, even where it is the best too: unless
        `keep_epochs` asks for the best epoch and not for the last, since then the score has the only say.
        """
        scores, (_, best, last) = self.scores, parse_keep(self.run.config.keep_epochs)
        if not self.same_data or self.split != "validation" or self.epoch not in scores:
            return 0
        if self.epoch == scores.index[-1] and (last or not best):
            return 0
        rivals = (scores, scores[scores.index.isin(self.run.epochs())])
        return next((len(among) for among in rivals if len(among) > 1 and scores[self.epoch] == among.max()), 0)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The run's own line for each epoch: index epoch, columns (measure, split); NaN where one was not scored."""
        table = self.run.metrics().drop_duplicates(["epoch", "split"], keep="last")
        return table.pivot(index="epoch", columns="split", values=["accuracy", "loss", "n", "lr", "seconds"])

    def recorded(self, epoch: int, split: str = "validation") -> Share:
        """How the run itself scored an epoch; nothing to count where it did not."""
        if ("accuracy", split) not in self.curves or epoch not in self.curves.index:
            return Share(0, 0)
        accuracy, n = (self.curves.loc[epoch, (measure, split)] for measure in ("accuracy", "n"))
        return Share(0, 0) if pd.isna(accuracy) else Share.of(float(accuracy), float(n))

    @cached_property
    def mistakes(self) -> np.ndarray:
        """int (k,): the faces that were taken for another emotion, the surest mistake first."""
        wrong = np.flatnonzero(self.probabilities.argmax(axis=1) != self.faces.emotions)
        return np.asarray(wrong[np.argsort(-self.probabilities[wrong].max(axis=1), kind="stable")])

    @cached_property
    def confusions(self) -> list[tuple[int, int, int]]:
        """(true, predicted, faces) of every kind of mistake that was made, the most frequent first."""
        matrix = self.evaluation.confusion
        kinds = [(i, j, int(matrix[i, j])) for i in range(len(EMOTIONS)) for j in range(len(EMOTIONS)) if i != j]
        return sorted((kind for kind in kinds if kind[2]), key=lambda kind: -kind[2])

    @cached_property
    def ranked(self) -> list[tuple[str, Share]]:
        """The labels of which there are faces, the one recognised best first."""
        there = [(label, share) for label, share in self.evaluation.by_label.items() if share.n]
        return sorted(there, key=lambda each: -each[1].value)


def region_shares(maps: np.ndarray) -> np.ndarray:
    """Maps (N, 48, 48) -> the share of each map's absolute values that lies in each region: float (N, regions)."""
    layout, sizes = region_map(), np.abs(maps).astype(np.float64)
    sums = np.stack([sizes[:, layout == i].sum(axis=1) for i in range(len(REGIONS))], axis=1)
    totals = sums.sum(axis=1, keepdims=True)
    shares = np.divide(sums, totals, out=np.zeros(sums.shape), where=np.isfinite(totals) & (totals > 0))
    return np.asarray(shares)


def region_areas() -> np.ndarray:
    """The share of the picture that each region covers: float (regions,)."""
    return np.bincount(region_map().ravel(), minlength=len(REGIONS)) / region_map().size


def wavelengths(images: np.ndarray) -> np.ndarray:
    """Pictures (N, 48, 48) -> how coarse each one's pattern is, in pixels: one over the mean frequency of its spectrum,
    each frequency weighted by its power."""
    spectrum = np.abs(np.fft.rfft2(images - images.mean(axis=(1, 2), keepdims=True))) ** 2
    spectrum[..., 1:-1] *= 2  # the other half of the plane, which is alike
    down, across = np.fft.fftfreq(images.shape[1]), np.fft.rfftfreq(images.shape[2])
    frequency = np.hypot(down[:, None], across[None])
    power = spectrum.sum(axis=(1, 2))
    weighted = (spectrum * frequency).sum(axis=(1, 2))
    return np.asarray(np.divide(power, weighted, out=np.full(len(images), np.inf), where=power > 0))


def collect(
    run: Run,
    epoch: int | None,
    data: FaceDataset,
    split: str = "validation",
    only: Collection[str] = (),
    report: Callable[[float], object] = lambda _: None,
) -> Findings:
    """Compute a report of a kept epoch (the best one for None) on the labelled faces of a split.

    only: some of `PARTS`; empty for all. report: called with the share done, 0..1.
    Raises ConfigError for a part that there is not, DataError where the split has no labelled faces, CheckpointError.
    """
    parts = chosen_parts(only)
    checkpoint = run.load_checkpoint(epoch)
    opened, data = data, run.split_as_in_training(data)
    faces = data.split(split).labelled()
    if not len(faces):
        raise DataError(f"{data.name} has no labelled faces in its {split} split; choose another one with --split.")
    if not conv_layers(checkpoint.model):
        raise CheckpointError(f"{run.name} has no convolution, and a report shows what those respond to.")
    steps = _Steps(parts, report)
    with steps("data"):
        probabilities = split_probabilities(run, checkpoint.epoch, faces, steps.within)
    with steps("leaks"):
        learned = run.training_faces(opened) if split != "train" else None
        seen = None if learned is None else seen_in_training(learned.images, faces.images)
    return _explained(Findings(run, checkpoint, data, split, faces, probabilities, parts, seen), steps)


def _fitted(found: Findings) -> Calibration | None:
    """A calibration on half of the faces; None where they are too few, or rendered ones for a network of real ones."""
    if found.faces.is_demo and not found.run.info.get("data", {}).get("is_demo"):
        return None
    try:
        return calibrate(
            found.probabilities,
            found.faces.emotions,
            epoch=found.epoch,
            data=found.faces.name,
            split=found.split,
            fingerprint=found.faces.fingerprint,
        )
    except DataError:
        return None


def _explained(found: Findings, steps: _Steps) -> Findings:
    """The same with what takes the network again, as far as it was asked for."""
    checkpoint, faces, images = found.checkpoint, found.faces, found.faces.images
    layers = conv_layers(checkpoint.model)
    if "calibration" in found.parts:
        stored = load_calibration(found.run, found.epoch)
        found = replace(found, calibration=stored or _fitted(found), stored=stored is not None)
    if "saliency" in found.parts:
        groups = {name: np.flatnonzero(faces.emotions == i) for i, name in enumerate(EMOTIONS)}
        with steps("saliency"):
            sheet = attribute(checkpoint, np.array(images[:FACES]), "saliency")
            means = average_maps(checkpoint, images, groups, "saliency", most=AVERAGED, report=steps.within)
            found = replace(found, saliency=sheet, averages=means)
    if "regions" in found.parts:
        extremes = [EMOTIONS.index(name) for name in dict.fromkeys((found.ranked[0][0], found.ranked[-1][0]))]
        with steps("regions"):
            chosen = np.flatnonzero(np.isin(faces.emotions, extremes))
            if max(np.bincount(faces.emotions[chosen].astype(int))) > 1:
                study = study_regions(
                    checkpoint, images[chosen], faces.emotions[chosen], most=REGION_FACES, report=steps.within
                )
                found = replace(found, regions=study)
    if "filters" in found.parts:
        total, done, filters = sum(layer.channels for layer in layers.values()), 0, {}
        with steps("filters"):
            for name, layer in layers.items():
                begun, share = done / total, layer.channels / total
                filters[name] = maximise(
                    checkpoint,
                    name,
                    ascent=ASCENT,
                    report=lambda part: steps.within(begun + share * part),  # noqa: B023
                )
                done += layer.channels
        found = replace(found, filters=filters)
    if "conv1" in found.parts:
        with steps("conv1"):
            found = replace(found, conv1=pixel_weights(checkpoint, next(iter(layers)), faces, steps.within))
    return found


class _Steps:
    """How much of a report is done, from how much of each part is. The answers and the leaks are computed for any."""

    def __init__(self, parts: Collection[str], report: Callable[[float], object]) -> None:
        self.report, self.done, self.weight = report, 0.0, 0.0
        self.total = sum(PARTS[part] for part in {*parts, "data", "leaks"})

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self.weight = PARTS[part]
        yield
        self.done += self.weight
        self.report(min(1.0, self.done / self.total))

    def within(self, share: float) -> None:
        self.report(min(1.0, (self.done + self.weight * share) / self.total))
