"""The figures on how a run came about: its data, its network, its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd
from markupsafe import Markup

from fer_core.errors import ConfigError
from fer_core.report import sentences_run, svg
from fer_core.report.figure import Figure, Teller, table
from fer_core.report.words import NONE, TIMES, percent, significant
from fer_core.structure import structure as structure_of


def data(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    counts = found.data.counts()
    counts = counts[[name for name in counts if counts[name].sum()]]
    names = [say.emotion(str(name)) for name in counts]
    rows = [
        [say.split(str(split)), *(f"{int(n):,}" for n in row), f"{int(row.sum()):,}"]
        for split, row in counts.iterrows()
    ]
    yield Figure(
        "table",
        table(["", *names, say("data.all")], rows),
        say("data.caption", data=found.data.name, form=found.data.summary.form or NONE),
        sentences_run.data(found, say),
        teller.commands.show_data(),
    )
    yield Figure(
        "table",
        table([say("protocol.setting"), say("protocol.value")], _settings(teller), numbers=False),
        say(
            "protocol.caption" if found.own_data else "protocol.caption_other",
            run=found.run.name,
            trained=sentences_run.trained_on(found.run, say),
        ),
        sentences_run.protocol(found, say),
        teller.commands.train(found.own_data),
    )


def _settings(teller: Teller) -> list[list[str]]:
    """How the run was trained, as its run.json tells."""
    found, say = teller.found, teller.say
    config, machine = found.run.config, found.run.info.get("machine", {})
    schedule = {
        "constant": say("protocol.constant"),
        "step": say("protocol.step", size=config.step_size, gamma=config.gamma),
        "cosine": say("protocol.cosine"),
        "linear": say("protocol.linear"),
    }[config.schedule]
    if config.warmup:
        schedule = say("protocol.warmup", share=percent(config.warmup, 0), schedule=schedule)
    learned = [
        *([say("protocol.smoothing", value=f"{config.label_smoothing:g}")] if config.label_smoothing else []),
        *([say("protocol.soft", share=percent(config.soft_weight, 0), source=source)]
          if (source := config.soft_labels or config.teachers) else []),
    ]  # fmt: skip
    as_they_are, as_shares = (
        ("rotation", "crop", "brightness"),
        ("zoom", "sharp", "contrast", "erase", "mixup", "cutmix"),
    )
    augmented = [
        say(f"protocol.{name}", value=percent(value, 0) if name in as_shares else f"{value:g}")
        for name in (*as_they_are, "flip", *as_shares)
        if (value := getattr(config, name))
    ]
    versions = [f"{name} {machine[name]}" for name in ("fer_core", "python", "torch", "numpy") if name in machine]
    cleaned = [
        *sentences_run.curation(found.run, say),
        *([say("protocol.duplicates")] if config.drop_duplicates else []),
    ]
    rows = {
        "recipe": f"{config.recipe} ({config.model})",
        "beginning": config.start_from,
        "optimizer": say(
            "protocol.optimizer_value",
            optimizer=config.optimizer,
            lr=f"{config.lr:g}",
            decay=f"{config.weight_decay:g}",
            schedule=schedule,
        ),
        "length": say("protocol.length_value", epochs=config.epochs, batch=config.batch_size, seed=config.seed),
        "average": say("protocol.average_value", decay=f"{config.average:g}") if config.average else "",
        "target": say.listed(learned) if learned else "",
        "input": say("protocol.equalize") if config.equalize else "",
        "augmentation": say.listed(augmented) if augmented else say("protocol.no_augmentation"),
        "curation": "; ".join(cleaned),
        "machine": str(machine.get("device", "")),
        "versions": ", ".join([*versions, *([f"commit {machine['commit']}"] if machine.get("commit") else [])]),
        "started": str(found.run.info.get("started", "")),
    }
    return [[say(f"protocol.{key}"), value] for key, value in rows.items() if value]


def structure(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    try:
        network = structure_of(found.checkpoint.model)
    except ConfigError as error:
        yield Figure("table", Markup("<p>{}</p>").format(say("structure.none", reason=error)), "", "", "")
        return
    rows = [
        [
            step.name,
            step.kind,
            TIMES.join(map(str, step.shape)),
            f"{step.parameters:,}" if step.parameters else "",
            f"{step.macs:,}" if step.macs else "",
            TIMES.join(map(str, step.field)),
        ]
        for step in network.steps
    ]
    rows.append([say("data.all"), "", "", f"{network.parameters:,}", f"{network.macs:,}", ""])
    convolutions = [step for step in network.steps if step.layer]
    last = convolutions[-1]
    heads = ["name", "type", "shape", "parameters", "macs", "field"]
    yield Figure(
        "table",
        table([say(f"structure.{head}") for head in heads], rows, left=3, total=True),
        say("structure.caption", model=network.model),
        sentences_run.structure(
            found, say, {step.name: step.parameters for step in network.steps}, last.field, last.layer
        ),
        teller.again("structure"),
    )


def training(teller: Teller) -> Iterable[Figure]:
    found, say = teller.found, teller.say
    if found.curves.empty:
        yield Figure("table", Markup("<p>{}</p>").format(say("training.none")), "", "", "")
        return
    trained = sentences_run.trained_on(found.run, say)
    for measure, told in (("accuracy", sentences_run.accuracy_curve), ("loss", sentences_run.loss_curve)):
        yield Figure(
            "figure",
            _curves(teller, measure),
            say(f"training.{measure}_caption", run=found.run.name, data=trained),
            told(found, say),
            teller.again("training"),
        )
    kept = [epoch for epoch in found.run.epochs() if epoch in found.curves.index]
    yield Figure(
        "table",
        _epochs(teller, kept),
        say("training.kept_caption", run=found.run.name, data=trained),
        sentences_run.kept_epochs(found, say),
        teller.again("training"),
    )


def _curves(teller: Teller, measure: str) -> Markup:
    curves, say = teller.found.curves, teller.say
    colors = {"train": svg.SECOND, "validation": svg.ACCENT}
    lines = []
    for split, color in colors.items():
        if (measure, split) in curves:
            values = curves[measure, split].dropna()
            name = say.split(split)
            lines.append(svg.Line(name, color, values.index.to_numpy(), values.to_numpy(float), split == "train"))
    form = (lambda value: f"{100 * value:.0f}%") if measure == "accuracy" else (lambda value: f"{value:.3g}")
    mark = (float(teller.found.epoch), say("training.mark", epoch=teller.found.epoch))
    return svg.curves(lines, say("training.epoch"), say(f"training.{measure}"), form, mark)


def _epochs(teller: Teller, epochs: Sequence[int]) -> Markup:
    """A row an epoch: learning rate, loss and accuracy on both sets."""
    found, say = teller.found, teller.say

    def cell(epoch: int, measure: str, split: str, form: Callable[[float], str]) -> str:
        there = (measure, split) in found.curves and not pd.isna(found.curves.loc[epoch, (measure, split)])
        return form(float(found.curves.loc[epoch, (measure, split)])) if there else NONE

    rows = [
        [
            str(epoch),
            cell(epoch, "lr", "train", significant),
            cell(epoch, "loss", "train", lambda value: f"{value:.3f}"),
            cell(epoch, "accuracy", "train", percent),
            cell(epoch, "loss", "validation", lambda value: f"{value:.3f}"),
            cell(epoch, "accuracy", "validation", percent),
            say.between(found.recorded(epoch).interval) if found.recorded(epoch).n else NONE,
        ]
        for epoch in epochs
    ]
    heads = ["epoch", "lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "interval"]
    chosen = [i for i, epoch in enumerate(epochs) if epoch == found.epoch]
    return table([say(f"training.{head}") for head in heads], rows, strong=chosen)


def every_epoch(teller: Teller) -> Figure | None:
    """The appendix: the table over all epochs."""
    found, say = teller.found, teller.say
    if "training" not in found.parts or found.curves.empty:
        return None
    return Figure(
        "table",
        _epochs(teller, list(found.curves.index)),
        say("training.all_caption", run=found.run.name),
        "",
        teller.again("training"),
    )
