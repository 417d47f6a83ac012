"""A report as one HTML file that loads nothing from anywhere and prints well."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import fer_core
from fer_core.models import count_parameters
from fer_core.report import sentences_run
from fer_core.report.collect import Findings
from fer_core.report.commands import Commands
from fer_core.report.figure import Figure, Teller
from fer_core.report.figures_run import every_epoch
from fer_core.report.sections import sections
from fer_core.report.words import Words, percent

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(found: Findings, commands: Commands, language: str = "en", show_faces: bool = True) -> str:
    """The report as HTML. show_faces: False leaves out all that comes from pixels of the data set.

    The same findings give the same text. Raises ConfigError for a language that there is not.
    """
    say = Words(language)
    teller = Teller(found, say, commands, show_faces)
    numbered: Counter[str] = Counter()

    def label(figure: Figure) -> str:
        numbered[figure.kind] += 1
        return say(f"page.{figure.kind}", number=numbered[figure.kind])

    result = found.evaluation
    wrong = result.n - result.accuracy.hits
    use = [
        say("page.use_labels"),
        say("page.use_wrong", wrong=f"{wrong:,}", n=f"{result.n:,}", share=percent(wrong / result.n)),
        say("page.use_law"),
        say("page.use_maps"),
    ]
    return _TEMPLATES.get_template("page.html.j2").render(
        say=say,
        title=say("page.title", run=found.run.name),
        subtitle=say(
            "page.subtitle",
            run=found.run.name,
            epoch=found.epoch,
            model=found.run.config.model,
            split=say.split(found.split),
            data=found.faces.name,
        ),
        is_demo=found.faces.is_demo,
        summary=sentences_run.summary(found, say),
        numbers=_numbers(found, say),
        faces_note=say("page.shown" if show_faces else "page.hidden"),
        sections=sections(teller),
        label=label,
        unbroken=_unbroken,
        use=use,
        appendix=every_epoch(teller),
        version=fer_core.__version__,
        command=commands.report(language=language, show_faces=show_faces),
    )


def _unbroken(command: str) -> Markup:
    """A command whose lines break between words only: no browser may take "--out" apart."""
    return Markup(" ").join(Markup("<span>{}</span>").format(word) for word in command.split(" "))


def _numbers(found: Findings, say: Words) -> list[tuple[str, str]]:
    """The few that stand at the top."""
    result = found.evaluation
    unseen = [
        (percent(share.value), say("page.unseen", interval=say.between(share.interval)))
        for share in (result.unseen,)
        if share and share.n < result.n
    ]
    return [
        (percent(result.accuracy.value), say("page.accuracy", interval=say.between(result.accuracy.interval))),
        *unseen,
        (f"{result.macro_f1:.3f}", say("page.f1")),
        (percent(found.reliability.ece), say("page.ece")),
        (f"{result.n:,}", say("page.faces", split=say.split(found.split))),
        (f"{count_parameters(found.checkpoint.model):,}", say("page.parameters")),
    ]
