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

_COLUMNS = 12  # of the sprite

_CSS = """
.grid { display: flex; flex-wrap: wrap; gap: 6px; font-family: var(--st-font); }
button { all: unset; cursor: pointer; border-radius: 4px; background: var(--st-secondary-background-color);
  outline: 1px solid var(--st-border-color-light, transparent); overflow: hidden; }
button:hover { outline: 2px solid var(--st-primary-color); }
button:focus-visible { outline: 3px solid var(--st-primary-color); }
button[aria-pressed="true"] { outline: 3px solid var(--st-primary-color); }
.face { background-repeat: no-repeat; }
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
    button.style.width = `${data.width}px`;
    const face = element('div', 'face', button);
    face.style.width = `${data.width}px`;
    face.style.height = `${data.height}px`;
    const column = i % data.columns, row = Math.floor(i / data.columns);
    face.style.backgroundImage = `url(${data.sprite})`;
    face.style.backgroundSize = `${data.width * data.columns}px auto`;
    face.style.backgroundPosition = `${-data.width * column}px ${-data.height * row}px`;
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
    images: np.ndarray,
    tiles: Sequence[Tile],
    key: str,
    on_click: Callable[[str], None],
    chosen: str | None = None,
    times: int = 2,
) -> None:
    """Pictures uint8 (N, H, W), or (N, H, W, 3) in colour, at `times` their size; `on_click` gets a clicked tile's id
    before the page reruns."""

    def clicked() -> None:
        face = st.session_state[key].clicked
        if face is not None:
            on_click(face)

    data = {
        "sprite": _sprite(images),
        "columns": _COLUMNS,
        "height": images.shape[1] * times,
        "width": images.shape[2] * times,
        "tiles": [asdict(tile) for tile in tiles],
        "chosen": chosen,
    }
    _component(key=key, data=data, on_clicked_change=clicked)


def _sprite(images: np.ndarray) -> str:
    """All pictures as one PNG in a data URL, `_COLUMNS` a row."""
    n, height, width = images.shape[:3]
    rows = -(-n // _COLUMNS)
    padded = np.zeros((rows * _COLUMNS, *images.shape[1:]), np.uint8)
    padded[:n] = images
    grid = padded.reshape(rows, _COLUMNS, *images.shape[1:]).swapaxes(1, 2)  # (rows, height, columns, width)
    sheet = grid.reshape(rows * height, _COLUMNS * width, *images.shape[3:])
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
