"""How far a map can be trusted: five checks, each with a number, a limit and a verdict in plain words.

docs/trust.md says what each check means and where it comes from. Only the network can be asked, so no check tells that
a map is right; a map that fails one is to be read with that in mind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fer_core.explain.attribution import METHODS, Attribution, make_question, running
from fer_core.explain.checks import (
    NOISE,
    RANDOM_ORDERS,
    Curve,
    Randomisation,
    deletion_curve,
    infidelity,
    insertion_curve,
    randomise,
    sensitivity_of,
)
from fer_core.runs import Checkpoint

ALIKE = 0.5  # a mean rank correlation from which on a map counts as unchanged by other weights
UNSTABLE = 0.5  # a change of the map, as a share of the map, from which on it counts as unstable


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it was passed, and a sentence with the number."""

    name: str
    passed: bool
    told: str


@dataclass(frozen=True)
class Evidence:
    """What was measured.

    infidelity         0..1: the share of the score's changes under covered squares that the map does not account for
    random_infidelity  float (RANDOM_ORDERS,): the same of the map with its cells in random order
    sensitivity        the map's largest change under noise of `NOISE` gray levels, as a share of the map
    """

    deletion: Curve
    insertion: Curve
    randomisation: Randomisation
    infidelity: float
    random_infidelity: np.ndarray
    sensitivity: float


@dataclass(frozen=True)
class Trust:
    """The checks of one map; `evidence` is None where the map says nothing, for the reason in `problem`."""

    run: str
    epoch: int
    method: str
    layer: str
    target: str
    problem: str
    evidence: Evidence | None

    @property
    def checks(self) -> tuple[Check, ...]:
        e = self.evidence
        if e is None:
            return ()
        fewer, more = (
            _beaten(e.deletion.area, e.deletion.random_areas),
            _beaten(-e.insertion.area, -e.insertion.random_areas),
        )
        better, kept = _beaten(e.infidelity, e.random_infidelity), float(e.randomisation.correlation.mean())
        return (
            Check(
                "Deletion",
                fewer == RANDOM_ORDERS,
                f"Covering what the map marks first leaves an area of {e.deletion.area:.2f} under the probability of "
                f"{self.target}, {e.deletion.random_areas.mean():.2f} in random order: faster than {fewer} of "
                f"{RANDOM_ORDERS} random orders.",
            ),
            Check(
                "Insertion",
                more == RANDOM_ORDERS,
                f"Sharpening what the map marks first gives an area of {e.insertion.area:.2f}, "
                f"{e.insertion.random_areas.mean():.2f} in random order: faster than {more} of {RANDOM_ORDERS} random "
                "orders.",
            ),
            Check(
                "Depends on the weights",
                kept < ALIKE,
                f"While layer after layer has its weights shuffled, the map keeps a mean rank correlation of "
                f"{kept:.2f} with itself (limit {ALIKE}).",
            ),
            Check(
                "Accounts for the score",
                better == RANDOM_ORDERS,
                f"The map leaves {100 * e.infidelity:.0f}% of the score's changes under covered squares unaccounted "
                f"for; its cells in random order leave {100 * e.random_infidelity.mean():.0f}%: less than {better} of "
                f"{RANDOM_ORDERS} of those.",
            ),
            Check(
                "Stable",
                e.sensitivity < UNSTABLE,
                f"Noise of {NOISE:.0f} gray levels, which nobody sees, changes the map by up to "
                f"{100 * e.sensitivity:.0f}% (limit {100 * UNSTABLE:.0f}%).",
            ),
        )

    @property
    def verdict(self) -> str:
        """In plain words: what passed and what did not."""
        if not self.checks:
            return self.problem
        failed = [check.name.lower() for check in self.checks if not check.passed]
        passed = [check.name.lower() for check in self.checks if check.passed]
        if not failed:
            return f"Passed all {len(passed)} checks"
        return f"Passed {len(passed)} of {len(self.checks)} checks; failed: {', '.join(failed)}"


def examine(
    checkpoint: Checkpoint,
    face: np.ndarray,
    result: Attribution,
    index: int = 0,
    *,
    seed: int = 0,
    report: Callable[[float], object] = lambda _: None,
) -> Trust:
    """All checks of one map of `result`, which was made by `checkpoint` for `face` uint8 (48, 48).

    report: called with the share done, 0..1.
    """
    method, weights, values = METHODS[result.method], result.weights[index], result.maps[index]

    def trust(evidence: Evidence | None) -> Trust:
        target, problem = result.targets[index], result.problems[index]
        return Trust(result.run, result.epoch, result.method, result.layer, target, problem, evidence)

    if result.problems[index]:
        return trust(None)
    with running(checkpoint):
        ask = make_question(checkpoint, face[None], weights[None], result.layer, seed)
        order = np.abs(values) if method.shown == "absolute" else values
        deletion, insertion = deletion_curve(ask, order, seed), insertion_curve(ask, order, seed)
        report(0.15)
        own, random = infidelity(ask, method, values, seed)
        report(0.25)
        sensitivity = sensitivity_of(ask, method, seed)
        report(0.4)
        randomisation = randomise(ask, method, values, seed, lambda share: report(0.4 + 0.6 * share))
    return trust(Evidence(deletion, insertion, randomisation, own, random, sensitivity))


def _beaten(value: float, others: np.ndarray) -> int:
    """Of how many of the others the value is smaller."""
    return int((value < others).sum())
