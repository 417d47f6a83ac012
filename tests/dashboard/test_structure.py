"""Structure: table and graph are the core's, each layer leads to the Layers page, other tools open on request."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard.structure_graph import dot
from fer_core.models import MODELS, create_model
from fer_core.runs import Run
from fer_core.structure import boxes, structure


@pytest.fixture
def page(open_page: Any, own_runs: Path, own_data: Path) -> Any:
    return open_page("structure", own_runs, own_data, checkpoint="own:2")


def test_the_table_is_the_cores(page: Any, own_runs: Path) -> None:
    found = structure(Run(own_runs / "own").load_checkpoint(2).model)
    table = page.app.dataframe[0].value
    assert table["Layer"].tolist() == [step.name for step in found.steps]
    assert table["Parameters"].tolist() == [step.parameters for step in found.steps]
    assert table["MACs"].tolist() == [step.macs for step in found.steps]
    assert table["Output"].tolist() == [" x ".join(map(str, step.shape)) for step in found.steps]
    assert table["Receptive field"].tolist() == [f"{step.field[0]} x {step.field[1]}" for step in found.steps]
    assert (
        f"**EmotionResNet** of own:2: {found.parameters:,} parameters, {found.macs / 1e6:.1f} million MACs a face, "
        f"{len(found.steps)} steps."
    ) in page.texts
    assert page.says("error") == page.says("warning") == []


def test_the_graph_leads_to_the_layers(page: Any) -> None:
    (chart,) = page.app.get("graphviz_chart")
    addresses = [json.loads(text) for text in re.findall(r'URL=("[^"]*")', chart.proto.spec)]
    assert [parse_qs(urlsplit(each).query)["layer"] for each in addresses] == [
        ["conv1"], ["res1.0"], ["res1.1"], ["conv2"], ["res2.0"], ["res2.1"],
    ]  # fmt: skip
    for each in addresses:
        assert urlsplit(each).path == "layers"  # beside this page
        assert parse_qs(urlsplit(each).query)["checkpoint"] == ["own:2"]


def test_a_row_leads_to_its_layer(page: Any) -> None:
    def choose(row: int) -> None:
        page.app.session_state["steps"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
        page.run()

    assert "Choose the row of a convolution" in " ".join(page.texts)
    choose(4)
    (link,) = page.app.get("page_link")
    assert link.proto.label == "What res1.0 responds to"
    choose(5)
    assert page.links() == []
    assert "res1.0.norm is no convolution: the Layers page shows those." in page.texts


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("dark", [False, True])
def test_the_graph_of_every_model(name: str, dark: bool) -> None:
    made = boxes(structure(create_model(name)).steps)
    text = dot(made, lambda layer: f"layers?layer={layer}", dark)
    arrows = re.findall(r'^"(.*)" -> "(.*?)"( \[.*)?$', text, re.MULTILINE)
    assert [(a, b) for a, b, _ in arrows] == [(source, box.name) for box in made for source in box.inputs]
    skips = [(a, b) for a, b, style in arrows if style]
    joins = [box.name for box in made if len(box.inputs) > 1]
    assert [b for _, b in skips] == joins  # each join has one way that goes around its block
    assert text.count("URL=") == sum(bool(box.layer) for box in made)
    assert ("#F0F0F0" in text) == dark


def test_other_tools_start_only_when_asked(
    page: Any, open_page: Any, own_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.servers import NetronServer, TensorBoardServer

    def never(*_: object) -> None:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(TensorBoardServer, "show", never)
    monkeypatch.setattr(NetronServer, "show", never)
    assert page.run().says("error") == []
    page = open_page("structure", own_runs, tool="TensorBoard")
    (info,) = page.says("info")
    assert info.startswith("Writes own as a TensorBoard log and opens it here, on this machine alone")
    assert page.app.get("iframe") == []


def test_netron_and_tensorboard_on_request(open_page: Any, own_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from dashboard.servers import TensorBoardServer

    shown: list[Path] = []
    monkeypatch.setattr(TensorBoardServer, "show", lambda _, log: shown.append(log) or "http://localhost:1/")
    page = open_page("structure", own_runs, checkpoint="own:3", tool="Netron")
    (frame,) = page.app.get("iframe")
    assert re.fullmatch(r"http://localhost:\d+/own%3A3/", frame.proto.src)
    assert any("differs by at most" in text for text in page.texts)

    page = open_page("structure", own_runs, checkpoint="own:3", tool="TensorBoard", split="Test")
    page.click("Open TensorBoard")
    (frame,) = page.app.get("iframe")
    assert frame.proto.src == "http://localhost:1/"
    (folder,) = shown
    assert [path.name for path in folder.iterdir()] == ["own-epoch-003"]
    assert (folder / "own-epoch-003" / "00003" / "test" / "sprite.png").exists()
    assert any(
        text.startswith("3 epochs of own; in the Projector 336 faces of Demo faces, test") for text in page.texts
    )
    page.app.toggle(key="log faces").set_value(False)
    assert page.run().app.get("iframe") == []  # another log: to be asked for
