"""The trap of the two label orders: 4 is Sad in the CSV and Neutral where names were sorted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fer_core.data import LoadOptions, load_dataset
from fer_core.data.label_order import class_names, labels_from_numbers, order_names
from fer_core.errors import ConfigError
from fer_core.labels import EMOTIONS

ALPHABETICAL = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_the_two_orders() -> None:
    assert [name.lower() for name in order_names("alphabetical")] == ALPHABETICAL
    assert order_names("csv") == order_names("auto") == EMOTIONS
    numbers = np.array([0, 1, 2, 3, 4, 5, 6, -1, 7, -2, 1000])
    assert labels_from_numbers(numbers, EMOTIONS).tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -2, -2, -2]
    assert labels_from_numbers(numbers, ALPHABETICAL).tolist() == [0, 1, 2, 3, 6, 4, 5, -1, -2, -2, -2]
    assert labels_from_numbers(np.arange(3), ["happy", "contempt", "sad"]).tolist() == [3, -2, 4]


def sorted_numbers(sample: Any) -> pa.Array:
    """The sample's labels as numbers in the alphabetical order."""
    return pa.array([ALPHABETICAL.index(EMOTIONS[emotion].lower()) for emotion in sample.emotions])


def test_class_names_in_the_metadata_decide(sample: Any) -> None:
    dataset = load_dataset(sample.parquet({"label": sorted_numbers(sample)}, names={"label": ALPHABETICAL}))
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    assert dataset.summary.warnings == ()
    other_order = ["sad", "happy", "anger", "surprise", "fear", "neutral", "disgust"]
    numbers = pa.array([3 if i % 2 else 2 for i in range(42)])
    dataset = load_dataset(sample.parquet({"label": numbers}, names={"label": other_order}))
    assert [EMOTIONS[emotion] for emotion in dataset.emotions[:2]] == ["Angry", "Surprise"]


def test_bare_numbers_are_read_as_the_csv_with_a_warning(sample: Any) -> None:
    path = sample.parquet({"label": pa.array(sample.emotions)})
    dataset = load_dataset(path)
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    (warning,) = dataset.summary.warnings
    assert "--label-order alphabetical" in warning
    assert "4 Sad" in warning
    digits = sample.parquet({"label": pa.array(sample.emotions)}, names={"label": list("0123456")})
    assert load_dataset(digits).summary.warnings == (warning,)


def test_the_option_overrides_what_is_assumed(sample: Any) -> None:
    path = sample.parquet({"label": sorted_numbers(sample)})
    assert not np.array_equal(load_dataset(path).emotions, sample.emotions)
    dataset = load_dataset(path, LoadOptions(label_order="alphabetical"))
    np.testing.assert_array_equal(dataset.emotions, sample.emotions)
    assert dataset.summary.warnings == ()
    assert load_dataset(path, LoadOptions(label_order="csv")).summary.warnings == ()


def test_the_option_against_class_names_wins_and_says_so(sample: Any) -> None:
    path = sample.parquet({"label": sorted_numbers(sample)}, names={"label": ALPHABETICAL})
    dataset = load_dataset(path, LoadOptions(label_order="csv"))
    np.testing.assert_array_equal(dataset.emotions, sorted_numbers(sample).to_numpy())
    assert "--label-order csv" in dataset.summary.warnings[0]


def test_csv_numbers_need_no_warning_and_follow_the_option(sample: Any) -> None:
    path = sample.train_csv()
    assert load_dataset(path).summary.warnings == ()
    alphabetical = load_dataset(path, LoadOptions(label_order="alphabetical")).emotions
    expected = [EMOTIONS.index(ALPHABETICAL[number].capitalize()) for number in sample.emotions]
    assert alphabetical.tolist() == expected


def test_an_unknown_order_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'sorted'"):
        LoadOptions(label_order="sorted")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "metadata",
    [None, {}, *({b"huggingface": text} for text in (b"{", b"[]", b'{"info": {"features": {"label": 3}}}'))],
)
def test_metadata_of_another_shape_tells_nothing(metadata: Any) -> None:
    assert class_names(metadata, "label") is None
