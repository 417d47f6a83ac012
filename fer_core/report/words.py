"""The texts of a report in one language: a catalogue of sentences with places for numbers, and how numbers are written.

The catalogues are `en.toml` and `zh.toml` beside this file; both hold the same keys with the same places. A sentence is
chosen in `sentences.py` by what the numbers say, and never by the language.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fer_core.errors import ConfigError
from fer_core.evaluation import Share

NONE, TIMES = "\u2013", "\u00d7"  # in place of a number; between two sizes
LANGUAGES: dict[str, str] = {"en": "English", "zh": "中文"}


class Words:
    """One catalogue. Calling it with a key and values gives the text; KeyError for what is not in the catalogue."""

    def __init__(self, language: str = "en") -> None:
        check_language(language)
        self.language = language
        self.texts = catalogue(language)

    def __call__(self, key: str, /, **values: object) -> str:
        return self.texts[key].format(**values)

    def emotion(self, name: str) -> str:
        return self(f"emotion.{name}")

    def region(self, name: str) -> str:
        return self(f"region.{name}")

    def split(self, name: str) -> str:
        return self(f"split.{name}")

    def listed(self, items: Iterable[str]) -> str:
        """ "a, b and c"; Chinese has marks of its own for that."""
        *first, last = items
        return self("list.comma").join(first) + self("list.and") + last if first else last

    def sentences(self, parts: Iterable[str]) -> str:
        """Sentences one after the other; what is empty is left out."""
        return self("list.sentence").join(part for part in parts if part)

    def between(self, ends: tuple[float, float]) -> str:
        """A 95 % interval of a share."""
        return self("number.between", low=f"{100 * ends[0]:.1f}", high=percent(ends[1]))

    def short(self, share: Share) -> str:
        """The same where the chart says that it is an interval."""
        return self("number.short", value=percent(share.value), interval=self.between(share.interval))

    def share(self, share: Share) -> str:
        """A share with its interval."""
        return self("number.share", value=percent(share.value), interval=self.between(share.interval))


def check_language(language: str) -> None:
    """Raises ConfigError for a language that there is no catalogue for."""
    if language not in LANGUAGES:
        raise ConfigError(f"There is no report in '{language}'; the languages are {', '.join(LANGUAGES)}.")


def catalogue(language: str) -> dict[str, str]:
    """{"section.key": text}."""
    return _flat(tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text(encoding="utf-8")))


def _flat(tables: dict[str, Any], above: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def percent(value: float, digits: int = 1) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.{digits}f}%"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, without its sign."""
    return f"{abs(100 * difference):.1f}"


def significant(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}".replace("e-0", "e-")
