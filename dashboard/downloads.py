"""The Export page's downloads: a checkpoint for other tools and other people. Each is made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from dashboard import state, state_export, widgets
from dashboard.state import Choice
from dashboard.submitting import offer_file
from fer_core.errors import FerError
from fer_core.report.words import LANGUAGES


@dataclass(frozen=True)
class File:
    """What a person takes away: content, name, media type, and a sentence that says what was made and checked."""

    content: bytes
    name: str
    kind: str
    told: str = ""


def show(chosen: Choice) -> None:
    """What there is to take away of the chosen checkpoint."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = widgets.choose_split()
        shows_faces = widgets.choose_faces()
        names = {title: code for code, title in LANGUAGES.items()}
        language = st.segmented_control(
            "Language of the report",
            list(names),
            default=next(iter(names)),
            required=True,
            key="language",
            bind="query-params",
        )
    left, right = st.columns(2, gap="medium")
    with left:
        _offer(
            "report",
            "The whole experiment report as one HTML file that needs nothing else and prints well: data, curves, "
            f"scores, saliency, filters, mistakes, on {state.faces().name}, {split}. Takes up to a minute.",
            (str(chosen), split, shows_faces, language),
            lambda: _report(chosen, split, names[language], shows_faces),
        )
        _offer(
            "model card",
            "Data, protocol, scores by label, limits and licence, in the format of the Hugging Face Hub: the README.md "
            "of a repository with these weights.",
            (str(chosen), state.faces().fingerprint),
            lambda: File(state_export.card(chosen), "README.md", "text/markdown"),
        )
    with right:
        _offer(
            "ONNX file",
            "The network for ONNX Runtime and other tools: gray levels in, probabilities out, labels in the metadata.",
            (str(chosen),),
            lambda: _onnx(chosen),
        )
        _offer(
            "TensorBoard log",
            f"Graph, curves, confusion matrices, penultimate features of {state.faces().name}, {split}. The Structure "
            "page opens it here.",
            (str(chosen), split, shows_faces),
            lambda: _log(chosen, split, shows_faces),
        )


def _offer(title: str, what: str, about: tuple[object, ...], make: Callable[[], File]) -> None:
    """A file: made once its button is clicked, then offered as long as the choices that it depends on stay."""
    with st.container(border=True):
        st.markdown(f"**{title[0].upper()}{title[1:]}**")
        st.caption(what)
        if st.button(f"Make the {title}", key=f"make {title}"):
            state.put(f"made {title}", about)
        if state.get(f"made {title}") == about:
            try:
                file = make()
            except FerError as error:  # the other files can be had all the same
                st.error(str(error), icon=":material/error:")
                return
            offer_file(f"{file.name}, {_size(len(file.content))}", file.content, file.name, file.kind, primary=True)
            if file.told:
                st.caption(file.told)


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def _onnx(chosen: Choice) -> File:
    content, difference = state_export.onnx_file(chosen)
    told = (
        f"ONNX Runtime and PyTorch differ by at most {difference:.0e} in a probability, on "
        f"{state_export.CHECKED_FACES} demo faces."
    )
    return File(content, state_export.onnx_name(chosen), "application/octet-stream", told)


def _report(chosen: Choice, split: str, language: str, shows_faces: bool) -> File:
    content = state_export.report(chosen, split, language, shows_faces)
    is_private = shows_faces and not state.faces().is_demo
    told = "It shows faces of the data set: make it without them to share it." if is_private else ""
    return File(content, f"{chosen.run.name}-epoch-{chosen.epoch:03d}-report.html", "text/html", told)


def _log(chosen: Choice, split: str, shows_faces: bool) -> File:
    log = state_export.tensorboard_log(chosen, split, shows_faces)
    told = f"Unpack it and see it with: tensorboard --logdir {log.path.name}"
    return File(state_export.log_archive(log), f"{log.path.name}-tensorboard.zip", "application/zip", told)
