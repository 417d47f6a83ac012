"""How well a checkpoint does, in words. As in `sentences_run`, the numbers alone choose the sentence."""

from __future__ import annotations

import math
from collections import Counter

from fer_core.evaluation import Share
from fer_core.labels import EMOTIONS
from fer_core.report.collect import FACES, LEAST_OF_PAIRS, SURE, Findings
from fer_core.report.words import Words, percent, points


def labels(found: Findings, say: Words) -> str:
    """Which emotion is recognised best and worst, and is the difference beyond chance?"""
    (best, best_share), (worst, worst_share) = found.ranked[0], found.ranked[-1]
    if best == worst:
        return say("labels.one", label=say.emotion(best), share=say.share(best_share))
    errors = _errors_between(best_share, worst_share)
    return say(
        "labels.apart" if errors > LEAST_OF_PAIRS else "labels.alike",
        best=say.emotion(best),
        best_share=say.share(best_share),
        worst=say.emotion(worst),
        worst_share=say.share(worst_share),
        gap=points(best_share.value - worst_share.value),
        errors=f"{errors:.1f}",
        f1=f"{found.evaluation.macro_f1:.3f}",
    )


def _errors_between(high: Share, low: Share) -> float:
    """How many standard errors, as they are if both are of one proportion, lie between two shares."""
    pooled = (high.hits + low.hits) / (high.n + low.n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / high.n + 1 / low.n))
    return (high.value - low.value) / error if error else 0.0


def confusion(found: Findings, say: Words) -> str:
    """What is taken for what."""
    wrong = len(found.mistakes)
    if not wrong:
        return say("confusion.none", n=f"{found.evaluation.n:,}")
    totals = found.evaluation.confusion.sum(axis=1)
    kinds = [
        say(
            "confusion.kind",
            true=say.emotion(EMOTIONS[i]),
            predicted=say.emotion(EMOTIONS[j]),
            k=f"{k:,}",
            n=f"{totals[i]:,}",
            share=percent(k / totals[i]),
        )
        for i, j, k in found.confusions[:3]
    ]
    together = sum(k for _, _, k in found.confusions[:3])
    return say(
        "confusion.told",
        wrong=f"{wrong:,}",
        n=f"{found.evaluation.n:,}",
        kinds=say.listed(kinds),
        count=len(kinds),
        share=percent(together / wrong),
    )


def calibration(found: Findings, say: Words) -> str:
    """Is it as sure as it is right, and what would a temperature change?"""
    result = found.reliability
    sure = sum(n * told for n, told in zip(result.n, result.confidence, strict=True)) / result.faces
    right = sum(result.hits) / result.faces
    kind = "over" if sure - right > 0.01 else "under" if right - sure > 0.01 else "even"
    texts = [
        say(f"calibration.{kind}", sure=percent(sure), right=percent(right), gap=points(sure - right)),
        say("calibration.ece", ece=points(result.ece)),
    ]
    if found.calibration is not None:
        fitted = found.calibration
        texts.append(
            say(
                "calibration.temperature" if found.calibrated_here else "calibration.elsewhere",
                data=fitted.data,
                split=say.split(fitted.split),
                temperature=f"{fitted.temperature:.2f}",
                fitted=f"{fitted.fitted_on:,}",
                others=f"{fitted.before.faces:,}",
                before=points(fitted.before.ece),
                after=points(fitted.after.ece),
            )
        )
    return say.sentences(texts)


def leaks(found: Findings, say: Words) -> str:
    """What do faces that it has seen in training do to the score?"""
    whole, unseen = found.evaluation.accuracy, found.evaluation.unseen
    if unseen is None:
        return say("leaks.training_faces" if found.split == "train" else "leaks.unknown")
    seen = Share(whole.hits - unseen.hits, whole.n - unseen.n)
    if not seen.n:
        return say("leaks.none", n=f"{whole.n:,}")
    change = whole.value - unseen.value
    key = "leaks.flatter" if change > 0 else "leaks.no_flatter"
    return say.sentences(
        [
            say("leaks.seen", k=f"{seen.n:,}", n=f"{whole.n:,}", share=percent(seen.n / whole.n)),
            say("leaks.scores", seen=say.share(seen), unseen=say.share(unseen)) if unseen.n else "",
            say(key, change=f"{abs(100 * change):.2f}") if unseen.n else "",
        ]
    )


def mistakes(found: Findings, say: Words) -> str:
    """How sure was it where it was wrong?"""
    wrong = found.mistakes
    if not len(wrong):
        return say("confusion.none", n=f"{found.evaluation.n:,}")
    told = found.probabilities.max(axis=1)
    sure, sure_wrong = int((told >= SURE).sum()), int((told[wrong] >= SURE).sum())
    texts = [
        say("mistakes.sure", wrong=f"{len(wrong):,}", sure=f"{sure_wrong:,}", limit=percent(SURE, 0)),
        say("mistakes.share", all=f"{sure:,}", share=say.share(Share(sure - sure_wrong, sure))) if sure else "",
    ]
    shown = wrong[:FACES]
    pairs = Counter((int(found.faces.emotions[row]), int(found.probabilities[row].argmax())) for row in shown)
    (true, predicted), k = min(pairs.items(), key=lambda each: (-each[1], each[0]))
    if k > 1:
        texts.append(
            say(
                "mistakes.often",
                shown=len(shown),
                k=k,
                true=say.emotion(EMOTIONS[true]),
                predicted=say.emotion(EMOTIONS[predicted]),
            )
        )
    return say.sentences(texts)
