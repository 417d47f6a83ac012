"""The whole experiment report (report items 1 to 14) as one HTML file.

    found = collect(find_run("report-resnet"), None, open_data("fer2013.csv"))         # collect.py: numbers
    page = render(found, Commands(found.run, found.epoch, found.split, "fer2013.csv"))   # page.py: words and pictures

`collect` computes one frozen object. `sentences_*` say in words what its numbers show; `figures_*` put sentences,
charts (`svg`), pictures and commands together. Importing this package does not import torch.
"""

from __future__ import annotations

from collections.abc import Collection

from fer_core.errors import ConfigError

# The parts of a report, and of each about how many seconds the network runs for it, on two cores with the report's own;
# 0 where it need not.
PARTS: dict[str, float] = {
    "data": 0.1,
    "structure": 0.0,
    "training": 0.0,
    "labels": 0.0,
    "calibration": 0.0,
    "leaks": 1.0,
    "mistakes": 0.0,
    "saliency": 1.5,
    "regions": 4.0,
    "filters": 10.0,
    "conv1": 2.0,
}


def chosen_parts(only: Collection[str] = ()) -> tuple[str, ...]:
    """Some of `PARTS` in their order; all for none. Raises ConfigError for one that there is not."""
    unknown = [part for part in only if part not in PARTS]
    if unknown:
        raise ConfigError(f"A report has no part '{unknown[0]}'; its parts are {', '.join(PARTS)}.")
    return tuple(part for part in PARTS if not only or part in only)
