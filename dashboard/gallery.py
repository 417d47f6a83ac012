"""A grid of faces that can be clicked: one sprite and a button a face, so that a page of them is one small message.

Streamlit has no picture that is clicked, so this is a component of its own: a few lines of JavaScript that touch
nothing but their own element and put texts in as text, never as HTML.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import streamlit as st
from PIL import Image

from fer_core.preprocess import FACE_SIZE

_COLUMNS = 12  # of the sprite

_CSS = """
.grid { display: flex; flex-wrap: wrap; gap: 6px; font-family: var(--st-font); }
button { all: unset; cursor: pointer; border-radius: 4px; width: 96px; background: var(--st-secondary-background-color);
  outline: 1px solid var(--st-border-color-light, transparent); overflow: hidden; }
button:hover { outline: 2px solid var(--st-primary-color); }
button:focus-visible { outline: 3px solid var(--st-primary-color); }
button[aria-pressed="true"] { outline: 3px solid var(--st-primary-color); }
.face { width: 96px; height: 96px; background-repeat: no-repeat; }
.line { display: flex; gap: 4px; align-items: center; font-size: 12px; line-height: 18px; padding: 2px 5px;
  color: var(--st-text-color); white-space: nowrap; }
.line .text { overflow: hidden; text-overflow: ellipsis; }
.line .mark { margin-left: auto; font-weight: 700; }
.bar { height: 4px; }
"""

_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  let grid = parentElement.querySelector('.grid');
  if (!grid) {
    grid = document.createElement('div');
    grid.className = 'grid';
    parentElement.appendChild(grid);
  }
  const side = 96;
  const element = (tag, name, parent) => {
    const made = document.createElement(tag);
    made.className = name;
    parent.appendChild(made);
    return made;
  };
  grid.replaceChildren();
  data.tiles.forEach((tile, i) => {
    const button = element('button', 'tile', grid);
    button.type = 'button';
    button.title = tile.title;
    button.setAttribute('aria-label', tile.title);
    button.setAttribute('aria-pressed', String(tile.id === data.chosen));
    button.onclick = () => setTriggerValue('clicked', tile.id);
    const face = element('div', 'face', button);
    const column = i % data.columns, row = Math.floor(i / data.columns);
    face.style.backgroundImage = `url(${data.sprite})`;
    face.style.backgroundSize = `${side * data.columns}px auto`;
    face.style.backgroundPosition = `${-side * column}px ${-side * row}px`;
    if (tile.text) {
      const line = element('div', 'line', button);
      element('span', 'text', line).textContent = tile.text;
      element('span', 'mark', line).textContent = tile.mark;
      const bar = element('div', 'bar', button);
      bar.style.background = tile.color;
      bar.style.width = `${100 * tile.share}%`;
    }
  });
}
"""

_component = st.components.v2.component("fer_gallery", css=_CSS, js=_JS)


@dataclass(frozen=True)
class Tile:
    """What stands on and below a face.

    title  on hover and for screen readers
    text   below the face, with `mark` (right or wrong) at its end
    share  length of the bar below, 0..1, in the emotion's `color`: how probable it was found
    """

    id: str
    title: str
    text: str = ""
    color: str = ""
    mark: str = ""
    share: float = 1.0


def gallery(
    images: np.ndarray, tiles: Sequence[Tile], key: str, on_click: Callable[[str], None], chosen: str | None = None
) -> None:
    """Faces uint8 (N, 48, 48) at twice their size; `on_click` gets a clicked tile's id before the page reruns."""

    def clicked() -> None:
        face = st.session_state[key].clicked
        if face is not None:
            on_click(face)

    data = {"sprite": _sprite(images), "columns": _COLUMNS, "tiles": [asdict(tile) for tile in tiles], "chosen": chosen}
    _component(key=key, data=data, on_clicked_change=clicked)


def _sprite(images: np.ndarray) -> str:
    """All faces as one PNG in a data URL, `_COLUMNS` a row."""
    rows = -(-len(images) // _COLUMNS)
    padded = np.zeros((rows * _COLUMNS, FACE_SIZE, FACE_SIZE), np.uint8)
    padded[: len(images)] = images
    sheet = padded.reshape(rows, _COLUMNS, FACE_SIZE, FACE_SIZE).swapaxes(1, 2).reshape(rows * FACE_SIZE, -1)
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
