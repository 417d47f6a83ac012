"""What holds when a person goes from page to page: the menu leaves a page as it was, a link shows what it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from dashboard.scatter import packed
from fer_core.data import FaceDataset, demo_faces
from fer_core.models import create_model
from fer_core.structure import structure


def go(page: Any, name: str, query: str = "") -> Any:
    """To another page, as a browser goes there: the sidebar's widgets come along and stay in the URL, no others."""
    lasting = {key: value for key, value in page.query.items() if key in ("data", "checkpoint")}
    page.query.clear()
    page.query.update(lasting | parse_qs(query))
    page.app.main.children.clear()
    page.app.switch_page(f"views/{name}.py")
    return page.run()


def follow(page: Any, label: str) -> Any:
    (link,) = [each.proto for each in page.app.get("page_link") if each.proto.label == label]
    return go(page, link.page, link.query_string)


def choose(page: Any, kind: str, key: str, value: Any) -> Any:
    getattr(page.app, kind)(key=key).set_value(value)
    return page.run()


def split_of(page: Any) -> str:
    return str(page.app.segmented_control(key="split").value)


@pytest.fixture
def opened(open_page: Any, own_runs: Path, own_data: Path) -> Callable[..., Any]:
    return lambda name, **query: open_page(name, own_runs, own_data, **query)


@pytest.fixture
def samples(opened: Any) -> Any:
    return opened("samples")


def listed(page: Any) -> str:
    """How many faces are listed, in the page's words."""
    (text,) = [text for text in page.texts if ", as seen by " in text]
    return str(text).split("**")[1]


# -- ranges that are of a split --------------------------------------------------------------------


def ranges(page: Any) -> dict[str, tuple[float, float]]:
    return {each.key: tuple(each.value) for each in page.app.slider if each.key.startswith("x-")}


def ends(page: Any) -> dict[str, tuple[float, float]]:
    return {each.key: (each.min, each.max) for each in page.app.slider if each.key.startswith("x-")}


@pytest.mark.parametrize("split", ["Train", "Test"])
def test_another_split_is_not_filtered_by_the_ends_of_the_one_before(
    open_page: Any, own_runs: Path, split: str
) -> None:
    count = len(demo_faces().split(split.lower()))
    page = go(go(open_page("samples", own_runs), "home"), "samples")
    before = ends(page)
    choose(page, "segmented_control", "split", split)
    for _ in range(2):  # Streamlit carries a value on to a widget with new ends after a turn
        assert listed(page) == f"{count:,} faces"
        assert ranges(page) == ends(page) != before
        page.run()
    assert ranges(go(go(page, "home"), "samples")) == ends(page)
    choose(page, "segmented_control", "split", "Validation")
    assert ranges(page.run()) == ends(page) == before


def test_a_range_that_was_chosen_holds_where_it_fits(open_page: Any, own_runs: Path) -> None:
    page = choose(open_page("samples", own_runs), "slider", "x-yaw", (-10.0, 10.0))
    choose(page, "slider", "x-identity", (230, 240))  # of whom train has none
    choose(page, "segmented_control", "split", "Train")
    faces = demo_faces().split("train").extra
    for _ in range(2):
        assert ranges(page)["x-yaw"] == (-10, 10)
        assert ranges(page)["x-identity"] == ends(page)["x-identity"]
        assert listed(page) == f"{faces['yaw'].between(-10, 10).sum()} of {len(faces):,} faces"
        page.run()


def test_ranges_in_a_link(open_page: Any, own_runs: Path) -> None:
    link: dict[str, Any] = {"split": "Train", "x-yaw": ["-10", "10"], "x-identity": ["5", "20"]}
    page = open_page("samples", own_runs, **link)
    faces = demo_faces().split("train").extra
    kept = int(faces["yaw"].between(-10, 10).mul(faces["identity"].between(5, 20)).sum())
    assert listed(page) == f"{kept} of {len(faces):,} faces"
    assert listed(page.run()) == listed(page)
    follow(go(page, "home"), "Find the most confident mistakes")
    assert ranges(page) == ends(page)
    go(go(page, "home"), "samples", "split=Train&x-yaw=-10&x-yaw=10&x-identity=5&x-identity=20")
    assert listed(page) == listed(page.run()) == f"{kept} of {len(faces):,} faces"


