"""The gallery's message: the sprite decodes back to the very pixels, whatever the number of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import widgets
from dashboard.gallery import Tile, _sprite
from fer_core.data import FaceDataset
from fer_core.explain.pictures import enlarged
from fer_core.labels import COLORS, EMOTIONS
from tests.conftest import PATIENCE


@pytest.mark.parametrize("count", [1, 11, 12, 13, 48])
def test_the_sprite_holds_the_very_pixels(decoded: Any, count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 48, 48)).astype(np.uint8)
    sheet = decoded(_sprite(images))
    assert sheet.shape == (48 * -(-count // 12), 48 * 12)
    for i, image in enumerate(images):
        y, x = 48 * (i // 12), 48 * (i % 12)
        np.testing.assert_array_equal(sheet[y : y + 48, x : x + 48], image)


def test_a_page_of_faces_is_a_small_message(own_faces: FaceDataset) -> None:
    """48 faces of pure noise, which no picture format makes smaller: about one byte a pixel and base64's third."""
    assert len(_sprite(own_faces.images[:48])) < 1.05 * 48 * 48 * 48 * 4 / 3 + 1000


def test_what_stands_below_a_face(faces: FaceDataset) -> None:
    said = np.full((3, 7), 0.05, np.float32)
    said[[0, 1, 2], [3, 3, 6]] = 0.7
    part = FaceDataset(
        faces.images[:3], np.array([3, 0, -1], np.int8), faces.splits[:3], np.array(["a", "b", "c"]), "Three"
    )
    share = float(np.float32(0.7))
    assert widgets.tiles_for(part, [0, 1, 2], said) == [
        Tile("a", "a: Happy, predicted Happy (70%)", "Happy", COLORS["Happy"], "✓", share),
        Tile("b", "b: Angry, predicted Happy (70%)", "Happy", COLORS["Happy"], "✗", share),
        Tile("c", "c: no label, predicted Neutral (70%)", "Neutral", COLORS["Neutral"], "", share),
    ]
    without = widgets.tiles_for(part, [2, 0], None)
    assert [(tile.id, tile.text, tile.mark) for tile in without] == [("c", "no label", ""), ("a", "Happy", "")]
    assert without[1].color == COLORS[EMOTIONS[3]]


def test_texts_reach_the_page_as_texts(tmp_path: Path) -> None:
    """The component writes with textContent and setAttribute alone: a name from a file can never become HTML."""
    from dashboard import gallery

    assert "innerHTML" not in gallery._JS
    assert "insertAdjacentHTML" not in gallery._JS
    script = tmp_path / "app.py"
    script.write_text(
        "import numpy as np\nfrom dashboard.gallery import Tile, gallery\n"
        "gallery(np.zeros((1, 48, 48), np.uint8), [Tile('<i>', '<b>')], 'key', print)\n"
    )
    app = AppTest.from_file(str(script), default_timeout=PATIENCE).run()
    assert not app.exception
    assert '"id": "<i>"' in app.get("bidi_component")[0].proto.json


@pytest.mark.parametrize("times", [2, 4])
def test_enlarged_faces_are_whole_multiples(own_faces: FaceDataset, times: int) -> None:
    picture = np.array(enlarged(own_faces.images[0], times))
    assert picture.shape == (48 * times, 48 * times)
    for y in range(times):
        np.testing.assert_array_equal(picture[y::times, y::times], own_faces.images[0])
