"""The figures on what a network looks at, and what its filters respond to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from fer_core.explain.features import kernels
from fer_core.explain.pictures import part_of, scale_of
from fer_core.explain.regions import REGIONS
from fer_core.labels import COLORS, EMOTIONS
from fer_core.report import pictures, sentences_maps, svg
from fer_core.report.collect import AVERAGED, region_areas, region_shares
from fer_core.report.figure import Figure, Teller, table
from fer_core.report.words import percent, significant


def saliency(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    result, means = found.saliency, found.averages
    assert result is not None
    assert means is not None
    if teller.show_faces:
        alts = [str(each) for each in found.faces.ids[: len(result)]]
        pairs = pictures.saliency_pairs(found.faces.images[: len(result)], result, alts)
        told = zip(pairs, result.probabilities, found.faces.emotions, strict=False)
        cells = [
            (
                pair,
                say(
                    "mistakes.taken",
                    predicted=say.emotion(EMOTIONS[int(said.argmax())]),
                    share=percent(float(said.max()), 0),
                ),
                say("mistakes.labelled", true=say.emotion(EMOTIONS[int(true)])),
            )
            for pair, said, true in told
        ]
        body = pictures.tiles(cells, 4)
    else:
        body = _shares_table(teller, region_shares(result.maps).mean(axis=0))
    yield Figure(
        "figure" if teller.show_faces else "table",
        body,
        say("saliency.caption" if teller.show_faces else "saliency.caption_hidden", protocol=teller.protocol),
        sentences_maps.saliency(found, say),
        teller.again("saliency"),
    )
    names = [say.emotion(name) for name in means.names]
    shares = region_shares(means.maps)
    density = shares / region_areas()
    if teller.show_faces:
        scale, unit = scale_of(part_of(means.maps, "absolute")), say("averages.unit")
        drawn = pictures.over_faces(means.maps, means.faces, pictures.SALIENCY, scale, names)
    else:
        scale, unit = float(density.max()) or 1.0, say("averages.unit_hidden")
        drawn = [
            pictures.painted(row, pictures.SALIENCY, scale, name) for row, name in zip(density, names, strict=True)
        ]
    counts = [say("averages.faces", n=f"{int(asked):,}") for asked, _ in means.counts]
    body = pictures.tiles(list(zip(drawn, names, counts, strict=True)), 7)
    yield Figure(
        "figure",
        body + pictures.bar(pictures.SALIENCY, scale, unit),
        say(
            "averages.caption" if teller.show_faces else "averages.caption_hidden",
            most=AVERAGED,
            protocol=teller.protocol,
        ),
        sentences_maps.averages(found, say),
        teller.again("saliency"),
    )


def _shares_table(teller: Teller, shares: np.ndarray) -> Markup:
    """The share of the saliency in each region beside the region's share of the picture."""
    say, areas = teller.say, region_areas()
    rows = [
        [say.region(name), percent(share), percent(area), f"{share / area:.2f}"]
        for name, share, area in zip(REGIONS, shares, areas, strict=True)
    ]
    return table([say(f"saliency.{head}") for head in ("region", "share", "area", "times")], rows)


def regions(teller: Teller) -> Iterable[Figure]:
    found, say, study = teller.found, teller.say, teller.found.regions
    if study is None:
        yield Figure("table", Markup("<p>{}</p>").format(say("regions.none")), "", "", "")
        return
    order = [name for name, _ in found.ranked if name in study.emotions]
    scale = scale_of(study.mean)
    body = Markup("")
    for name in order:
        i = study.emotions.index(name)
        rows = [
            svg.Dot(
                say.region(region),
                COLORS[name],
                float(study.mean[i, j]),
                float(study.mean[i, j] - study.half[i, j]),
                float(study.mean[i, j] + study.half[i, j]),
                note=f"{study.mean[i, j]:+.2f} ± {study.half[i, j]:.2f}".replace("-", "\u2212"),
            )
            for j, region in enumerate(REGIONS)
        ]
        low, high = float((study.mean - study.half).min()), float((study.mean + study.half).max())
        air = 0.05 * (high - low)
        ends = (min(low - air, 0.0), high + air)
        chart = svg.dots(rows, say("regions.axis"), significant, ends=ends, zero=True, width=490)
        if teller.show_faces:
            one = slice(i, i + 1)
            (drawn,) = pictures.over_faces(study.maps()[one], study.faces[one], pictures.SIGNED, scale, [name])
        else:
            drawn = pictures.painted(study.mean[i], pictures.SIGNED, scale, say.emotion(name))
        heading = say("regions.heading", label=say.emotion(name), n=int(study.n[i]))
        body += Markup('<div class="beside"><div>{}</div><div><b>{}</b>{}</div></div>').format(drawn, heading, chart)
    yield Figure(
        "figure",
        body + pictures.bar(pictures.SIGNED, scale, say("regions.unit")),
        say("regions.caption", protocol=teller.protocol),
        sentences_maps.regions(found, say),
        teller.again("regions"),
    )


def filters(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    for name, result in found.filters.items():
        body = pictures.filter_sheet(result, 12 if len(result.channels) < 48 else 16, say("filters.alt", layer=name))
        weights = kernels(found.checkpoint.model, name)
        if weights is not None:
            body += Markup('<p class="sub">{}</p>').format(say("filters.kernels"))
            body += pictures.kernel_sheet(weights, 12, say("filters.kernels"))
        yield Figure(
            "figure",
            body,
            say(
                "filters.caption",
                layer=name,
                n=len(result.channels),
                steps=result.ascent.steps,
                run=found.run.name,
                epoch=found.epoch,
            ),
            sentences_maps.filters(found, say, name),
            teller.again("filters"),
        )


def conv1(teller: Teller) -> Iterable[Figure]:
    found, say, result = teller.found, teller.say, teller.found.conv1
    assert result is not None
    names = [say.emotion(name) for name in EMOTIONS]
    rows = [
        svg.Dot(
            names[i],
            COLORS[EMOTIONS[i]],
            float(result.activations[i]),
            float(result.activations[i] - 1.96 * result.errors[i]),
            float(result.activations[i] + 1.96 * result.errors[i]),
            note=f"{significant(float(result.activations[i]))}  n = {result.counts[i]:,}",
        )
        for i in result.order
    ]
    body = svg.dots(rows, say("conv1.axis", layer=result.layer), significant)
    if teller.show_faces:
        columns = pictures.conv1_columns(result, names)
        cells = [(column, names[i], "") for column, i in zip(columns, result.order, strict=True)]
        body = pictures.tiles(cells, 7) + body
    yield Figure(
        "figure",
        body,
        say("conv1.caption" if teller.show_faces else "conv1.caption_hidden", protocol=teller.protocol),
        sentences_maps.conv1(found, say),
        teller.again("conv1"),
    )
