"""How a run came about, in words: its data, its network, its training; and the whole report in a paragraph.

Which sentence is said follows from the numbers alone; how it reads stands in the catalogues (see `words`).
"""

from __future__ import annotations

import math

import numpy as np

from fer_core.labels import EMOTIONS
from fer_core.report.collect import Findings
from fer_core.report.words import NONE, Words, percent, points
from fer_core.runs import Run


def summary(found: Findings, say: Words) -> str:
    """The whole report in a paragraph."""
    result = found.evaluation
    (best, best_share), (worst, worst_share) = found.ranked[0], found.ranked[-1]
    unseen = result.unseen
    texts = [
        say(
            "summary.score",
            model=found.run.config.model,
            epoch=found.epoch,
            right=say.share(result.accuracy),
            n=f"{result.n:,}",
            split=say.split(found.split),
            data=found.faces.name,
        ),
        say("summary.unseen", k=f"{result.n - unseen.n:,}", share=percent(unseen.value))
        if unseen and 0 < unseen.n < result.n
        else "",
        say(
            "summary.labels",
            best=say.emotion(best),
            best_share=percent(best_share.value),
            worst=say.emotion(worst),
            worst_share=percent(worst_share.value),
        )
        if best != worst
        else "",
        say("summary.ece", ece=points(found.reliability.ece)),
        demo(found, say),
    ]
    return say.sentences(texts)


def demo(found: Findings, say: Words) -> str:
    return say("data.demo") if found.faces.is_demo else ""


def data(found: Findings, say: Words) -> str:
    """How many faces of what, and whether the run knows them."""
    counts = found.data.counts()
    parts = [say("data.part", n=f"{int(row.sum()):,}", split=say.split(str(split))) for split, row in counts.iterrows()]
    texts = [say("data.counts", data=found.data.name, n=f"{len(found.data):,}", parts=say.listed(parts))]
    scored = found.faces.emotions
    numbers = np.bincount(scored.astype(int), minlength=len(EMOTIONS))
    most, least = int(numbers.argmax()), int(np.where(numbers, numbers, numbers.max() + 1).argmin())
    if most != least:
        texts.append(
            say(
                "data.balance",
                split=say.split(found.split),
                n=f"{len(scored):,}",
                most=say.emotion(EMOTIONS[most]),
                most_share=percent(numbers[most] / len(scored)),
                least=say.emotion(EMOTIONS[least]),
                least_share=percent(numbers[least] / len(scored)),
            )
        )
    return say.sentences([*texts, demo(found, say)])


def curation(run: Run, say: Words) -> list[str]:
    """What was taken out of the data or relabelled before training, as the run noted it: a line a file."""
    noted = run.info.get("curation", {})
    return [
        say(f"protocol.{what}", n=f"{noted[what]['n']:,}", file=noted[what]["file"], sha256=noted[what]["sha256"])
        for what in ("exclude", "relabel")
        if what in noted
    ]


def trained_on(run: Run, say: Words) -> str:
    """What the run calls the data that it was trained on."""
    return str(run.info.get("data", {}).get("name", say("protocol.unknown")))


def protocol(found: Findings, say: Words) -> str:
    """What the scores may be taken for."""
    run, texts = found.run, []
    if found.same_data:
        texts.append(say("protocol.same", fingerprint=run.data_fingerprint))
    else:
        key = "protocol.curated" if found.own_data else "protocol.other"
        texts.append(say(key, trained=trained_on(run, say), data=found.data.name))
    if found.split == "train":
        texts.append(say("protocol.training_faces"))
    if found.picked_among:
        texts.append(say("protocol.chosen", epoch=found.epoch, scored=found.picked_among))
        last = int(found.scores.index[-1])
        if last != found.epoch:
            texts.append(say("protocol.last", epoch=last, share=say.share(found.recorded(last))))
    else:
        texts.append(say("protocol.not_chosen", epoch=found.epoch) if found.same_data else "")
    return say.sentences(texts)


def structure(found: Findings, say: Words, parameters: dict[str, int], sees: tuple[int, int], last: str) -> str:
    """Where the parameters are, and how much of the face the last convolution sees."""
    total, (layer, largest) = sum(parameters.values()), max(parameters.items(), key=lambda each: each[1])
    return say(
        "structure.told",
        model=found.run.config.model,
        total=f"{total:,}",
        layer=layer,
        share=percent(largest / total, 0),
        last=last,
        rows=sees[0],
        columns=sees[1],
    )


def accuracy_curve(found: Findings, say: Words) -> str:
    """Does it overfit, and when was it best?"""
    curves = found.curves
    if ("accuracy", "validation") not in curves:
        return say("training.no_validation")
    validation = curves["accuracy", "validation"].dropna()
    best, last = int(validation.idxmax()), int(validation.index[-1])
    texts = [
        say(
            "training.best",
            best=best,
            best_share=say.share(found.recorded(best)),
            last=last,
            last_share=say.share(found.recorded(last)),
        )
        if best != last
        else say("training.best_is_last", last=last, last_share=say.share(found.recorded(last)))
    ]
    if ("accuracy", "train") in curves and not math.isnan(curves.loc[last, ("accuracy", "train")]):
        trained = float(curves.loc[last, ("accuracy", "train")])
        low, high = found.recorded(last).interval
        kind = "overfits" if trained > high else "behind" if trained < low else "level"
        gap = points(trained - validation.iloc[-1])
        texts.append(say(f"training.{kind}", trained=percent(trained), gap=gap))
    return say.sentences(texts)


def loss_curve(found: Findings, say: Words) -> str:
    """Did the validation loss turn?"""
    curves = found.curves
    if ("loss", "validation") not in curves:
        return say("training.no_validation")
    loss = curves["loss", "validation"].dropna()
    lowest, last = int(loss.idxmin()), int(loss.index[-1])
    least, end = float(loss.min()), float(loss.iloc[-1])
    if end <= 1.01 * least:
        return say("training.loss_low", lowest=lowest, least=f"{least:.3f}", last=last, end=f"{end:.3f}")
    return say(
        "training.loss_rose",
        lowest=lowest,
        least=f"{least:.3f}",
        last=last,
        end=f"{end:.3f}",
        rise=percent(end / least - 1, 0) if least else NONE,
    )


def kept_epochs(found: Findings, say: Words) -> str:
    """How much does it matter which of the kept epochs is taken?"""
    shares = {epoch: share for epoch in found.run.epochs() if (share := found.recorded(epoch)).n}
    if len(shares) < 2:
        return say("training.one_kept")
    best = max(shares, key=lambda epoch: shares[epoch].value)
    low, _ = shares[best].interval
    alike = [str(epoch) for epoch, share in shares.items() if epoch != best and share.value >= low]
    key = "training.alike" if alike else "training.none_alike"
    return say(key, kept=len(shares), best=best, share=say.share(shares[best]), epochs=say("list.comma").join(alike))
