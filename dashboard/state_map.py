"""The caching of the Map page; `state` does that of all others."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import streamlit as st

from dashboard.progress import progress
from dashboard.state import Choice, _checkpoint_key, _loaded, _Memory, _memory, _stamp, split
from fer_core.explain.neighbours import Agreement, agreement, nearest


@dataclass(frozen=True, eq=False)
class FaceMap:
    """A split's faces as a checkpoint sees them: coordinates float32 (N, 2), and in words how they came about."""

    coordinates: np.ndarray
    protocol: str


@st.cache_resource(show_spinner=False)
def _wide() -> _Memory:
    """The features themselves: up to 0.9 GB for FER2013's training faces, so only the two used last."""
    return _Memory(2)


def features(chosen: Choice, split_name: str) -> tuple[np.ndarray, np.ndarray]:
    """The penultimate features float32 (N, D) of a split, and their lengths (N,). Shows progress. Raises
    CheckpointError or ConfigError."""
    part = split(split_name)

    def compute() -> tuple[np.ndarray, np.ndarray]:
        _loaded("torch")
        from fer_core.explain.embedding import split_features

        with progress(f"{chosen} looks at {len(part):,} faces") as report:
            found = split_features(chosen.run, chosen.epoch, part, report)
        return found, np.linalg.norm(found, axis=1)

    return _wide().get(("features", *_checkpoint_key(chosen), part.fingerprint), compute)


def _remembered(what: str, chosen: Choice, split_name: str, compute: Callable[[], FaceMap]) -> FaceMap:
    """A map, made once. Those of all epochs of a run stay or go together: a film shows all of them at every click."""
    epochs = _memory().get((what, str(chosen.run.path), split(split_name).fingerprint), _Memory)
    return epochs.get(chosen.epoch, compute, _stamp(chosen.run.checkpoint_path(chosen.epoch)))


def pca(chosen: Choice, split_name: str) -> FaceMap:
    """The first two principal components of a split's features. Shows progress."""

    def compute() -> FaceMap:
        from fer_core.explain.projection import principal_components

        found, _ = features(chosen, split_name)
        made = principal_components(found)
        first, second = made.shares
        told = f"Across {first:.1%}, up {second:.1%} of the variance of {found.shape[1]:,} features."
        return FaceMap(made.coordinates, told)

    return _remembered("pca", chosen, split_name, compute)


def has_umap() -> bool:
    """Is the package umap-learn there?"""
    return importlib.util.find_spec("umap") is not None


def umap_is_known(chosen: Choice, split_name: str) -> bool:
    """Was this map made before, in this session or another?"""
    _loaded("torch")
    from fer_core.explain.projection import known_umap

    return known_umap(chosen.run, chosen.epoch, split(split_name)) is not None


def umap(chosen: Choice, split_name: str) -> FaceMap:
    """UMAP of a split's features: seconds to minutes the first time. Shows progress. Raises ConfigError."""

    def compute() -> FaceMap:
        from fer_core.explain.projection import MIN_DIST, NEIGHBOURS, known_umap, umap_of

        part, told = split(split_name), f"UMAP, {NEIGHBOURS} neighbours, minimum distance {MIN_DIST}."
        known = known_umap(chosen.run, chosen.epoch, part)
        if known is not None:
            return FaceMap(known, told)
        found, _ = features(chosen, split_name)
        if has_umap():
            _loaded("umap")
        with (
            st.spinner(f"UMAP looks for each face's neighbours under {chosen}", show_time=True),
            progress(f"UMAP of {chosen}") as report,
        ):
            return FaceMap(umap_of(chosen.run, chosen.epoch, part, found, report), told)

    return _remembered("umap", chosen, split_name, compute)


def neighbours(chosen: Choice, split_name: str, row: int) -> tuple[np.ndarray, np.ndarray]:
    """A face's nearest neighbours in a split by cosine distance of the features: rows and distances."""

    def compute() -> tuple[np.ndarray, np.ndarray]:
        found, lengths = features(chosen, split_name)
        return nearest(found, row, lengths=lengths)

    key = ("near", *_checkpoint_key(chosen), split(split_name).fingerprint, row)
    return _memory().get(key, compute)


def neighbour_agreement(chosen: Choice, split_name: str) -> Agreement:
    """How often near faces share a label. Shows progress."""
    part = split(split_name)

    def compute() -> Agreement:
        found, _ = features(chosen, split_name)
        with progress("Counting the neighbours' labels") as report:
            return agreement(found, part.emotions, report=report)

    return _memory().get(("agreement", *_checkpoint_key(chosen), part.fingerprint), compute)
