"""The figures on how well a checkpoint does: by label, how sure, on faces that it has seen, and where it is wrong."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fer_core.calibration import BINS
from fer_core.evaluation import Share
from fer_core.labels import COLORS, EMOTIONS
from fer_core.report import pictures, sentences_scores, svg
from fer_core.report.collect import FACES
from fer_core.report.figure import Figure, Teller, table
from fer_core.report.words import NONE, percent


def labels(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    rows = [
        svg.Dot(
            say.emotion(label),
            COLORS[label],
            share.value,
            *share.interval,
            note=f"{say.short(share)}  n = {share.n:,}",
        )
        for label, share in found.ranked
    ]
    yield Figure(
        "figure",
        svg.dots(rows, say("labels.axis"), lambda value: f"{100 * value:.0f}%", ends=(0.0, 1.0)),
        say("labels.caption", protocol=teller.protocol),
        sentences_scores.labels(found, say),
        teller.commands.evaluate(),
    )
    matrix = found.evaluation.confusion
    cells = [[_cell(int(k), int(row.sum())) for k in row] for row in matrix]
    names = [say.emotion(label) for label in EMOTIONS]
    yield Figure(
        "figure",
        svg.matrix(matrix, names, cells, (say("confusion.true"), say("confusion.predicted"))),
        say("confusion.caption", protocol=teller.protocol),
        sentences_scores.confusion(found, say),
        teller.commands.evaluate(),
    )


def _cell(k: int, n: int) -> tuple[str, str]:
    """A cell of the confusion matrix: its share of the row, and the share's 95 % interval."""
    if not n:
        return "", ""
    low, high = Share(k, n).interval
    return f"{100 * k / n:.0f}%", f"{100 * low:.0f}{NONE}{100 * high:.0f}"


def calibration(teller: Teller) -> Iterable[Figure]:
    found, say, result = teller.found, teller.say, teller.found.reliability
    n, hits = np.array(result.n), np.array(result.hits)
    there = n > 0
    body = svg.reliability(
        np.where(there, result.confidence, np.nan),
        np.where(there, hits / np.maximum(n, 1), np.nan),
        np.array([Share(int(k), int(of)).interval for k, of in zip(hits, n, strict=True)]),
        n,
        (say("calibration.confidence"), say("calibration.accuracy"), say("calibration.faces")),
    )
    is_to_store = found.calibrated_here and found.split == "validation"
    yield Figure(
        "figure",
        body,
        say("calibration.caption", bins=BINS, protocol=teller.protocol),
        say.sentences(
            [
                sentences_scores.calibration(found, say),
                say("calibration.not_stored") if is_to_store and not found.stored else "",
            ]
        ),
        teller.commands.calibrate() if is_to_store else teller.again("calibration"),
    )


def leaks(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    whole, unseen = found.evaluation.accuracy, found.evaluation.unseen
    rows = [(say("leaks.all"), svg.ACCENT, whole)]
    if unseen is not None and unseen.n < whole.n:
        rows.append((say("leaks.unseen_faces"), svg.ACCENT, unseen))
        rows.append((say("leaks.seen_faces"), svg.SECOND, Share(whole.hits - unseen.hits, whole.n - unseen.n)))
    dots = [
        svg.Dot(name, color, share.value, *share.interval, note=f"{say.short(share)}  n = {share.n:,}")
        for name, color, share in rows
        if share.n
    ]
    yield Figure(
        "figure",
        svg.dots(dots, say("leaks.axis"), lambda value: f"{100 * value:.0f}%"),
        say("leaks.caption", protocol=teller.protocol),
        sentences_scores.leaks(found, say),
        teller.commands.evaluate(),
    )


def mistakes(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    shown = found.mistakes[:FACES]
    told = [
        (
            say.emotion(EMOTIONS[int(found.faces.emotions[row])]),
            say.emotion(EMOTIONS[int(found.probabilities[row].argmax())]),
            percent(float(found.probabilities[row].max())),
        )
        for row in shown
    ]
    if teller.show_faces:
        cells = [
            (
                pictures.face(found.faces.images[row], str(found.faces.ids[row])),
                say("mistakes.taken", predicted=predicted, share=share),
                say("mistakes.labelled", true=true),
            )
            for row, (true, predicted, share) in zip(shown, told, strict=True)
        ]
        body = pictures.tiles(cells, 8)
    else:
        heads = [say("confusion.true"), say("confusion.predicted"), say("mistakes.confidence")]
        body = table(heads, [list(each) for each in told], left=2)
    yield Figure(
        "figure" if teller.show_faces else "table",
        body,
        say("mistakes.caption", count=len(shown), protocol=teller.protocol),
        sentences_scores.mistakes(found, say),
        teller.again("mistakes"),
    )