# -- one layer for each page -----------------------------------------------------------------------


def test_grad_cam_looks_at_the_last_layer_whatever_was_looked_at_on_layers(opened: Any) -> None:
    page = go(opened("layers"), "home")
    assert go(page, "saliency").app.selectbox(key="cam").value == "res2.1"
    assert any(text.startswith("**Grad-CAM at res2.1**") for text in page.texts)
    assert choose(page, "selectbox", "cam", "res1.0").app.selectbox(key="cam").value == "res1.0"
    assert go(go(page, "home"), "layers").app.selectbox(key="layer").value == "conv1"


# -- links -----------------------------------------------------------------------------------------


def test_a_link_to_a_checkpoint_chooses_it(opened: Any) -> None:
    page = opened("home")
    default = page.app.selectbox(key="checkpoint").value
    assert default != "own:1"
    for checkpoint in ("own:1", default):  # which Streamlit leaves out of the URL
        go(page, "samples", f"checkpoint={checkpoint}")
        assert page.app.selectbox(key="checkpoint").value == checkpoint
        assert f"**70 faces**, as seen by {checkpoint}" in page.run().texts
        assert go(page, "home").app.selectbox(key="checkpoint").value == checkpoint


def test_the_menu_leaves_a_page_as_it_was(samples: Any) -> None:
    choose(samples, "segmented_control", "split", "Train")
    choose(samples, "button_group", "outcome", "Right")
    choose(samples, "selectbox", "sort", "Least confident")
    before = samples.tile_ids()
    assert go(go(samples, "confusion"), "samples").tile_ids() == before
    assert (split_of(samples), samples.app.button_group(key="outcome").value) == ("Train", "Right")


def test_a_link_forgets_what_was_filtered_before(samples: Any) -> None:
    choose(samples, "segmented_control", "split", "Test")
    choose(samples, "button_group", "outcome", "Right")
    choose(samples, "pills", "predicted", ["Fear"])
    follow(go(samples, "home"), "Find the most confident mistakes")
    assert samples.says("info") == []
    assert split_of(samples) == "Validation"
    assert samples.app.button_group(key="outcome").value == "All"
    mistakes = listed(samples)
    assert 0 < int(mistakes.removesuffix(" of 70 faces")) < 70
    assert listed(samples.run()) == mistakes


def test_a_link_begins_at_the_first_page(opened: Any) -> None:
    page = opened("samples", split="Train", page="2")
    for _ in range(3):
        assert page.app.number_input(key="page").value == 2
        page.run()
    follow(go(page, "home"), "Find the most confident mistakes")
    assert page.query.get("page", ["1"]) == ["1"]
    assert [each.value for each in page.app.number_input] in ([], [1])


def test_a_mean_face_leads_to_all_faces_of_its_emotion(samples: Any) -> None:
    choose(samples, "pills", "predicted", ["Fear"])
    choose(samples, "text_input", "id", "nowhere")
    page = go(samples, "data")
    page.app.session_state["face to open"] = "Happy"
    page.run()
    assert page.title == "Samples"
    assert page.app.pills(key="true").value == ["Happy"]
    assert listed(page) == "10 of 70 faces"


def test_a_cell_leads_to_maps_of_the_faces_in_it(samples: Any) -> None:
    choose(samples, "segmented_control", "split", "Train")
    page = go(samples, "confusion", "cell=Happy>Happy&scored=fer2013.csv, validation")
    follow(page, "What is looked at on these faces, on average")
    assert split_of(page) == "Validation"
    assert any(text.endswith("fer2013.csv, validation.") for text in page.texts)


