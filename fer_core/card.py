"""Model cards (Mitchell et al. 2019, arXiv:1810.03993) in the format of the Hugging Face Hub: what a checkpoint is,
what it was trained on, how well it does on whom, and what it is not for.

Every number is computed, or read from the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_core.errors import RunError
from fer_core.evaluation import Evaluation, Share
from fer_core.labels import EMOTIONS
from fer_core.models import count_parameters
from fer_core.report import sentences_run, sentences_scores
from fer_core.report.collect import Findings
from fer_core.report.commands import Commands
from fer_core.report.words import Words
from fer_core.runs import Checkpoint, Run
from fer_core.tta import TITLES

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=False,  # Markdown
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_FER2013_TERMS = (
    "FER2013 may be used for research and may not be redistributed; none of it is in this repository. Whether weights "
    "learned from it may be used commercially is for you to find out."
)


@dataclass(frozen=True, eq=False)
class Scored:
    """How a checkpoint did. `findings` is None where only the run's own record is known: its faces were not at hand.
    `averaged` is how it did on the same faces with test-time augmentation, None where that was not asked for."""

    run: Run
    checkpoint: Checkpoint
    evaluation: Evaluation
    findings: Findings | None = None
    averaged: Evaluation | None = None

    @property
    def accuracies(self) -> dict[str, Share]:
        """What was right of all faces and of those not seen in training, by how that was counted."""
        shares = {}
        for result in (self.evaluation, self.averaged):
            if result is not None:
                views = f", {TITLES[result.tta]}" if TITLES[result.tta] else ""
                shares[f"Accuracy{views}"] = result.accuracy
                if result.unseen is not None and result.unseen.n < result.n:
                    shares[f"Accuracy without faces seen in training{views}"] = result.unseen
        return shares


def _taught_lines(run: Run) -> list[str]:
    """What else than the labels of all training faces a network learned from, a sentence each."""
    config, lines = run.config, []
    if config.start_from:
        lines.append(f"The training began with the weights of `{config.start_from}`.")
    rest = f", the other {1 - config.soft_weight:.0%} its label" if config.soft_weight < 1 else ""
    if config.soft_labels:
        lines.append(
            f"It learned from other networks: {config.soft_weight:.0%} of each face's target is what they say of it "
            f"(`{Path(config.soft_labels).name}`, written by `python -m fer_core soften`; not part of this run){rest}."
        )
    elif config.teachers:
        lines.append(
            f"It learned from other networks: {config.soft_weight:.0%} of each face's target is what "
            f"{len(config.teachers.split())} of them say of it as it is shown{rest}."
        )
    if config.drop_duplicates:
        table = run.metrics()
        n = table.loc[table["split"] == "train", "n"]
        count = f"{int(n.iloc[0]):,} training faces: " if len(n) else ""
        lines.append(f"It was shown {count}each face once, none with conflicting labels or of a single gray level.")
    return lines


def recorded_evaluation(run: Run, epoch: int) -> Evaluation:
    """How the run itself scored an epoch on its validation faces. Raises RunError where it did not."""
    table = run.metrics()
    table = table[(table["split"] == "validation") & (table["epoch"] == epoch)]
    if table.empty or not isinstance(table.iloc[-1]["confusion"], list):
        raise RunError(
            f"{run.path / 'metrics.jsonl'} holds no score of epoch {epoch}, and a card needs scores: give --data "
            "labelled faces."
        )
    line = table.iloc[-1]
    name = str(run.info.get("data", {}).get("name", "unknown faces"))
    return Evaluation(run.name, epoch, name, "validation", np.array(line["confusion"]), float(line["loss"]))


def model_card(scored: Scored, commands: Commands, license_id: str = "mit") -> str:
    """The card as Markdown below YAML metadata.

    license_id: of the weights, an identifier as the Hub has them. The same run and scores give the same text.
    """
    run, config, result = scored.run, scored.run.config, scored.evaluation
    data = run.info.get("data", {})
    say, found = Words("en"), scored.findings
    (worst, worst_share) = min(
        ((label, share) for label, share in result.by_label.items() if share.n), key=lambda each: each[1].value
    )
    preprocess = scored.checkpoint.preprocess
    return _TEMPLATES.get_template("card.md.j2").render(
        front_matter=yaml.safe_dump(metadata(scored, license_id), sort_keys=False, allow_unicode=True).rstrip(),
        run=run,
        run_literal=json.dumps(run.name, ensure_ascii=False),
        config=config,
        machine=run.info.get("machine", {}),
        epoch=scored.checkpoint.epoch,
        emotions=EMOTIONS,
        is_demo=bool(data.get("is_demo")),
        data_line=_data_line(data),
        curation=sentences_run.curation(run, say),
        training_line=(
            f"{config.epochs} epochs in batches of {config.batch_size} with {config.optimizer}, learning rate "
            f"{config.lr:g}, seed {config.seed}; {count_parameters(scored.checkpoint.model):,} parameters."
        ),
        taught_lines=_taught_lines(run),
        train_command=commands.train(found is None or found.own_data),
        scores_line=(
            f"On the {result.split} split of {result.data}, n = {result.n:,}"
            + ("." if found else ", as the run itself recorded them: the faces were not at hand when this was written.")
        ),
        rows=_rows(scored),
        notes=[
            note
            for note in (
                [
                    sentences_run.protocol(found, say),
                    sentences_scores.leaks(found, say),
                    sentences_scores.calibration(found, say),
                ]
                if found
                else []
            )
            if note
        ],
        evaluate_commands=[commands.evaluate(each.tta) for each in (result, scored.averaged) if each],
        matrix=[(name, row) for name, row in zip(EMOTIONS, result.confusion.tolist(), strict=True)],
        wrong=f"{result.n - result.accuracy.hits:,} of {result.n:,}",
        worst_line=f"It recognises {worst} worst: {worst_share}.",
        sure_line=(
            "are not chances of what a person feels; how far they fit how often it is right stands above."
            if found
            else "were not compared with how often it is right: do not read them as chances."
        ),
        preprocess_line=(
            f"Faces are normalised with mean {preprocess.mean:g} and standard deviation {preprocess.std:g} of gray "
            f"levels on a 0 to 1 scale{', after histogram equalisation' if preprocess.equalize else ''}."
        ),
        license=license_id,
        data_terms=_FER2013_TERMS if "fer2013" in str(data.get("name", "")).lower() else _terms(data),
    )


def metadata(scored: Scored, license_id: str = "mit") -> dict[str, Any]:
    """The front matter: plain values, with the scores as a `model-index`."""
    result, run = scored.evaluation, scored.run
    data = run.info.get("data", {})
    metrics = [_metric("accuracy", name, share) for name, share in scored.accuracies.items()]
    metrics.append({"type": "f1", "name": "Macro F1", "value": round(result.macro_f1, 4)})
    metrics += [_metric("recall", f"Recall of {label}", share) for label, share in result.by_label.items() if share.n]
    if scored.findings is not None:
        error = scored.findings.reliability.ece
        metrics.append({"type": "ece", "name": "Expected calibration error", "value": round(error, 4)})
    name = "".join(sign if sign.isalnum() else "-" for sign in result.data.lower()).strip("-") or "faces"
    entry = {
        "task": {"type": "image-classification", "name": "Facial expression recognition"},
        "dataset": {"type": name, "name": result.data, "split": result.split},
        "metrics": metrics,
    }
    return {
        "license": license_id,
        "library_name": "fer_core",
        "pipeline_tag": "image-classification",
        "tags": [
            "facial-expression-recognition",
            "emotion-recognition",
            *(["synthetic-faces"] if data.get("is_demo") else []),
        ],
        "metrics": ["accuracy", "f1", "recall"],
        "model-index": [{"name": run.name, "results": [entry]}],
    }


def _metric(kind: str, name: str, share: Share) -> dict[str, Any]:
    """A share with its interval and n in its name, since the Hub has no place of their own for these."""
    low, high = share.interval
    told = f"{name} (95 % interval {low:.3f} to {high:.3f}, n = {share.n:,})"
    return {"type": kind, "name": told, "value": round(share.value, 4)}


def _rows(scored: Scored) -> list[tuple[str, str, str, str]]:
    result = scored.evaluation
    rows = [_row(name, share) for name, share in scored.accuracies.items()]
    rows += [_row(f"{label} (recall)", share) for label, share in result.by_label.items()]
    rows.append(("Macro F1", f"{result.macro_f1:.3f}", "", f"{result.n:,}"))
    if scored.findings is not None:
        rows.append(("Expected calibration error", f"{scored.findings.reliability.ece:.1%}", "", f"{result.n:,}"))
    return rows


def _row(name: str, share: Share) -> tuple[str, str, str, str]:
    low, high = share.interval
    told = (f"{share.value:.1%}", f"{low:.1%} to {high:.1%}") if share.n else ("-", "-")
    return (name, *told, f"{share.n:,}")


def _data_line(data: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{n:,} {split}" for split, n in data.get("counts", {}).items())
    drawn = f" Fingerprint {data['fingerprint']}." if data.get("fingerprint") else ""
    return f"{data.get('name', 'Not named in its run.json')}{f': {counts} faces' if counts else ''}.{drawn}"


def _terms(data: Mapping[str, Any]) -> str:
    name = data.get("name", "the training data")
    return (
        "The demo faces are rendered and are CC0."
        if data.get("is_demo")
        else f"The terms of {name} may bind what the weights may be used for."
    )
