"""A bar for what takes longer than half a second, with the time left once it is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

_QUIET = 0.5  # seconds before anything is shown
_NAME_TIME = 2.0  # seconds after which the time left can be told


@contextmanager
def progress(label: str) -> Iterator[Callable[[float], None]]:
    """Yields a function that takes the share done, 0..1. A rerun, or Stop in the toolbar, ends the work at the next."""
    place = st.empty()
    began = time.monotonic()

    def report(share: float) -> None:
        spent = time.monotonic() - began
        if spent < _QUIET:
            return
        left = spent * (1 - share) / share if share > 0 else 0.0
        told = f", about {left:.0f} s left" if spent > _NAME_TIME and left >= 1 else ""
        place.progress(min(max(share, 0.0), 1.0), text=f"{label}{told}")

    try:
        yield report
    finally:
        place.empty()
