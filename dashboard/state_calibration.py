"""How sure a checkpoint may be: its temperature and what that changes, remembered between clicks."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.state import Choice, _checkpoint_key, _memory, _stamp, predictions, split, splits
from fer_core.calibration import FILE, Calibration, Reliability, calibrate, load_calibration, reliability, scaled

FITTED_ON = "validation"


@dataclass(frozen=True)
class Sureness:
    """How sure against how right a checkpoint is.

    fitted         its temperature; None where there are no faces to fit one on
    is_stored      whether that stands in the run directory
    before, after  as the network says, and at the temperature
    faces          on which faces, in words
    """

    fitted: Calibration | None
    is_stored: bool
    before: Reliability
    after: Reliability | None
    faces: str


def stored_calibration(chosen: Choice) -> Calibration | None:
    """What `python -m fer_core calibrate` stored in the run for this epoch. Raises RunError where it is damaged."""
    key = ("calibration", *_checkpoint_key(chosen), _stamp(chosen.run.path / FILE))
    return _memory().get(key, lambda: load_calibration(chosen.run, chosen.epoch))


def recorded_sureness(chosen: Choice) -> Sureness | None:
    """On the faces on which the stored temperature was checked, which need not be here; None where none is stored."""
    stored = stored_calibration(chosen)
    return None if stored is None else Sureness(stored, True, stored.before, stored.after, _the_others(stored))


def sureness(chosen: Choice, split_name: str) -> Sureness:
    """On a labelled split of the chosen data, at the stored temperature, or else at one fitted here and now.

    Where these are the faces half of which it was fitted on, the other half counts alone. Raises CheckpointError,
    RunError, and DataError for too few faces.
    """
    stored = stored_calibration(chosen)
    fitted = stored or _fitted_here(chosen)
    part = split(split_name)

    def compute() -> Sureness:
        if fitted is not None and part.labelled().fingerprint == fitted.fingerprint:
            return Sureness(fitted, fitted is stored, fitted.before, fitted.after, _the_others(fitted))
        known = part.emotions >= 0
        said, emotions = predictions(chosen, split_name)[known], part.emotions[known]
        after = None if fitted is None else reliability(scaled(said, fitted.temperature), emotions)
        faces = f"{len(said):,} faces of {part.name}, {split_name}"
        return Sureness(fitted, fitted is stored, reliability(said, emotions), after, faces)

    return _memory().get(("sureness", *_checkpoint_key(chosen), part.fingerprint, fitted), compute)


def _fitted_here(chosen: Choice) -> Calibration | None:
    """A temperature for half of the validation faces at hand; None where none of them has a label."""
    if FITTED_ON not in splits() or not len(split(FITTED_ON).labelled()):
        return None
    part = split(FITTED_ON)

    def compute() -> Calibration:
        known = part.emotions >= 0
        return calibrate(
            predictions(chosen, FITTED_ON)[known],
            part.emotions[known],
            epoch=chosen.epoch,
            data=part.name,
            split=FITTED_ON,
            fingerprint=part.labelled().fingerprint,
        )

    return _memory().get(("calibrated", *_checkpoint_key(chosen), part.fingerprint), compute)


def _the_others(fitted: Calibration) -> str:
    return f"the other {fitted.before.faces:,}"