def test_a_face_leads_to_its_map_and_from_there_to_what_is_looked_at(samples: Any, own_faces: FaceDataset) -> None:
    """All three pages choose a split: what the first chose goes along, although Streamlit drops it from the links."""
    choose(samples, "segmented_control", "split", "Train")
    face = str(own_faces.split("train").ids[5])
    samples.app.query_params["face"] = face
    for link in ("Neighbours on the map", "What is looked at"):
        follow(samples.run(), link)
        assert (split_of(samples), samples.says("warning")) == ("Train", [])
        assert f"**{face}**" in samples.texts


def test_a_clicked_face_opens_whatever_split_was_looked_at(samples: Any, own_faces: FaceDataset) -> None:
    choose(samples, "segmented_control", "split", "Train")
    page = go(samples, "home")
    page.app.session_state["face to open"] = str(own_faces.split("validation").ids[3])
    page.run()
    assert (page.title, split_of(page), page.says("warning")) == ("Samples", "Validation", [])


def test_a_layer_of_the_structure_leads_to_what_it_responds_to(opened: Any) -> None:
    page = choose(opened("layers"), "selectbox", "layer", "res1.0")
    choose(page, "number_input", "channel", 3)
    go(page, "structure")
    page.app.session_state["steps"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    follow(page.run(), "What conv1 responds to")
    assert page.app.selectbox(key="layer").value == "conv1"
    assert page.app.number_input(key="channel").value == 0


# -- pages of a list -------------------------------------------------------------------------------


def test_another_order_or_filter_begins_at_the_first_page(samples: Any) -> None:
    for kind, key, value in (
        ("selectbox", "sort", "Least confident"),
        ("segmented_control", "split", "Train"),
        ("pills", "true", ["Angry", "Fear", "Happy", "Sad"]),
    ):
        choose(samples, "number_input", "page", 2)
        assert samples.run().app.number_input(key="page").value == 2
        choose(samples, kind, key, value)
        assert samples.app.number_input(key="page").value == 1


def test_a_page_of_a_list_holds_with_another_checkpoint_and_by_the_menu(samples: Any) -> None:
    choose(samples, "number_input", "page", 2)
    choose(samples, "selectbox", "checkpoint", "own:1")
    assert samples.app.number_input(key="page").value == 2
    assert go(go(samples, "home"), "samples").app.number_input(key="page").value == 2


def test_lists_of_other_pages_begin_at_their_first(open_page: Any, own_runs: Path) -> None:
    page = choose(open_page("samples", own_runs), "number_input", "page", 2)
    go(page, "data")
    choose(page, "segmented_control", "section", "Label errors")
    choose(page, "segmented_control", "doubted", "Validation")
    assert [each.value for each in page.app.number_input if each.key == "page"] in ([], [1])


# -- selections that are of something else ---------------------------------------------------------


def test_a_row_beyond_the_table_of_a_smaller_network(open_page: Any, shipped: Path) -> None:
    page = open_page("structure", shipped, checkpoint="report-resnet:100")
    last = len(structure(create_model("EmotionResNet")).steps) - 1
    page.app.session_state["steps"] = {"selection": {"rows": [last], "columns": [], "cells": []}}
    page.run()
    choose(page, "selectbox", "checkpoint", "report-cnn:50")
    assert page.links() == []
    assert "Choose the row of a convolution" in " ".join(page.texts)


def test_a_selection_on_the_map_is_of_these_faces_alone(opened: Any, own_faces: FaceDataset) -> None:
    rows = packed(own_faces.split("validation").labelled().emotions[:3].argsort() * 5)
    mine = f"validation.{own_faces.split('validation').fingerprint[:8]}.{rows}"
    page = opened("map", selected=mine)
    assert "**3 faces selected**" in " ".join(page.texts)
    choose(page, "selectbox", "data", "Demo faces")
    assert "selected**" not in " ".join(page.texts)
