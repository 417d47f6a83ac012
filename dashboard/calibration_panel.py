"""Is a network right as often as it is sure? Its reliability diagram, before and after temperature scaling."""

from __future__ import annotations

import streamlit as st

from dashboard import charts
from dashboard.state import Choice
from dashboard.state_calibration import Sureness, recorded_sureness, sureness
from fer_core.calibration import BINS

_EXPLAINED = (
    "Expected calibration error (ECE): how far accuracy and confidence are apart, on average over the faces, in "
    f"{BINS} bins of confidence. Temperature scaling divides the logits by one number, fitted on other faces: it "
    "changes how sure the network is, never which emotion leads (Guo et al. 2017). A small mark is a bin of few faces."
)


def calibration_panel(chosen: Choice, split: str | None) -> None:
    """The diagram on a split of the chosen data; for None on the faces that the stored temperature was checked on."""
    result = recorded_sureness(chosen) if split is None else sureness(chosen, split)
    if result is None:
        st.info(
            f"No temperature is stored for {chosen}, and its faces are not at hand. With them, this fits one: "
            f"`python -m fer_core calibrate {chosen} --data PATH`",
            icon=":material/thermostat:",
        )
        return
    shown = {"As the network says": result.before}
    if result.fitted is not None and result.after is not None:
        shown[f"At temperature {result.fitted.temperature:.2f}"] = result.after
    diagram, counts = charts.reliability(shown)
    st.altair_chart(diagram, key="reliability", alt="Accuracy against confidence, by bins of confidence")
    st.altair_chart(counts, key="confidences", alt="Faces in each bin of confidence")
    st.caption(f"{_errors(result)} {_protocol(chosen, result)}", help=_EXPLAINED)


def _errors(result: Sureness) -> str:
    before, after = result.before, result.after
    if after is None:
        return f"ECE **{before.ece:.1%}**, NLL {before.nll:.3f} nats."
    return f"ECE **{before.ece:.1%}**, scaled **{after.ece:.1%}**; NLL {before.nll:.3f}, scaled {after.nll:.3f} nats."


def _protocol(chosen: Choice, result: Sureness) -> str:
    """On which faces, and where the temperature is from."""
    fitted = result.fitted
    if fitted is None:
        return f"On {result.faces}; there are no labelled validation faces to fit a temperature on."
    text = f"Fitted on {fitted.fitted_on:,} faces of {fitted.data}, {fitted.split}; shown on {result.faces}."
    return text if result.is_stored else f"{text} To keep it: `python -m fer_core calibrate {chosen}`"
