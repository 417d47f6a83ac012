"""Structure in a real browser: the graph's links, and Netron and TensorBoard without a word to any other machine."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest


def hosts(person: Any) -> set[str | None]:
    """All that the page and the frames in it asked for anything, blocked requests too."""
    return {urlsplit(url).hostname for url in person.requests if not url.startswith(("data:", "blob:", "about:"))}


def drawn(frame: Any, operator: str) -> int:
    """How many nodes of an operator Netron has drawn; it takes `eval` away, by which more could be read."""
    return int(frame.locator("svg text").filter(has_text=re.compile(f"^{operator}$")).count())


def test_netron_shows_the_network_and_reaches_nobody(visit: Any) -> None:
    pytest.importorskip("netron")
    pytest.importorskip("onnxruntime")
    person = visit()
    page = person.open("structure", checkpoint="report-resnet:86")
    page.get_by_text("Netron", exact=True).click()
    frame = page.frame_locator("iframe[src*='report-resnet']")
    operators = {"Conv": 6, "Add": 4, "MaxPool": 2, "Softmax": 1}
    person.wait(lambda: {name: drawn(frame, name) for name in operators} == operators, "the network in Netron")
    assert frame.locator("#message-text").text_content() == ""  # it asks neither for consent nor to be updated
    page.wait_for_timeout(2500)  # its look-up of the visitor's country is given up after 2 s, then it would report
    assert hosts(person) == {"localhost"}
    assert not [cookie for cookie in person.context.cookies() if cookie["name"] == "consent" or "_ga" in cookie["name"]]


def test_what_netron_would_send_is_stopped(visit: Any) -> None:
    """By the policy that comes with every file: the browser itself lets nothing reach another machine."""
    pytest.importorskip("netron")
    person = visit()
    page = person.open("structure", checkpoint="report-resnet:86", tool="Netron")
    address = page.locator("iframe[src*='report-resnet']").get_attribute("src")
    page.goto(f"{address}onnx-metadata.json")
    stopped = page.evaluate(
        "async () => {"
        " const stopped = new Promise(done => document.addEventListener("
        "   'securitypolicyviolation', event => done([event.violatedDirective, event.blockedURI])));"
        " await fetch('http://127.0.0.2:9/collect').catch(() => {});"
        " return await stopped; }"
    )
    assert stopped == ["connect-src", "http://127.0.0.2:9/collect"]
    person.complaints.clear()  # the browser says so too


def test_a_box_of_the_graph_opens_its_layer(visit: Any) -> None:
    person = visit()
    page = person.open("structure", checkpoint="report-resnet:50")
    graph = page.get_by_test_id("stGraphVizChart")
    graph.locator("a").filter(has_text="res1.0").click()
    page.get_by_role("heading", name="Layers", exact=True, level=1).wait_for()
    person.wait_query(layer="res1.0", checkpoint="report-resnet:50")
    page.get_by_text("res1.0 of report-resnet:50").wait_for()
    assert hosts(person) == {"localhost"}


def test_tensorboard_opens_with_one_click(visit: Any) -> None:
    pytest.importorskip("tensorboard")
    person = visit()
    page = person.open("structure", checkpoint="report-cnn:50", tool="TensorBoard")
    page.get_by_role("button", name="Open TensorBoard").click()
    frame = page.frame_locator("iframe[src^='http://localhost']")
    frame.get_by_text("report-cnn-epoch-050").first.wait_for()
    frame.get_by_text("accuracy/validation").first.wait_for()
    assert hosts(person) == {"localhost"}
    person.complaints.clear()  # TensorBoard's own, of its 404s


def test_content_is_on_the_first_screen(visit: Any) -> None:
    person = visit()
    page = person.open("structure")
    page.get_by_test_id("stGraphVizChart").locator("svg").wait_for()
    for found in (page.get_by_test_id("stDataFrame"), page.get_by_text("face, 1 x 48 x 48")):
        box = found.bounding_box()
        assert box["y"] + box["height"] <= 800
        assert box["x"] + box["width"] <= 1280
