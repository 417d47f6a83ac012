"""The dashboard's pages as Streamlit's AppTest runs them, over runs and faces made for the tests."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from fer_core.config import TrainConfig
from fer_core.data import FaceDataset, LoadOptions, load_dataset
from fer_core.runs import Run, create_run
from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ("report-resnet", "report-cnn")
USAGES = ("Training", "PublicTest", "PrivateTest")


class Page:
    """One page of the app in one session. `run` shows it as a browser would after a click, and refuses a traceback."""

    def __init__(self, name: str, query: dict[str, Any], dark: bool = False) -> None:
        self.app = AppTest.from_file(str(ROOT / "dashboard" / "Home.py"), default_timeout=PATIENCE)
        self.app.context["theme"] = "dark" if dark else "light"
        self.app.query_params.update(query)
        if name != "home":
            self.app.switch_page(f"views/{name}.py")
        self.run()

    def run(self) -> Page:
        self.app.run()
        assert [str(each.value) for each in self.app.exception] == []
        return self

    @property
    def query(self) -> dict[str, Any]:
        """What stands in the URL."""
        return self.app.query_params

    @property
    def title(self) -> str:
        return str(self.app.title[0].value)

    @property
    def texts(self) -> list[str]:
        """What is written on the page, in order: headings, markdown, captions."""
        kinds = ("title", "subheader", "markdown", "caption")
        return [str(getattr(each, "value", "")) for each in self.app.main if each.type in kinds]

    @property
    def sidebar(self) -> list[str]:
        return [str(each.value) for each in self.app.sidebar.caption]

    def says(self, kind: str) -> list[str]:
        """The texts of all boxes of a kind on the page and in the sidebar: error, warning, info."""
        return [str(each.value) for each in getattr(self.app, kind)]

    def links(self) -> list[str]:
        return [each.proto.label for each in self.app.get("page_link")]

    def gallery(self) -> dict[str, Any]:
        """What the one gallery on the page was given: sprite, tiles, the chosen id."""
        (found,) = self.app.get("bidi_component")
        return dict(json.loads(found.proto.json))

    def tile_ids(self) -> list[str]:
        return [tile["id"] for tile in self.gallery()["tiles"]]

    def chart(self, *columns: str) -> tuple[dict[str, Any], pd.DataFrame]:
        """The Vega-Lite chart whose table has these columns: its specification and that table."""
        for element in self.app.get("vega_lite_chart"):
            for dataset in element.proto.datasets:
                table = pa.ipc.open_stream(dataset.data.data).read_all().to_pandas()
                if set(columns) <= set(table.columns):
                    return json.loads(element.proto.spec), table
        raise AssertionError(f"no chart of {columns}")

    def curves(self, measure: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The lines of a Plotly chart by name: x and y."""
        for element in self.app.get("plotly_chart"):
            figure = json.loads(element.proto.spec)
            if figure["layout"]["title"]["text"].lower().startswith(measure):
                return {line["name"]: (_numbers(line["x"]), _numbers(line["y"])) for line in figure["data"]}
        raise AssertionError(f"no curves of {measure}")

    def click(self, label_or_key: str) -> Page:
        (button,) = [each for each in self.app.button if label_or_key in (each.label, each.key)]
        button.click()
        return self.run()


def _numbers(values: Any) -> np.ndarray:
    """Plotly writes arrays either as lists or as {"dtype", "bdata"}."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).astype(float)
    return np.array(values, float)


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Page]:
    """Opens a page over a runs folder and, where given, the user's faces; further words stand in the URL."""

    def opened(name: str, runs: Path, faces: Path | None = None, dark: bool = False, **query: Any) -> Page:
        monkeypatch.setattr(sys, "argv", ["Home.py"])  # else the app would read pytest's own flags
        monkeypatch.chdir(tmp_path)  # else it would find a data/ folder of whoever runs the tests
        monkeypatch.setenv("FER_RUNS", str(runs))
        if faces is None:
            monkeypatch.delenv("FER_DATA", raising=False)
        else:
            monkeypatch.setenv("FER_DATA", str(faces))
        return Page(name, query, dark)

    return opened


