"""The one label order, and the names it is known by."""

from __future__ import annotations

import re

import pytest

from fer_core.errors import DataError
from fer_core.labels import COLORS, EMOTIONS, emotion_index


def test_the_order_is_that_of_the_fer2013_csv() -> None:
    assert EMOTIONS == ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")


def test_each_emotion_has_a_colour_of_its_own() -> None:
    assert tuple(COLORS) == EMOTIONS
    assert len(set(COLORS.values())) == 7
    assert all(re.fullmatch("#[0-9A-F]{6}", color) for color in COLORS.values())


@pytest.mark.parametrize(
    ("name", "index"),
    [("Angry", 0), ("anger", 0), ("DISGUSTED", 1), ("afraid", 2), (" happiness ", 3), ("sadness", 4), ("surprised", 5)],
)
def test_emotions_are_known_by_their_usual_names(name: str, index: int) -> None:
    assert emotion_index(name) == index


@pytest.mark.parametrize("name", ["contempt", "", "3", "happy face"])
def test_another_name_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' is not one of the seven emotions: Angry, .*, Neutral"):
        emotion_index(name)
