"""Model cards: the metadata as the Hub's own parser reads it, the numbers as they are counted by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from fer_core.__main__ import main
from fer_core.card import Scored, metadata, model_card, recorded_evaluation
from fer_core.commands import card as card_command
from fer_core.commands import evaluate as evaluate_command
from fer_core.data import FaceDataset
from fer_core.errors import RunError
from fer_core.evaluation import Share
from fer_core.inference import Predictor
from fer_core.labels import EMOTIONS
from fer_core.report.collect import Findings, collect
from fer_core.report.commands import Commands
from fer_core.runs import Run


@pytest.fixture(scope="module")
def found(finished: Run, faces: FaceDataset) -> Findings:
    patch = pytest.MonkeyPatch()
    patch.setenv("FER_CACHE", str(finished.path / "cache"))
    result = collect(finished, 3, faces, only=("calibration",))
    patch.undo()
    return result


def card_of(found: Findings, run: Run | None = None) -> str:
    run = run or found.run
    scored = Scored(run, found.checkpoint, found.evaluation, replace(found, run=run))
    return model_card(scored, Commands(run, 3, "validation", "faces.csv"))


def test_the_hub_reads_the_metadata(found: Findings) -> None:
    data = ModelCard(card_of(found)).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "fer_core", "image-classification")
    assert data.model_name == "run"
    right = int((found.probabilities.argmax(axis=1) == found.faces.emotions).sum())
    results = {result.metric_name.partition(" (")[0]: result for result in data.eval_results}
    assert results["Accuracy"].metric_value == pytest.approx(right / 28, abs=1e-4)
    assert "n = 28" in results["Accuracy"].metric_name
    assert {result.dataset_name for result in data.eval_results} == {"Patterns"}
    assert {result.dataset_split for result in data.eval_results} == {"validation"}
    assert {result.task_type for result in data.eval_results} == {"image-classification"}
    for i, emotion in enumerate(EMOTIONS):
        mine = found.faces.emotions == i
        share = (found.probabilities.argmax(axis=1)[mine] == i).mean()
        assert results[f"Recall of {emotion}"].metric_value == pytest.approx(share, abs=1e-4)
    assert results["Expected calibration error"].metric_type == "ece"


def test_the_accuracy_over_several_views_stands_beside_the_plain_one(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: FaceDataset, capsys: Any
) -> None:
    """And below the table a command for each, which gives that very number."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    for module in (card_command, evaluate_command):
        monkeypatch.setattr(module, "load_faces", lambda *_: faces)
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["card", "run:3", "--data", "any", "--tta", "flip", "--out", str(tmp_path / "card.md"),
              "--runs", str(finished.path.parent)])  # fmt: skip
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    part = faces.split("validation")
    for tta, name in (("none", "Accuracy"), ("flip", "Accuracy, averaged with mirror images")):
        said = Predictor.load(finished, 3).predict(part.images, tta).probabilities
        share = Share(int((said.argmax(axis=1) == part.emotions).sum()), len(part))
        assert f"\n| {name} | {share.value:.1%} | " in text
        results = ModelCard(text).data.eval_results
        metrics = {result.metric_name.partition(" (")[0]: result.metric_value for result in results}
        assert metrics[name] == pytest.approx(share.value, abs=1e-4)
        (line,) = [
            line
            for line in text.splitlines()
            if " evaluate run:3 " in line and ("--tta flip" in line) == (tta == "flip")
        ]
        assert line.startswith("    python -m fer_core ")
        capsys.readouterr()
        with pytest.raises(SystemExit, match=r"^0$"):
            main([*shlex.split(line)[3:], "--json", "--runs", str(finished.path.parent)])
        printed = json.loads(capsys.readouterr().out)
        assert (printed["tta"], printed["accuracy"]) == (tta, pytest.approx(share.value))


def test_the_hub_accepts_what_it_reads(found: Findings) -> None:
    """Read and written again, the metadata is the same: no field was lost on the way."""
    card = ModelCard(card_of(found))
    again = ModelCard(str(card)).data.to_dict()
    scored = Scored(found.run, found.checkpoint, found.evaluation, found)
    assert again == json.loads(json.dumps(metadata(scored)))


def test_the_text_has_what_a_card_must(found: Findings) -> None:
    text = ModelCard(card_of(found)).text
    for heading in ("Training data", "Scores", "Intended use", "Limits", "How to use", "Licence"):
        assert f"\n## {heading}\n" in text
    assert "84 train, 28 validation, 14 test faces" in text
    assert text.count(found.run.data_fingerprint) == 2
    assert "None of the 28 faces stands in the training split too" in text
    assert "expected calibration error" in text
    for name, row in zip(EMOTIONS, found.evaluation.confusion.tolist(), strict=True):
        assert f"| {name} | {' | '.join(map(str, row))} |" in text
    assert "python train.py custom.toml --data faces.csv --seed 0" in text
    assert "Rendered" not in text
    assert "AI Act" in text


def test_the_code_in_it_runs(found: Findings, finished: Run, monkeypatch: Any) -> None:
    """As it stands in the card, on faces, from the folder that holds the run."""
    code = card_of(found).partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(finished.path.parent)
    names: dict[str, Any] = {"faces": np.array(found.faces.images)}
    exec(code, names)
    np.testing.assert_allclose(names["prediction"].probabilities, found.probabilities, atol=2e-3)  # kept as float16


def test_a_run_of_other_data_is_trained_on_that(found: Findings) -> None:
    stranger = replace(found, data=replace(found.data, images=255 - found.data.images, name="Others"))
    text = card_of(stranger)
    assert "\nPatterns: 84 train" in text
    assert "python train.py custom.toml --data PATH --seed 0" in text
    assert "python -m fer_core evaluate run:3 --data faces.csv" in text


