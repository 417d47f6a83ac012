"""The seven emotions: the only place that knows their order, their names and their colours."""

from __future__ import annotations

from fer_core.errors import DataError

# The order of the FER2013 CSV files. Folder names and several published copies are sorted alphabetically instead
# (Neutral 4, Sad 5, Surprise 6); `fer_core.data` translates those on reading.
EMOTIONS: tuple[str, ...] = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
UNLABELLED = -1

# Okabe & Ito's colour-blind-safe set (2008), with a grey for Neutral.
COLORS: dict[str, str] = {
    "Angry": "#D55E00",
    "Disgust": "#009E73",
    "Fear": "#CC79A7",
    "Happy": "#E69F00",
    "Sad": "#0072B2",
    "Surprise": "#56B4E9",
    "Neutral": "#8A8A8A",
}

_SYNONYMS = {
    "anger": "Angry",
    "disgusted": "Disgust",
    "fearful": "Fear",
    "afraid": "Fear",
    "happiness": "Happy",
    "joy": "Happy",
    "sadness": "Sad",
    "surprised": "Surprise",
    "neutrality": "Neutral",
}


def emotion_index(name: str) -> int:
    """The position of an emotion's name in `EMOTIONS`, whatever its case or common synonym ("happiness", "anger").

    Raises DataError naming the name and the seven that are known.
    """
    wanted = name.strip().lower()
    wanted = _SYNONYMS.get(wanted, wanted).capitalize()
    if wanted not in EMOTIONS:
        raise DataError(f"'{name}' is not one of the seven emotions: {', '.join(EMOTIONS)}.")
    return EMOTIONS.index(wanted)
