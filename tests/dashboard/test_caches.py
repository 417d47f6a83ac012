"""What a page computes once and not again, however many runs, epochs and faces there are, and what waits for nobody."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dashboard import data_doubts, data_sections, state, state_data
from dashboard.state_data import Doubts
from fer_core.data import SPLITS, FaceDataset
from fer_core.data.duplicates import exact_duplicates
from fer_core.label_errors import LabelErrors
from fer_core.labels import EMOTIONS
from fer_core.runs import Run


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[tuple[Any, ...]]]:
    """The arguments with which a function of a module or class was called since: a list that grows, or is cleared."""

    def count(owner: Any, name: str) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []
        original = getattr(owner, name)

        @wraps(original)
        def noted(*arguments: Any, **named: Any) -> Any:
            calls.append(arguments)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, noted)
        return calls

    return count


# -- runs and epochs -------------------------------------------------------------------------------


def test_many_runs_are_read_once(open_page: Any, own_runs: Path, tmp_path: Path, counted: Any) -> None:
    for number in range(60):
        shutil.copytree(own_runs / "own", tmp_path / "many" / f"run-{number}")
    page = open_page("samples", tmp_path / "many")
    assert len(page.app.selectbox(key="checkpoint").options) == 180
    read = [counted(Run, name) for name in ("metrics", "epochs", "best_epoch", "predictions")]
    page.run()
    assert [len(calls) for calls in read] == [0, 0, 0, 0]


def test_a_film_of_many_epochs_is_made_once(
    open_page: Any, runs: Path, own_data: Path, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    projection = import_module("fer_core.explain.projection")
    rng = np.random.default_rng(0)
    monkeypatch.setattr("fer_core.explain.embedding.split_features", lambda *_: rng.normal(size=(70, 8)))
    monkeypatch.setattr(state, "known_probabilities", lambda *_: np.full((70, 7), 1 / 7, np.float32))
    run = Run(runs / "own")
    for epoch in range(4, 121):
        shutil.copy(run.checkpoint_path(3), run.checkpoint_path(epoch))
    made = counted(projection, "principal_components")
    page = open_page("map", runs, own_data, checkpoint="own:3", epochs="All kept")
    assert len(made) == 120
    page.run()
    assert len(made) == 120
    shutil.copy(run.checkpoint_path(1), run.checkpoint_path(7))
    page.run()
    assert len(made) == 121  # of the epoch that is another now


@pytest.mark.parametrize(
    ("name", "query", "made"),
    [
        ("layers", {"view": "Over epochs", "layer": "conv1"}, "fer_core.explain.maximisation.film"),
        ("saliency", {"show": "Epochs", "methods": "Saliency"}, "fer_core.explain.film.make_film"),
        ("try_it", {"photo": "angry.jpg", "method": "Nothing"}, "fer_core.reference.load_reference"),
    ],
)
def test_a_heartbeat_makes_nothing_anew(
    open_page: Any, runs: Path, counted: Any, name: str, query: dict[str, str], made: str
) -> None:
    module, _, function = made.rpartition(".")
    calls, run = counted(import_module(module), function), Run(runs / "own")
    page = open_page(name, runs, checkpoint="own:3", **query)
    for _ in range(2):
        run.write_status("running")
        page.run()
    assert len(calls) == 1
    if name == "try_it":
        (run.path / "reference-002.safetensors").write_bytes(b"")
        page.app.run()
    else:
        shutil.copy(run.checkpoint_path(1), run.checkpoint_path(2))
        page.run()
    assert len(calls) == 2


# -- other sessions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "query", "long"),
    [
        ("saliency", {"show": "Regions", "most": "10"}, "fer_core.explain.regions.study_regions"),
        ("saliency", {"show": "Averages", "methods": "Saliency"}, "fer_core.explain.averages.average_maps"),
        ("saliency", {"show": "Epochs", "methods": "Saliency"}, "fer_core.explain.film.make_film"),
        ("saliency", {"show": "Sheet", "methods": "Saliency"}, "fer_core.explain.attribution.attribute"),
        ("saliency", {"methods": "LIME"}, "fer_core.explain.attribution.attribute"),
        ("saliency", {"methods": "Saliency", "trust": "true"}, "fer_core.explain.trust.examine"),
        ("try_it", {"photo": "group.jpg", "method": "Saliency"}, "fer_core.explain.attribution.attribute"),
    ],
)
def test_what_takes_long_keeps_no_other_session_waiting(
    open_page: Any,
    runs: Path,
    own_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    query: dict[str, str],
    long: str,
) -> None:
    module, _, function = long.rpartition(".")
    original, lock, free, models = getattr(import_module(module), function), state.model_lock(), [], []

    def other_session() -> None:
        free.append(lock.acquire(blocking=False))
        if free[-1]:
            lock.release()

    def computed(*arguments: Any, **named: Any) -> Any:
        models.append(getattr(arguments[0], "model", None))
        with ThreadPoolExecutor() as threads:
            threads.submit(other_session).result()
        return original(*arguments, **named)

    monkeypatch.setattr(f"{module}.{function}", computed)
    open_page(name, runs, own_data, checkpoint="own:3", **query)
    assert free == [True]
    nets = [value for key, (_, value) in state._memory().values.items() if key[0] == "net"]
    shared = [each.checkpoint.model for each in nets]
    assert not any(model is each for model in models for each in shared)


# -- faces -----------------------------------------------------------------------------------------


@pytest.fixture
def doubted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], LabelErrors]:
    """Lets the first so many faces be flagged."""

    def flag(count: int) -> LabelErrors:
        rows = np.arange(count)
        errors = LabelErrors(rows, rows % 7, (rows + 1) % 7, np.linspace(1, 0, count, dtype=np.float32), 252, "a test")
        monkeypatch.setattr(state_data, "split_doubts", lambda *_: Doubts(errors, None))
        return errors

    return flag


def test_of_many_doubts_only_those_on_the_page_are_made_tiles(
    open_page: Any, own_runs: Path, own_data: Path, own_faces: FaceDataset, counted: Any, doubted: Any
) -> None:
    tiles, calls = counted(data_doubts, "Tile"), []
    asked = [counted(state, "faces"), counted(state_data, "decisions")]
    for count in (72, 252):
        doubted(count)
        page = open_page("data", own_runs, own_data, section="Label errors", doubted="Validation", page="2")
        for each in (tiles, *asked):
            each.clear()
        page.run()
        assert page.tile_ids() == own_faces.ids[36:72].tolist()
        assert len(tiles) == 36
        calls.append([len(each) for each in asked])
    assert calls[0] == calls[1]


def test_the_table_of_doubts(
    open_page: Any, own_runs: Path, own_data: Path, own_faces: FaceDataset, doubted: Any, monkeypatch: Any
) -> None:
    errors, offered = doubted(50), []
    monkeypatch.setattr("dashboard.data_doubts.st.download_button", lambda _, make, *__, **___: offered.append(make))
    open_page("data", own_runs, own_data, section="Label errors", doubted="Validation", given="Fear")
    table, at = pd.read_csv(io.StringIO(offered[-1]())), np.flatnonzero(errors.given == EMOTIONS.index("Fear"))
    assert table["id"].tolist() == own_faces.ids[at].tolist()
    assert table["given"].tolist() == ["Fear"] * len(at)
    assert table["proposed"].tolist() == [EMOTIONS[i] for i in errors.proposed[at]]
    np.testing.assert_allclose(table["doubt"], errors.doubt[at], atol=1e-4)


def test_the_table_of_copies_is_made_when_it_is_asked_for(
    open_page: Any, own_runs: Path, own_faces: FaceDataset, tmp_path: Path, counted: Any, monkeypatch: Any
) -> None:
    asked, offered = [], list[Any]()
    monkeypatch.setattr("dashboard.data_sections.st.download_button", lambda _, make, *__, **___: offered.append(make))
    for count in (8, 100):  # pairs of copies: a page of them, and many
        images = np.tile(own_faces.images[:count], (2, 1, 1))
        lines = [f"{i % 7},{' '.join(map(str, image.ravel()))},Training" for i, image in enumerate(images)]
        path = tmp_path / f"{count}.csv"
        path.write_text("\n".join(["emotion,pixels,Usage", *lines, ""]))
        calls = counted(state, "faces")
        page = open_page("data", own_runs, path, section="Duplicates", groups="All")
        assert len(page.app.get("bidi_component")) == data_sections.GROUPS
        asked.append(len(calls))
    assert asked[0] == asked[1]
    table = pd.read_csv(io.StringIO(offered[-1]()))
    groups = exact_duplicates(np.array([image.tobytes() for image in images]))
    assert sorted(table["id"]) == sorted(f"train-{row:05}" for rows in groups.members for row in rows)
    rows = table["id"].str.removeprefix("train-").astype(int).to_numpy()
    assert table["label"].tolist() == [EMOTIONS[row % 7] for row in rows]
    assert set(table["split"]) == {SPLITS[0]}
    assert (rows[::2] % 100 == rows[1::2] % 100).all()
    assert table["group"].tolist() == np.repeat(np.arange(1, 101), 2).tolist()
