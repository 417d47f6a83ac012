"""The sections of a report, in its order: which figures each holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fer_core.report import figures_maps, figures_run, figures_scores
from fer_core.report.figure import Figure, Teller

_MAKERS: dict[str, Callable[[Teller], Iterable[Figure]]] = {
    "data": figures_run.data,
    "structure": figures_run.structure,
    "training": figures_run.training,
    "labels": figures_scores.labels,
    "calibration": figures_scores.calibration,
    "leaks": figures_scores.leaks,
    "mistakes": figures_scores.mistakes,
    "saliency": figures_maps.saliency,
    "regions": figures_maps.regions,
    "filters": figures_maps.filters,
    "conv1": figures_maps.conv1,
}


@dataclass(frozen=True)
class Section:
    """`key` is one of `fer_core.report.PARTS`."""

    key: str
    title: str
    figures: tuple[Figure, ...]


def sections(teller: Teller) -> list[Section]:
    """The sections that the findings have."""
    return [Section(part, teller.say(f"{part}.title"), tuple(_MAKERS[part](teller))) for part in teller.found.parts]
