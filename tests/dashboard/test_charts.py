"""Charts: what is drawn is what the result objects hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest

from dashboard import charts
from fer_core.calibration import Reliability
from fer_core.evaluation import Evaluation, Share
from fer_core.labels import COLORS, EMOTIONS


def tables(chart: Any) -> list[pd.DataFrame]:
    """The data of each layer of a chart."""
    return [layer.data for layer in chart.layer if isinstance(layer.data, pd.DataFrame)] or [chart.data]


def spec(chart: Any) -> dict[str, Any]:
    return dict(chart.to_dict())


@pytest.fixture
def evaluation() -> Evaluation:
    matrix = np.arange(49).reshape(7, 7)
    matrix[1] = 0  # a split may lack an emotion
    return Evaluation("run", 3, "Some faces", "test", matrix, 1.25)


def test_probability_bars() -> None:
    probabilities = np.array([0.5, 0.004, 0.096, 0.2, 0.1, 0.1, 0.0], np.float32)
    table = tables(charts.probability_bars(probabilities, truth=3))[0]
    assert table["emotion"].tolist() == list(EMOTIONS)
    np.testing.assert_allclose(table["probability"], probabilities, atol=1e-7)
    assert table["shown"].tolist() == ["50%", "<1%", "10%", "20%", "10%", "10%", "<1%"]
    assert table["name"].tolist() == ["Angry", "Disgust", "Fear", "Happy (true)", "Sad", "Surprise", "Neutral"]
    assert tables(charts.probability_bars(probabilities))[0]["name"].tolist() == list(EMOTIONS)


def test_probability_history_shows_the_truth_and_what_ever_led() -> None:
    said = np.zeros((4, 7), np.float32)
    said[[0, 1, 2, 3], [0, 0, 5, 5]] = 0.6
    said[:, 2] = 0.3
    made = charts.probability_history([1, 2, 5, 9], said, truth=2, chosen=5)
    lines, rule = tables(made)
    assert list(dict.fromkeys(lines["emotion"])) == ["Angry", "Fear", "Surprise"]
    assert lines.loc[lines["emotion"] == "Surprise", "epoch"].tolist() == [1, 2, 5, 9]
    np.testing.assert_allclose(lines.loc[lines["emotion"] == "Surprise", "probability"], [0, 0, 0.6, 0.6])
    assert rule["epoch"].tolist() == [5]
    unlabelled = tables(charts.probability_history([1, 2, 5, 9], said, truth=-1, chosen=5))[0]
    assert set(unlabelled["emotion"]) == {"Angry", "Surprise"}


@pytest.mark.parametrize("shares", [False, True])
def test_confusion(evaluation: Evaluation, shares: bool) -> None:
    table = tables(charts.confusion(evaluation, shares, None, "cell"))[0].set_index(["true", "predicted"])
    assert len(table) == 49
    for i, true in enumerate(EMOTIONS):
        for j, predicted in enumerate(EMOTIONS):
            cell, count, total = table.loc[(true, predicted)], evaluation.confusion[i, j], evaluation.confusion[i].sum()
            share = count / total if total else 0
            assert cell["faces"] == count
            assert cell["share"] == pytest.approx(share)
            assert cell["strength"] == pytest.approx(share if shares else count / 48)
            assert cell["shown"] == ("" if not count else f"{100 * share:.0f}%" if shares else str(count))


def test_confusion_keeps_the_order_of_the_emotions_and_can_be_clicked(evaluation: Evaluation) -> None:
    made = spec(charts.confusion(evaluation, True, (2, 4), "cell"))
    encoding = made["layer"][0]["encoding"]
    assert encoding["x"]["sort"] == encoding["y"]["sort"] == list(EMOTIONS)
    assert encoding["x"]["field"] == "predicted"
    (param,) = made["params"]
    assert (param["name"], param["select"]["fields"]) == ("cell", ["true", "predicted"])
    assert param["value"] == [{"true": "Fear", "predicted": "Sad"}]


def test_label_accuracy_of_one(evaluation: Evaluation) -> None:
    table = tables(charts.label_accuracy({"run:3": evaluation.by_label}))[0]
    assert table["emotion"].tolist() == [name for name in EMOTIONS if name != "Disgust"]  # none to recognise
    for row in table.itertuples():
        share = evaluation.by_label[str(row.emotion)]
        assert (row.accuracy, row.low, row.high, row.faces) == (share.value, *share.interval, share.n)


def test_label_accuracy_of_two_tells_them_apart_by_form_too(evaluation: Evaluation) -> None:
    better = {name: Share(share.n, share.n) for name, share in evaluation.by_label.items()}
    made = charts.label_accuracy({"run:3": evaluation.by_label, "run:9": better})
    table = tables(made)[0]
    assert table["checkpoint"].tolist() == ["run:3"] * 6 + ["run:9"] * 6
    assert set(table.loc[table["checkpoint"] == "run:9", "accuracy"]) == {1.0}
    encodings = [layer["encoding"] for layer in spec(made)["layer"]]
    assert any(encoding.get("shape", {}).get("field") == "checkpoint" for encoding in encodings)


def test_label_accuracy_without_faces() -> None:
    nothing = dict.fromkeys(EMOTIONS, Share(0, 0))
    assert len(tables(charts.label_accuracy({"run:1": nothing}))[0]) == 0


def test_reliability_with_intervals_and_counts() -> None:
    n, hits = [0] * 15, [0] * 15
    n[7], hits[7], n[14], hits[14] = 10, 4, 90, 80
    sure = [0.0] * 7 + [0.52] + [0.0] * 6 + [0.97]
    before = Reliability(tuple(n), tuple(hits), tuple(sure), 1.0)
    diagram, counts = charts.reliability({"before": before, "after": replace(before, confidence=(0.5,) * 15)})
    table = diagram.layer[1].data
    assert table["answer"].tolist() == ["before"] * 2 + ["after"] * 2
    assert table["confidence"].tolist() == [0.52, 0.97, 0.5, 0.5]
    np.testing.assert_allclose(table["accuracy"], [0.4, 8 / 9] * 2)
    np.testing.assert_allclose(table.loc[0, ["low", "high"]].astype(float), Share(4, 10).interval)
    np.testing.assert_allclose(table["from"], [7 / 15, 14 / 15] * 2)
    np.testing.assert_allclose(table["to"], [8 / 15, 1] * 2)
    np.testing.assert_allclose(table["right"] - table["left"], 1 / 30)  # the two bars of a bin share its width
    assert diagram.layer[0].data.to_numpy().tolist() == [[0, 0], [1, 1]]
    assert spec(counts)["encoding"]["y"]["field"] == "faces"
    shapes = spec(diagram)["layer"][3]["encoding"]["shape"]["scale"]
    assert shapes == {"domain": ["before", "after"], "range": ["circle", "diamond"]}
    alone, bars = charts.reliability({"before": before})
    assert alone.layer[1].data["right"].tolist() == alone.layer[1].data["to"].tolist()
    assert spec(alone)["layer"][1]["encoding"]["color"]["legend"] is None
    assert spec(bars)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_curves(measure: str) -> None:
    lines = [
        (run, split, pd.DataFrame({"epoch": [1, 2, 3.5], measure: np.array([1, 2, 3]) * factor}))
        for factor, (run, split) in enumerate([("a", "training"), ("a", "validation"), ("b", "validation")], start=1)
    ]
    figure = charts.curves(lines, measure)
    assert [trace.name for trace in figure.data] == ["a, training", "a, validation", "b, validation"]
    for factor, trace in enumerate(figure.data, start=1):
        np.testing.assert_array_equal(trace.x, [1, 2, 3.5])
        np.testing.assert_array_equal(trace.y, np.array([1, 2, 3]) * factor)
    first, second, third = (trace.line for trace in figure.data)
    assert first.color == second.color != third.color
    assert (first.dash, second.dash) == ("dot", "solid")


def test_a_curve_of_one_epoch_is_seen() -> None:
    """A line through one point has no length: it needs a marker."""
    figure = charts.curves([("a", "validation", pd.DataFrame({"epoch": [1], "loss": [2.0]}))], "loss")
    assert "markers" in figure.data[0].mode


def test_emotions_keep_their_colours(evaluation: Evaluation) -> None:
    for made in (
        charts.probability_bars(np.full(7, 1 / 7)),
        charts.label_accuracy({"run:3": evaluation.by_label}),
        charts.probability_history([1, 2], np.full((2, 7), 1 / 7), truth=1, chosen=1),
    ):
        scales = [layer["encoding"].get("color", {}).get("scale") for layer in spec(made)["layer"]]
        assert {"domain": list(EMOTIONS), "range": [COLORS[name] for name in EMOTIONS]} in scales


def test_charts_are_valid_vega_lite(evaluation: Evaluation) -> None:
    """to_dict checks against the schema; a misspelt option would raise here and not in a browser."""
    for made in (
        charts.confusion(evaluation, False, None, "cell"),
        charts.label_accuracy({"r:1": evaluation.by_label}),
    ):
        assert isinstance(made, alt.LayerChart)
        assert spec(made)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