@pytest.fixture(
    params=[
        "home",
        "try_it",
        "samples",
        "data",
        "saliency",
        "layers",
        "map",
        "structure",
        "training",
        "checkpoints",
        "confusion",
        "export",
    ]
)
def any_page(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(
    params=["try_it", "samples", "saliency", "layers", "map", "structure", "checkpoints", "confusion", "export"]
)
def checkpoint_page(request: pytest.FixtureRequest) -> str:
    """The pages that show what a checkpoint says."""
    return str(request.param)


# -- runs and faces --------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _one_look_for_components() -> Iterator[None]:
    """Each AppTest asks every installed package for components, a quarter of a second; they stay the same here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the runs that ship, without those of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in SHIPPED:
        shutil.copytree(ROOT / "checkpoints" / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """252 faces of noise in the form of fer2013.csv, hard enough for a small network to miss some."""
    rng = np.random.default_rng(11)
    emotions, usages = np.arange(252) % 7, np.repeat(USAGES, (126, 70, 56))
    patterns = np.kron(rng.uniform(90, 160, (7, 6, 6)), np.ones((8, 8)))
    images = (patterns[emotions] + rng.normal(0, 60, (252, 48, 48))).clip(0, 255).astype(np.uint8)
    lines = [
        f"{emotion},{' '.join(map(str, image.ravel()))},{usage}"
        for emotion, image, usage in zip(emotions, images, usages, strict=True)
    ]
    path = tmp_path_factory.mktemp("faces") / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *lines, ""]))
    return path


@pytest.fixture(scope="session")
def own_faces(own_data: Path) -> FaceDataset:
    return load_dataset(own_data, LoadOptions(use_cache=False))


@pytest.fixture(scope="session")
def own_runs(
    tmp_path_factory: pytest.TempPathFactory,
    own_faces: FaceDataset,
    tiny: Callable[..., TrainConfig],
) -> Path:
    """A folder with one run, "own": three epochs on `own_data`, all kept; only to be read."""
    from fer_core.training import fit, run_info

    folder, config = tmp_path_factory.mktemp("own"), tiny()
    run = create_run(folder, "own", run_info(config, own_faces, "cpu"))
    fit(config, own_faces, run, "cpu")
    return folder


@pytest.fixture
def runs(own_runs: Path, tmp_path: Path) -> Path:
    """The same, to be changed: "own", and "other" with the same content."""
    for name in ("own", "other"):
        shutil.copytree(own_runs / "own", tmp_path / "runs" / name)
    return tmp_path / "runs"


@pytest.fixture
def set_status() -> Callable[..., None]:
    """Writes a run's status.json as a training process would; by default this very process, alive."""

    def write(run: Path, state: str, *, pid: int = os.getpid(), age: float = 0.0, **more: Any) -> None:
        record = {"state": state, "pid": pid, "heartbeat": time.time() - age, "error": "", "progress": {}, **more}
        (run / "status.json").write_text(json.dumps(record))

    return write


@pytest.fixture(scope="session")
def said(own_runs: Path) -> Callable[..., np.ndarray]:
    """What the network itself says: probabilities (N, 7) of faces under an epoch, by none of the dashboard's ways."""
    from fer_core.inference import Predictor

    def probabilities(faces: FaceDataset, epoch: int, run: Run | None = None) -> np.ndarray:
        return Predictor.load(run or Run(own_runs / "own"), epoch).predict(faces.images).probabilities

    return probabilities


@pytest.fixture(scope="session")
def decoded() -> Callable[[str], np.ndarray]:
    """The pixels of a picture in a data URL."""

    def decode(url: str) -> np.ndarray:
        kind, _, text = url.partition(",")
        assert kind == "data:image/png;base64"
        return np.array(Image.open(io.BytesIO(base64.b64decode(text))))

    return decode


@pytest.fixture
def demo_run(own_runs: Path, tmp_path: Path) -> Path:
    """A run named "demo" that says of itself that it was trained on the demo faces."""
    path = Path(shutil.copytree(own_runs / "own", tmp_path / "demo run" / "demo"))
    info = json.loads((path / "run.json").read_text())
    info["data"] |= {"name": "Demo faces", "is_demo": True}
    (path / "run.json").write_text(json.dumps(info))
    return path
