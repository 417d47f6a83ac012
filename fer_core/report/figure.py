"""What a report is put together from: figures and tables, each with its caption, the sentence that tells what it shows,
and the command that makes it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fer_core.report.collect import Findings
from fer_core.report.commands import Commands
from fer_core.report.words import Words


@dataclass(frozen=True)
class Figure:
    """A figure or a table ("table" for kind), `body` as HTML."""

    kind: str
    body: Markup
    caption: str
    told: str
    command: str

    @property
    def is_long(self) -> bool:
        """Too long for one page: it may be broken."""
        return self.body.count("<tr") > 24


@dataclass(frozen=True)
class Teller:
    """What every section needs. show_faces: False leaves out all that comes from pixels of the data set."""

    found: Findings
    say: Words
    commands: Commands
    show_faces: bool = True

    @property
    def protocol(self) -> str:
        """Which checkpoint on which faces, in words: no number without it."""
        found = self.found
        return self.say(
            "protocol.short",
            run=found.run.name,
            epoch=found.epoch,
            data=found.faces.name,
            split=self.say.split(found.split),
            n=f"{len(found.faces):,}",
        )

    def again(self, part: str) -> str:
        return self.commands.report(part, self.say.language, self.show_faces)


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int = 1,
    numbers: bool = True,
    total: bool = False,
    strong: Sequence[int] = (),
) -> Markup:
    """Rows of text as a table. left: so many columns are words; the others are numbers, set to the right where
    `numbers`. total: the last row is a sum. strong: rows to be set in bold."""
    words = len(heads) if not numbers else left

    def row(cells: Sequence[str], tag: str, style: str = "") -> Markup:
        inner = Markup("").join(
            Markup("<{0}{1}>{2}</{0}>").format(tag, Markup("" if i < words else ' class="number"'), cell)
            for i, cell in enumerate(cells)
        )
        return Markup("<tr{}>{}</tr>").format(Markup(f' class="{style}"' if style else ""), inner)

    last = len(rows) - 1
    body = Markup("").join(
        row(cells, "td", "total" if total and i == last else "strong" if i in strong else "")
        for i, cells in enumerate(rows)
    )
    return Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(row(heads, "th"), body)
