"""What a network looks at and responds to, in words. As in `sentences_run`, the numbers alone choose the sentence."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from fer_core.explain.regions import REGIONS
from fer_core.labels import EMOTIONS
from fer_core.report.collect import LEAST_OF_PAIRS, Findings, region_areas, region_shares, wavelengths
from fer_core.report.words import NONE, Words, percent, significant

_MORE_THAN_EVEN = 1.05  # times an even share: from where on a region is named


def saliency(found: Findings, say: Words) -> str:
    """On which parts of these faces does the saliency lie, beside what they would get if it were spread evenly?"""
    assert found.saliency is not None
    shares, areas = region_shares(found.saliency.maps).mean(axis=0), region_areas()
    density = shares / areas
    order = [int(i) for i in np.argsort(-density) if density[i] > _MORE_THAN_EVEN]
    parts = [
        say("saliency.part", region=say.region(REGIONS[i]), share=percent(shares[i], 0), times=f"{density[i]:.1f}")
        for i in order[:3]
    ]
    if not parts:
        return say("saliency.even")
    return say("saliency.told", n=len(found.saliency), parts=say.listed(parts))


def averages(found: Findings, say: Words) -> str:
    """Which region do most emotions rest on, and where do they differ most?"""
    assert found.averages is not None
    means = found.averages
    shares = region_shares(means.maps)
    density = shares / region_areas()
    tops = Counter(density.argmax(axis=1).tolist())
    top, k = min(tops.items(), key=lambda each: (-each[1], each[0]))
    texts = [say("averages.top", k=k, n=len(means.names), region=say.region(REGIONS[top]))]
    if len(means.names) > 1:
        differs = int(np.ptp(shares, axis=0).argmax())
        most, least = (means.names[int(at)] for at in (shares[:, differs].argmax(), shares[:, differs].argmin()))
        texts.append(
            say(
                "averages.differs",
                region=say.region(REGIONS[differs]),
                most=say.emotion(most),
                most_share=percent(shares[:, differs].max()),
                least=say.emotion(least),
                least_share=percent(shares[:, differs].min()),
            )
        )
    return say.sentences(texts)


def regions(found: Findings, say: Words) -> str:
    """What makes up the score of the best and of the worst label?"""
    study = found.regions
    if study is None:
        return say("regions.none")
    texts = []
    for name in sorted(study.emotions, key=lambda each: [label for label, _ in found.ranked].index(each)):
        i = study.emotions.index(name)
        sure = [int(j) for j in np.argsort(-study.mean[i]) if study.sure[i, j]]
        parts = [
            say(
                "regions.part",
                region=say.region(REGIONS[j]),
                weight=f"{study.mean[i, j]:+.2f}",
                half=f"{study.half[i, j]:.2f}",
            )
            for j in sure[:3]
        ]
        key = "regions.told" if parts else "regions.unsure"
        total = f"{study.mean[i].sum():+.2f}"
        texts.append(say(key, label=say.emotion(name), total=total, parts=say.listed(parts or [""]), n=int(study.n[i])))
    return say.sentences(texts)


def filters(found: Findings, say: Words, layer: str) -> str:
    """Do the filters of a layer answer, and to how coarse a pattern?"""
    result = found.filters[layer]
    before, after = result.values[0], result.values[-1]
    silent = int((after <= 0).sum())
    texts = [
        say(
            "filters.told",
            n=len(after),
            layer=layer,
            before=significant(float(np.median(before))),
            after=significant(float(np.median(after))),
            length=f"{np.median(wavelengths(result.images)):.1f}",
        ),
        say("filters.silent", k=silent) if silent else "",
    ]
    return say.sentences(texts)


def conv1(found: Findings, say: Words) -> str:
    """Which emotions excite the first layer most, and is the order beyond chance?"""
    result = found.conv1
    assert result is not None
    order = result.order
    named = [
        say(
            "conv1.value",
            label=say.emotion(EMOTIONS[i]),
            value=significant(float(result.activations[i])),
            error=f"{result.errors[i]:.1g}" if math.isfinite(result.errors[i]) else NONE,
        )
        for i in order
    ]
    if len(order) < 2:
        return say("conv1.one", layer=result.layer, first=named[0])
    first, last = order[0], order[-1]
    lowest = float(result.activations[last])
    difference = float(result.activations[first]) - lowest
    error = math.hypot(result.errors[first], result.errors[last])
    key = "conv1.apart" if difference > LEAST_OF_PAIRS * error else "conv1.alike"
    return say(
        key,
        layer=result.layer,
        first=say.listed(named[: min(3, len(order) - 1)]),
        last=named[-1],
        share=percent(difference / lowest, 0) if lowest else NONE,
        errors=f"{difference / error:.1f}" if error and math.isfinite(error) else NONE,
    )