def test_curation_is_named(found: Findings) -> None:
    run = Run(found.run.path)
    vars(run)["info"] = {**found.run.info, "curation": {"exclude": {"file": "clean.csv", "sha256": "01ab", "n": 1234}}}
    text = card_of(found, run)
    assert "Cleaned before training:\n\n- faces left out: 1,234 (clean.csv, SHA-256 01ab...)\n" in text
    assert "Cleaned before training" not in card_of(found)


def test_what_else_it_learned_from_is_named(found: Findings) -> None:
    def told(**settings: Any) -> str:
        run = Run(found.run.path)
        vars(run)["config"] = replace(found.run.config, **settings)
        return card_of(found, run)

    n = int(found.run.metrics().query("split == 'train'")["n"].iloc[0])
    assert f"It was shown {n:,} training faces: each face once" in told(drop_duplicates=True)
    soft = told(soft_labels="deep/down/soft.npz", soft_weight=0.9)
    assert "90% of each face's target is what they say of it (`soft.npz`" in soft
    assert "the other 10% its label." in soft
    taught = told(teachers="one:1 two:2", soft_weight=1.0)
    assert "100% of each face's target is what 2 of them say of it as it is shown." in taught
    assert "The training began with the weights of `best:80`." in told(start_from="best:80")
    assert all(words not in card_of(found) for words in ("learned from other", "was shown", "began with"))


def test_demo_faces_are_named(found: Findings) -> None:
    run = Run(found.run.path)
    vars(run)["info"] = {**found.run.info, "data": {**found.run.info["data"], "is_demo": True}}
    text = card_of(found, run)
    assert "Trained on rendered demo faces" in text
    assert "synthetic-faces" in ModelCard(text).data.tags


def test_faces_seen_in_training_have_a_line_of_their_own(found: Findings) -> None:
    seen = np.arange(28) < 4
    text = card_of(replace(found, seen=seen))
    right = (found.probabilities.argmax(axis=1) == found.faces.emotions)[4:]
    assert f"| Accuracy without faces seen in training | {right.mean():.1%} |" in text
    names = [result.metric_name for result in ModelCard(text).data.eval_results]
    assert any(name.startswith("Accuracy without faces seen in training") and "n = 24" in name for name in names)


def test_odd_names_stay_valid_yaml(found: Findings) -> None:
    name = "a: #b 'c' \"d\""
    faces = replace(found.faces, name=name)
    scored = replace(found, faces=faces)
    text = model_card(
        Scored(found.run, found.checkpoint, scored.evaluation, scored), Commands(found.run, 3, "validation", "x")
    )
    assert {result.dataset_name for result in ModelCard(text).data.eval_results} == {name}


def test_recorded_scores_are_the_runs_own(finished: Run) -> None:
    line = next(
        r for r in finished.records() if r["epoch"] == 2 and r["split"] == "validation" and r["kind"] == "epoch"
    )
    result = recorded_evaluation(finished, 2)
    assert result.accuracy.value == pytest.approx(line["accuracy"])
    assert result.loss == line["loss"]
    assert result.unseen is None


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def command(finished: Run, tmp_path: Path, monkeypatch: Any) -> Callable[..., str]:
    """Runs `card` in an empty folder; the error that it ends with, "" for none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_DATA", raising=False)

    def run(*arguments: object, runs: Path = finished.path.parent) -> str:
        try:
            main(["card", *(str(argument) for argument in arguments), "--runs", str(runs)])
        except SystemExit as end:
            return "" if end.code in (0, None) else str(end.code)
        return ""

    return run


def test_a_card_without_the_faces_tells_what_the_run_recorded(
    command: Callable[..., str], finished: Run, tmp_path: Path, capsys: Any
) -> None:
    assert command("run", "--epoch", 2, "--out", "README.md") == ""
    assert "Wrote README.md: run, epoch 2" in capsys.readouterr().out
    text = (tmp_path / "README.md").read_text()
    assert "as the run itself recorded them" in text
    assert "were not compared" in text
    line = recorded_evaluation(finished, 2).accuracy
    assert f"| Accuracy | {line.value:.1%} |" in text
    assert "--data PATH" in text
    assert ModelCard(text).data.eval_results


def test_recorded_scores_are_of_one_view(command: Callable[..., str], tmp_path: Path) -> None:
    """Without the faces no network is run, so --tta would change nothing."""
    told = "The scores that run recorded are without test-time augmentation; for --tta flip give --data the faces"
    assert told in command("run:2", "--tta", "flip", "--out", "card.md")
    assert not list(tmp_path.iterdir())
    assert command("run:2", "--tta", "none", "--out", "card.md") == ""


def test_a_card_is_printed_without_out(command: Callable[..., str], tmp_path: Path, capsys: Any) -> None:
    assert command("run:2") == ""
    assert capsys.readouterr().out.startswith("---\nlicense: mit\n")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_sentence(command: Callable[..., str], copied: Run, tmp_path: Path) -> None:
    there = tmp_path / "README.md"
    there.write_text("mine")
    assert "is there already" in command("run", "--out", there)
    assert there.read_text() == "mine"
    assert "There is no run 'nobody'" in command("nobody")
    assert "kept no checkpoint of epoch 9" in command("run:9")
    assert "missing.csv does not exist" in command("run", "--data", "missing.csv")
    (copied.path / "metrics.jsonl").unlink()
    assert "metrics.jsonl holds no score of epoch 3" in command("run:3", runs=copied.path.parent)
    with pytest.raises(RunError, match="give --data labelled faces"):
        recorded_evaluation(copied, 3)
