"""The report: sentences against numbers set by hand, the page as a parser and a reader of its pictures see it."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from torch import Tensor, nn

from fer_core.__main__ import app, main
from fer_core.calibration import fit_temperature, halves, reliability, scaled, store_calibration
from fer_core.data import FaceDataset
from fer_core.data.curation import apply_curation
from fer_core.data.splits import split_validation
from fer_core.errors import ConfigError, DataError
from fer_core.evaluation import Share
from fer_core.explain.maximisation import Maximised
from fer_core.labels import EMOTIONS
from fer_core.report import PARTS, chosen_parts, sentences_maps, sentences_run, sentences_scores, svg, words
from fer_core.report import collect as collecting
from fer_core.report.collect import Findings, collect, region_areas, region_shares, wavelengths
from fer_core.report.commands import Commands, data_name
from fer_core.report.page import render
from fer_core.report.words import LANGUAGES, NONE, Words, catalogue
from fer_core.runs import Run
from fer_core.training import run_info

EN, ZH = Words("en"), Words("zh")


@pytest.fixture(scope="module")
def found(finished: Run, faces: FaceDataset) -> Findings:
    """All parts of a report on the 28 validation faces, with short climbs."""
    patch = pytest.MonkeyPatch()
    patch.setattr(collecting, "ASCENT", replace(collecting.ASCENT, steps=3))
    patch.setenv("FER_CACHE", str(finished.path / "cache"))
    told = list[float]()
    result = collect(finished, 2, faces, report=told.append)
    patch.undo()
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    return result


@pytest.fixture(scope="module")
def commands(finished: Run) -> Commands:
    return Commands(finished, 2, "validation", "faces.csv")


@pytest.fixture(scope="module")
def pages(found: Findings, commands: Commands) -> dict[tuple[str, bool], Page]:
    """Each language with and without faces, parsed."""
    return {
        (language, shown): Page.of(render(found, commands, language, shown))
        for language in LANGUAGES
        for shown in (True, False)
    }


@dataclass
class Page(HTMLParser):
    """What a browser would find in a report."""

    text: str = ""
    figures: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    charts: int = 0

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, text: str) -> Page:
        page = cls(text)
        page.feed(text)
        page.close()
        assert not page.open, "elements that were never closed"
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [
            v for name, v in values.items() if name in ("src", "href", "srcset", "data", "action", "poster")
        ]
        if tag == "img":
            self.images.append(values)
        self.charts += tag == "svg"
        into = {"figcaption": self.captions, "code": self.codes, "h2": self.headings, "figure": self.figures}.get(tag)
        if into is not None:
            into.append("")
        if tag == "p" and values.get("class") == "told":
            self.told.append("")
        if tag not in ("meta", "img", "br", "rect", "line", "circle", "polyline"):
            self.open.append(tag if values.get("class") != "told" else "told")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("rect", "line", "circle", "polyline"):
            return
        assert self.open.pop() in (tag, "told"), f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        places = {"figcaption": self.captions, "code": self.codes, "h2": self.headings, "told": self.told}
        for tag, place in places.items():
            if tag in self.open:
                place[-1] += data

    def pictures(self) -> list[tuple[str, np.ndarray]]:
        """(kind, gray levels) of every picture."""
        found = []
        for image in self.images:
            head, _, code = image["src"].partition(",")
            assert head == "data:image/png;base64"
            pixels = Image.open(io.BytesIO(base64.b64decode(code))).convert("L")
            found.append((image["class"], np.asarray(pixels)))
        return found


# -- the page --------------------------------------------------------------------------------------


def test_nothing_is_loaded_from_anywhere(pages: dict[tuple[str, bool], Page]) -> None:
    for page in pages.values():
        assert page.images
        assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
        assert not re.search(r"<(script|link|iframe|object|embed|video|audio|base)\b", page.text)
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page.text)


def test_every_figure_has_caption_command_and_sentence(pages: dict[tuple[str, bool], Page]) -> None:
    for (language, shown), page in pages.items():
        assert len(page.headings) == len(PARTS) + 2  # responsible use, and every epoch
        assert len(page.figures) == len(page.captions) == len(page.told) + 1  # the appendix has no sentence of its own
        assert all(len(told) > 20 for told in page.told)
        assert len(page.codes) == len(page.figures) + 1  # and the whole report's, at the end
        label = {"en": r"^(Figure|Table) (\d+)\. .{10}", "zh": r"^(图|表) (\d+)\. .{10}"}[language]
        numbered = [re.match(label, caption).groups() for caption in page.captions]  # type: ignore[union-attr]
        for kind in {kind for kind, _ in numbered}:
            assert [int(n) for each, n in numbered if each == kind] == list(
                range(1, 1 + sum(k == kind for k, _ in numbered))
            )
        assert all(code.startswith("python ") for code in page.codes)
        assert all(("--no-faces" in code) != shown for code in page.codes if "fer_core report" in code)
        assert all(("--lang zh" in code) == (language == "zh") for code in page.codes if "fer_core report" in code)


def test_commands_are_ones_that_there_are(pages: dict[tuple[str, bool], Page]) -> None:
    """Each command and each of its options exists, and every part that is named is a part."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for code in pages["zh", False].codes:
        if "train.py" in code:
            continue
        name = code.split()[3]
        known = commands[name].commands["show"] if name == "data" else commands[name]
        options = {option for parameter in known.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", code)) <= options, code
        assert set(re.findall(r"--only (\w+)", code)) <= set(PARTS)


def test_no_faces_means_none(pages: dict[tuple[str, bool], Page], found: Findings) -> None:
    """A face would be found by its pixels, whatever it was called: the report with faces shows that."""

    def holding(page: Page) -> int:
        known = {face.tobytes() for face in found.faces.images}
        return sum(
            pixels[::4, ::4][:48, :48].tobytes() in known for _, pixels in page.pictures() if min(pixels.shape) >= 192
        )

    for language in LANGUAGES:
        assert holding(pages[language, True]) == 16 + min(16, len(found.mistakes))
        hidden = pages[language, False]
        assert holding(hidden) == 0
        assert {kind for kind, _ in hidden.pictures()} == {"network", "regions"}
        assert "face" in {kind for kind, _ in pages[language, True].pictures()}
        assert not any(face in hidden.text for face in found.faces.ids)
        for kind, pixels in hidden.pictures():
            if kind == "regions":  # one gray level a region: nothing that varies within one
                small, layout = pixels[::4, ::4], collecting.region_map()
                assert all(len(np.unique(small[layout == i])) == 1 for i in range(7))


def test_filters_do_not_depend_on_the_faces(finished: Run, faces: FaceDataset, monkeypatch: Any) -> None:
    """What --no-faces still shows of the network comes from the network alone."""
    monkeypatch.setattr(collecting, "ASCENT", replace(collecting.ASCENT, steps=2))
    others = replace(faces, images=255 - faces.images)
    one, two = (collect(finished, 2, data, only=("filters",)).filters for data in (faces, others))
    assert list(one) == list(two)
    assert all(np.array_equal(one[name].images, two[name].images) for name in one)


def test_numbers_at_the_top(pages: dict[tuple[str, bool], Page], found: Findings) -> None:
    right = int((found.probabilities.argmax(axis=1) == found.faces.emotions).sum())
    page = pages["en", True].text
    assert f"<b>{100 * right / 28:.1f}%</b>" in page
    assert "<b>28</b>" in page
    assert f"{100 * Share(right, 28).interval[0]:.1f} to {100 * Share(right, 28).interval[1]:.1f}%" in page


def test_same_findings_same_page(found: Findings, commands: Commands, pages: dict[tuple[str, bool], Page]) -> None:
    assert render(found, commands, "en") == pages["en", True].text


def test_texts_are_escaped(found: Findings, finished: Run, tmp_path: Path) -> None:
    """A run may be called anything that a folder may."""
    name = "a<b>&\"'"
    (tmp_path / name).symlink_to(finished.path)
    run = Run(tmp_path / name)
    data = replace(found.faces, name="<script>alert(1)</script>")
    page = render(replace(found, run=run, faces=data, parts=("data", "labels")), Commands(run, 2, "validation", name))
    assert "<script" not in page
    assert "a<b>" not in page
    Page.of(page)


def test_demo_is_said(found: Findings, commands: Commands) -> None:
    plain = render(found, commands)
    rendered = render(replace(found, faces=replace(found.faces, is_demo=True)), commands)
    assert EN("page.demo") in rendered
    assert EN("page.demo") not in plain
    assert rendered.count(EN("data.demo")) == 2


# -- languages -------------------------------------------------------------------------------------


def test_both_languages_have_the_same_keys_and_places() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    assert english.keys() == chinese.keys()

    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for key in english:
        assert places(english[key]) == places(chinese[key]), key
        if key.partition(".")[0] not in ("number", "list"):
            assert re.search(r"[\u4e00-\u9fff]", chinese[key]) or key in (
                "regions.unit",
                "regions.part",
                "mistakes.taken",
                "conv1.value",
            ), key
            assert not re.search(r"[\u4e00-\u9fff]", english[key]), key


def test_every_key_is_used() -> None:
    """A text that no module asks for would never be seen to be wrong."""
    folder = Path(words.__file__).parent
    code = "".join(path.read_text() for path in [*folder.glob("*.py"), *folder.glob("*.j2")])
    built = ("protocol.", "structure.", "training.", "saliency.", "calibration.", "page.")  # from a part and a name
    for key in catalogue("en"):
        section, _, name = key.removesuffix("_caption").partition(".")
        is_named = section in ("emotion", "region", "split") or name == "title"
        assert f'"{key}"' in code or is_named or (key.startswith(built) and f'"{name}"' in code), key
    assert {key for key in catalogue("en") if key.startswith("emotion.")} == {
        f"emotion.{name}" for name in (*EMOTIONS, "Unlabelled")
    }


def test_chinese_page_tells_the_same_numbers(pages: dict[tuple[str, bool], Page]) -> None:
    for english, chinese in zip(pages["en", True].told, pages["zh", True].told, strict=True):
        numbers = [sorted(re.findall(r"\d+\.\d+", text)) for text in (english, chinese)]
        assert set(numbers[0]) == set(numbers[1]), (english, chinese)


def test_lists() -> None:
    assert [EN.listed("a"), EN.listed("ab"), EN.listed("abc")] == ["a", "a and b", "a, b and c"]
    assert ZH.listed("abc") == "a、b和c"
    assert EN.share(Share(1, 2)) == "50.0% (95% interval 9.5 to 90.5%)"


def test_unknown_language_and_part() -> None:
    with pytest.raises(ConfigError, match="no report in 'fr'; the languages are en, zh"):
        Words("fr")
    with pytest.raises(ConfigError, match="no part 'lime'; its parts are data, structure"):
        chosen_parts(["lime"])
    assert chosen_parts(["labels", "data"]) == ("data", "labels")


# -- sentences against numbers set by hand ---------------------------------------------------------


def with_answers(found: Findings, answers: list[tuple[int, int, float]], split: str = "validation") -> Findings:
    """Findings in which face after face has (true emotion, predicted emotion, probability of that)."""
    true, predicted, sure = (np.array(each) for each in zip(*answers, strict=True))
    said = np.repeat((1 - sure)[:, None] / 6, 7, axis=1).astype(np.float32)
    said[np.arange(len(said)), predicted] = sure
    images = np.resize(found.faces.images, (len(true), 48, 48))
    part = FaceDataset(
        images, true.astype(np.int8), np.ones(len(true), np.int8), np.arange(len(true)).astype(str), "Few"
    )
    return Findings(found.run, found.checkpoint, found.data, split, part, said, ("labels",))


def test_labels_in_words(found: Findings) -> None:
    few = with_answers(found, [(3, 3, 0.8)] * 90 + [(3, 0, 0.6)] * 10 + [(2, 4, 0.9)] * 30 + [(2, 2, 0.5)] * 20)
    assert sentences_scores.labels(few, EN).startswith(
        "Happy is recognised best, 90.0% (95% interval 82.6 to 94.5%), Fear worst, 40.0% (95% interval 27.6 to 53.8%). "
        "Between the two lie 50.0 points, 6.5 standard errors: more than chance gives the extremes of seven."
    )
    close = with_answers(found, [(3, 3, 0.8)] * 3 + [(2, 2, 0.9)] * 2 + [(2, 3, 0.9)])
    assert "lie 33.3 points, 1.1 standard errors: no more than chance" in sentences_scores.labels(close, EN)
    assert "lie 0.0 points, 0.0 standard errors: no more" in told_of({"Happy": Share(3, 3), "Sad": Share(2, 2)})
    one = with_answers(found, [(3, 3, 0.8)] * 3 + [(3, 2, 0.8)])
    assert (
        sentences_scores.labels(one, EN)
        == "All of these faces are Happy; of them 75.0% (95% interval 30.1 to 95.4%) are recognised."
    )


def told_of(shares: dict[str, Share]) -> str:
    """The sentence on labels that are recognised so often."""
    ranked = sorted(shares.items(), key=lambda each: -each[1].value)
    stand_in: Any = SimpleNamespace(ranked=ranked, evaluation=SimpleNamespace(macro_f1=0.5))
    return sentences_scores.labels(stand_in, EN)


def test_best_and_worst_are_selected_ones() -> None:
    """Labels that are all as hard are called different in less than 5 % of the cases, though the extremes of seven are
    compared; intervals of 95 % that do not overlap are not enough for that. FER2013's are far from it."""
    counts, generator = (467, 56, 496, 895, 653, 415, 607), np.random.default_rng(0)

    def is_apart(hits: np.ndarray) -> bool:
        shares = [Share(int(k), n) for k, n in zip(hits, counts, strict=True)]
        told = told_of(dict(zip(EMOTIONS, shares, strict=True)))
        return "no more than chance" not in told

    null = [is_apart(generator.binomial(counts, 0.7)) for _ in range(2000)]
    assert 0 < np.mean(null) < 0.05
    recalls = (0.64, 0.57, 0.52, 0.89, 0.6, 0.83, 0.71)
    assert all(is_apart(generator.binomial(counts, recalls)) for _ in range(50))
    high, low = Share(90, 100), Share(74, 100)
    assert high.interval[0] > low.interval[1]
    assert "2.9 standard errors: no more than chance" in told_of({"Happy": high, "Fear": low})


def test_confusion_in_words(found: Findings) -> None:
    answers = (
        [(4, 6, 0.8)] * 4
        + [(2, 4, 0.6)] * 3
        + [(0, 1, 0.6)] * 2
        + [(5, 1, 0.6)]
        + [(3, 3, 0.7)] * 10
        + [(4, 4, 0.7)] * 4
    )
    assert sentences_scores.confusion(with_answers(found, answers), EN) == (
        "Of 24 faces 10 are mistaken. Most often it takes Sad for Neutral (4 of 8, 50.0%), Fear for Sad (3 of 3, "
        "100.0%) and Angry for Disgust (2 of 2, 100.0%); that makes up 90.0% of all mistakes."
    )
    assert (
        sentences_scores.confusion(with_answers(found, [(3, 3, 0.5)] * 5), EN) == "It made no mistake on these 5 faces."
    )


def test_mistakes_in_words(found: Findings) -> None:
    answers = [(4, 3, 0.95)] * 2 + [(0, 3, 0.97)] + [(2, 3, 0.5)] + [(3, 3, 0.99)] * 7
    few = with_answers(found, answers)
    assert few.mistakes.tolist() == [2, 0, 1, 3]
    assert sentences_scores.mistakes(few, EN) == (
        "Of 4 mistakes 3 were made with a probability of at least 90%. Of all 10 faces about which it is so sure, "
        "70.0% (95% interval 39.7 to 89.2%) are right. Among the 4 surest mistakes the most frequent is Sad taken for "
        "Happy (2 times)."
    )


def test_calibration_in_words(found: Findings) -> None:
    """Probability 0.9 on each of ten faces, five of them right: 40 points too sure, in one bin."""
    few = with_answers(found, [(3, 3, 0.9)] * 5 + [(2, 3, 0.9)] * 5)
    assert sentences_scores.calibration(few, EN) == (
        "It is too sure: on average it gives its answer a probability of 90.0% and is right in 50.0% of the cases, "
        "40.0 points less. Bin by bin, its certainty is off by 40.0 points (expected calibration error)."
    )
    assert sentences_scores.calibration(with_answers(found, [(3, 3, 0.6)] * 5), EN).startswith("It is not sure enough")
    assert sentences_scores.calibration(with_answers(found, [(3, 3, 0.5)] * 5 + [(2, 3, 0.5)] * 5), EN).startswith(
        "On the whole"
    )


def test_calibration_names_its_own_faces(found: Findings, copied: Run, commands: Commands) -> None:
    """Fitted here, stored of these faces, and stored of others: the errors told are of the half that was not fitted."""
    fit, check = halves(found.faces.emotions)
    temperature = fit_temperature(found.probabilities[fit], found.faces.emotions[fit])
    before, after = (
        100 * reliability(said[check], found.faces.emotions[check]).ece
        for said in (found.probabilities, scaled(found.probabilities, temperature))
    )
    own = (
        f"A temperature of {temperature:.2f}, fitted on 14 of these faces, takes the expected calibration error on the "
        f"14 others from {before:.1f} to {after:.1f} points."
    )
    assert found.calibration is not None

    def page(of: Findings) -> str:
        return unescape(re.sub("</?span>", "", render(replace(of, parts=("calibration",)), commands)))

    assert not found.stored
    assert sentences_scores.calibration(found, EN).endswith(own)
    assert EN("calibration.not_stored") in page(found)
    assert commands.calibrate() in page(found)

    store_calibration(copied, found.calibration)
    stored = collect(copied, 2, found.data, only=("calibration",))
    assert stored.stored
    assert sentences_scores.calibration(stored, EN).endswith(own)
    assert EN("calibration.not_stored") not in page(stored)
    assert commands.calibrate() in page(stored)

    darker = replace(found.data, images=found.data.images // 2, name="Darker")
    other = collect(copied, 2, darker, only=("calibration",))
    assert sentences_scores.calibration(other, EN).endswith(
        f"The temperature that the run has stored, {temperature:.2f}, is of other faces (Patterns, validation): fitted "
        f"on 14 of them, it takes the expected calibration error on the 14 others from {before:.1f} to {after:.1f} "
        "points."
    )
    assert "Patterns 验证集" in sentences_scores.calibration(other, ZH)
    assert EN("calibration.not_stored") not in page(other)
    assert commands.calibrate() not in page(other)  # would put this one in place of the run's own
    rendered = collect(Run(found.run.path), 2, replace(found.data, is_demo=True), only=("calibration",))
    assert rendered.calibration is None
    assert commands.calibrate() not in page(rendered)  # would refuse


def test_leaks_in_words(found: Findings) -> None:
    few = with_answers(found, [(3, 3, 0.9)] * 6 + [(2, 3, 0.9)] * 4)
    seen = np.arange(10) < 5  # five right ones
    assert sentences_scores.leaks(replace(few, seen=seen), EN) == (
        "Of the 10 faces 5 (50.0%) stand pixel for pixel in the training split too. Of these it recognises 100.0% (95% "
        "interval 56.6 to 100.0%), of the others 20.0% (95% interval 3.6 to 62.4%). The faces that it has seen raise "
        "its score by 40.00 points."
    )
    assert "None of the 10 faces" in sentences_scores.leaks(replace(few, seen=np.zeros(10, bool)), EN)
    assert "cannot be told" in sentences_scores.leaks(few, EN)
    assert "without them it is 26.67 points higher" in sentences_scores.leaks(
        replace(few, seen=np.arange(10) >= 7), EN
    ).replace("26.66", "26.67") or "points higher" in sentences_scores.leaks(replace(few, seen=np.arange(10) >= 7), EN)


def test_seen_faces_are_found(finished: Run, faces: FaceDataset) -> None:
    """Of data that the run was not trained on nothing is known; of its own, a face that stands in both splits is."""
    assert collect(finished, 2, faces, only=("leaks",)).seen.tolist() == [False] * 28  # type: ignore[union-attr]
    assert collect(finished, 2, replace(faces, images=255 - faces.images), only=("leaks",)).seen is None


def run_with(tmp_path: Path, finished: Run, lines: list[tuple[int, str, float, float]]) -> Run:
    """A copy of a run with other metrics: (epoch, split, accuracy, loss), n = 1000."""
    import json
    import shutil

    run = Run(Path(shutil.copytree(finished.path, tmp_path / "other")))
    keys = {"kind": "epoch", "step": 1, "n": 1000, "lr": 0.1, "seconds": 1.0}
    records = [{**keys, "epoch": e, "split": s, "accuracy": a, "loss": loss} for e, s, a, loss in lines]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


def test_training_in_words(found: Findings, finished: Run, tmp_path: Path) -> None:
    lines = [(1, "validation", 0.5, 1.0), (2, "validation", 0.6, 0.8), (3, "validation", 0.58, 1.0)]
    run = run_with(tmp_path, finished, [*lines, (1, "train", 0.5, 1.0), (3, "train", 0.9, 0.2)])
    other = replace(found, run=run)
    assert sentences_run.accuracy_curve(other, EN) == (
        "Validation accuracy was highest at epoch 2, 60.0% (95% interval 56.9 to 63.0%); at the last epoch, 3, it was "
        "58.0% (95% interval 54.9 to 61.0%). By then it was right on 90.0% of the training faces, 32.0 points more and "
        "above that interval: it overfits."
    )
    assert sentences_run.loss_curve(other, EN).startswith(
        "Validation loss was lowest at epoch 2, 0.800, and then rose by 25% to 1.000 at epoch 3"
    )
    told = "Also within its interval: 3; chance alone could have put one of these first."
    assert sentences_run.kept_epochs(other, EN).endswith(told)
    assert "第 3 轮也落在这一区间内" in sentences_run.kept_epochs(other, ZH)
    sure = run_with(tmp_path / "sure", finished, [(1, "validation", 1.0, 0.0), (2, "validation", 0.9, 0.3)])
    assert f"and then rose by {NONE} to 0.300" in sentences_run.loss_curve(replace(found, run=sure), EN)


@pytest.mark.parametrize(("trained", "kind"), [(0.62, "above"), (0.6, "no sign"), (0.5, "does not overfit")])
def test_overfitting_is_told_by_the_interval(
    found: Findings, finished: Run, tmp_path: Path, trained: float, kind: str
) -> None:
    """1000 faces, 58 %: the interval ends at 61.0 %."""
    run = run_with(tmp_path, finished, [(1, "validation", 0.58, 1.0), (1, "train", trained, 1.0)])
    assert kind in sentences_run.accuracy_curve(replace(found, run=run), EN)


def test_a_run_without_metrics_says_so(found: Findings, finished: Run, tmp_path: Path, commands: Commands) -> None:
    run = run_with(tmp_path, finished, [])
    page = Page.of(render(replace(found, run=run, parts=("training", "data")), commands))
    assert EN("training.none") in unescape(page.text)
    training = run_with(tmp_path / "more", finished, [(1, "train", 0.5, 1.0), (2, "train", 0.6, 0.5)])
    assert sentences_run.accuracy_curve(replace(found, run=training), EN) == EN("training.no_validation")
    Page.of(render(replace(found, run=training, parts=("training",)), commands))


def test_protocol_in_words(found: Findings, finished: Run) -> None:
    assert found.same_data
    assert f"this very data (fingerprint {finished.data_fingerprint})" in sentences_run.protocol(found, EN)
    stranger = replace(found.data, images=255 - found.data.images, name="Others")
    assert "trained on other data, Patterns; on Others" in sentences_run.protocol(
        collect(finished, 2, stranger, only=("data",)), EN
    )
    assert "learned from" in sentences_run.protocol(collect(finished, 2, found.data, "train", only=("data",)), EN)


def scored_as(tmp_path: Path, finished: Run, accuracies: list[float], keep_epochs: str = "all") -> Run:
    """A copy of a run of three epochs that scored so many and kept these three."""
    run = run_with(tmp_path, finished, [(i, "validation", share, 1.0) for i, share in enumerate(accuracies, 1)])
    vars(run)["config"] = replace(finished.config, keep_epochs=keep_epochs)
    return run


PICKED, NOT_PICKED = "Epoch {} was picked among {} scored epochs for its score", "Epoch {} was not picked for its score"


@pytest.mark.parametrize(
    ("accuracies", "keep_epochs", "epoch", "told"),
    [
        ([0.5, 0.6, 0.58, 0.59, 0.57], "all", 2, PICKED.format(2, 5)),  # epochs 4 and 5 were not kept
        ([0.5, 0.6, 0.58, 0.59, 0.57], "all", 1, NOT_PICKED.format(1)),
        ([0.5, 0.6, 0.55, 0.9, 0.7], "all", 2, PICKED.format(2, 3)),  # as the best of those that were kept
        ([0.5, 0.6, 0.55, 0.9, 0.7], "all", 3, NOT_PICKED.format(3)),
        ([0.5, 0.55, 0.6], "all", 3, NOT_PICKED.format(3)),  # the last epoch would have been taken whatever it scored
        ([0.5, 0.55, 0.6], "best,last", 3, NOT_PICKED.format(3)),
        ([0.5, 0.55, 0.6], "best", 3, PICKED.format(3, 3)),
        ([0.5, 0.6, 0.55], "best", 3, NOT_PICKED.format(3)),
        ([0.5], "best", 1, NOT_PICKED.format(1)),
        ([], "best", 1, NOT_PICKED.format(1)),
    ],
)
def test_the_scores_tell_what_was_picked(
    found: Findings, finished: Run, tmp_path: Path, accuracies: list[float], keep_epochs: str, epoch: int, told: str
) -> None:
    run = scored_as(tmp_path, finished, accuracies, keep_epochs)
    of_epoch = replace(found, run=run, checkpoint=replace(found.checkpoint, epoch=epoch))
    text = sentences_run.protocol(of_epoch, EN)
    assert told in text
    last = len(accuracies)
    flattered = "was picked" in told and epoch != last
    assert (f"That of the last epoch, {last}, does not: {100 * [0, *accuracies][-1]:.1f}%" in text) == flattered


def test_what_was_picked_does_not_hang_on_files(found: Findings, finished: Run, tmp_path: Path) -> None:
    run = scored_as(tmp_path, finished, [0.5, 0.6, 0.58, 0.59, 0.57])
    for epoch in (1, 3):
        run.checkpoint_path(epoch).unlink()
    alone = replace(found, run=run)
    assert "Epoch 2 was picked among 5 scored epochs" in sentences_run.protocol(alone, EN)
    assert "有验证成绩的 5 轮" in sentences_run.protocol(alone, ZH)
    assert "picked" not in sentences_run.protocol(
        replace(alone, data=replace(found.data, images=found.data.images // 2)), EN
    )


@pytest.mark.parametrize("has_validation", [True, False])
def test_data_before_curation_is_the_runs_own(
    finished: Run, faces: FaceDataset, tmp_path: Path, commands: Commands, has_validation: bool
) -> None:
    """A run that left faces out was trained on this data all the same, and its training faces are known."""
    import json
    import shutil

    data = faces if has_validation else replace(faces, splits=np.where(faces.splits == 1, 0, faces.splits))
    run = Run(Path(shutil.copytree(finished.path, tmp_path / "run")))
    listed = run.path / "exclude.csv"
    listed.write_text("id\nface-000\nface-001\n")
    curated, about = apply_curation(data, exclude=listed)
    kept = split_validation(curated, run.config.validation_fraction, run.config.seed)
    info = {**run_info(run.config, kept, "cpu"), "curation": about}
    (run.path / "run.json").write_text(json.dumps({**run.info, **info}))
    mine = collect(Run(run.path), 2, data, only=("data",))
    assert mine.seen is not None
    assert mine.same_data != has_validation
    told = "The run was trained on this " + ("data, Patterns, after some" if has_validation else "very data")
    assert sentences_run.protocol(mine, EN).startswith(told)
    page = Page.of(render(mine, replace(commands, run=mine.run)))
    (training,) = [code for code in page.codes if "train.py" in code]
    assert "--data faces.csv" in training
    assert training.endswith("--exclude exclude.csv")


def test_filters_in_words(found: Findings) -> None:
    """Stripes of 8 and of 4 pixels, one of them on a filter that stays silent."""
    x = np.arange(48)
    images = np.stack([np.broadcast_to(128 + 50 * np.sin(2 * np.pi * x / length), (48, 48)) for length in (8, 8, 4)])
    np.testing.assert_allclose(wavelengths(images), [8, 8, 4], rtol=1e-6)
    climbed = Maximised(
        "run:1", "conv1", (0, 1, 2), collecting.ASCENT, images, images, np.array([[0, 1, 2], [5, 7, -1.0]])
    )
    assert sentences_maps.filters(replace(found, filters={"conv1": climbed}), EN, "conv1") == (
        "Gradient ascent brings the median response of the 3 filters of conv1 from 1 to 5; their patterns have a "
        "median wavelength of 8.0 pixels. For 1 of them nothing was found that brings the response above "
        "zero."
    )


def test_saliency_in_words(found: Findings) -> None:
    """All of it on the mouth; then spread evenly."""
    assert found.saliency is not None
    mouth = (collecting.region_map() == collecting.REGIONS.index("Mouth")).astype(np.float32)
    maps = np.repeat(mouth[None], 16, axis=0)
    times = 1 / region_areas()[collecting.REGIONS.index("Mouth")]
    told = sentences_maps.saliency(replace(found, saliency=replace(found.saliency, maps=maps)), EN)
    assert told.startswith(
        f"On these 16 faces the gradient lies on mouth (100%, {times:.1f} times an even share), more"
    )
    even = replace(found.saliency, maps=np.ones_like(maps))
    assert sentences_maps.saliency(replace(found, saliency=even), EN) == EN("saliency.even")
    np.testing.assert_allclose(region_shares(even.maps)[0], region_areas())
    assert not region_shares(np.zeros((1, 48, 48))).any()


def test_averages_in_words(found: Findings) -> None:
    assert found.averages is not None
    layout = collecting.region_map()
    mouth, eyes = ((layout == collecting.REGIONS.index(name)).astype(np.float32) for name in ("Mouth", "Eyes"))
    nose = (layout == collecting.REGIONS.index("Nose")).astype(np.float32)
    maps = np.stack([mouth, mouth, mouth / mouth.sum() + 2 * eyes / eyes.sum() + nose / nose.sum()])
    means = replace(found.averages, names=("Happy", "Sad", "Fear"), maps=maps)
    assert sentences_maps.averages(replace(found, averages=means), EN) == (
        "For 2 of 3 emotions the densest saliency lies on the mouth. The emotions differ most in the mouth: 100.0% of "
        "the saliency for Happy, 25.0% for Fear."
    )


def test_regions_in_words(found: Findings) -> None:
    study = found.regions
    assert study is not None
    mean, half = np.zeros((2, 7)), np.full((2, 7), 0.1)
    mean[0, 3], mean[0, 1], mean[1, 0] = 2.5, 1.0, 0.05
    names = (found.ranked[0][0], found.ranked[-1][0])
    made = replace(study, emotions=names, mean=mean, half=half, n=np.array([4, 3]))
    assert sentences_maps.regions(replace(found, regions=made), EN) == (
        f"For {names[0]}, +3.50 logits in all over 4 faces, the most come from mouth +2.50 (±0.10) and eyes +1.00 "
        f"(±0.10). "
        f"For {names[1]}, +0.05 logits in all over 3 faces, no region adds any beyond doubt."
    )


def test_conv1_in_words(found: Findings) -> None:
    assert found.conv1 is not None
    activations, errors = np.array([1.0, 2, 1.5, 1, 1, 1, 0.5]), np.full(7, 0.1)
    made = replace(found.conv1, layer="conv1", activations=activations, errors=errors, counts=np.full(7, 9))
    told = sentences_maps.conv1(replace(found, conv1=made), EN)
    assert told.startswith(
        "Disgust (2 ± 0.1), Fear (1.5 ± 0.1) and Angry (1 ± 0.1) excite conv1 most, Neutral (0.5 ± 0.1)"
    )
    assert "lie 300%, 10.6 standard errors: more than chance" in told
    noisy = replace(
        made, errors=np.full(7, 0.4)
    )  # 2.65 standard errors: beyond 1.96, yet not for the extremes of seven
    assert "no more than chance" in sentences_maps.conv1(replace(found, conv1=noisy), EN)


def test_a_silent_first_layer_has_no_shares(found: Findings, commands: Commands) -> None:
    assert found.conv1 is not None
    silent = replace(
        found, parts=("conv1",), conv1=replace(found.conv1, layer="conv1", activations=np.zeros(7), errors=np.zeros(7))
    )
    assert sentences_maps.conv1(silent, EN) == (
        "Angry (0 ± 0), Disgust (0 ± 0) and Fear (0 ± 0) excite conv1 most, Neutral (0 ± 0) least. Between first and "
        f"last lie {NONE}, {NONE} standard errors: no more than chance gives the extremes of seven."
    )
    assert f"相差 {NONE}" in unescape(render(silent, commands, "zh"))
    one = replace(
        silent, conv1=replace(found.conv1, activations=np.array([1.0, 0, 1, 1, 1, 1, 1]), errors=np.full(7, 0.1))
    )
    assert f"lie {NONE}, 7.1 standard errors: more than chance" in sentences_maps.conv1(one, EN)


@pytest.mark.filterwarnings("error")
def test_maps_without_any_saliency_are_drawn(found: Findings, commands: Commands) -> None:
    assert found.averages is not None
    nothing = replace(found.averages, maps=np.zeros_like(found.averages.maps))
    for shown in (True, False):
        Page.of(render(replace(found, parts=("saliency",), averages=nothing), commands, show_faces=shown))


def test_structure_in_words(found: Findings) -> None:
    told = sentences_run.structure(found, EN, {"a": 10, "b": 30, "c": 60}, (20, 22), "res1")
    assert "has 100 parameters, 60% of them in c alone" in told
    assert "res1, sees 20\u00d722" in told


class Particular(nn.Module):
    """A network that looks at its input before it computes: it has no one graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        assert not x.abs().max() > 1e6
        answer: Tensor = self.network(x)
        return answer


def test_a_network_without_a_fixed_graph_has_a_report(
    found: Findings, finished: Run, commands: Commands, monkeypatch: Any
) -> None:
    """It trains and answers as any other; only its layers cannot be listed."""
    particular = replace(found.checkpoint, model=Particular(found.checkpoint.model).eval())
    monkeypatch.setattr(Run, "load_checkpoint", lambda *_: particular)
    parts = ("structure", "labels", "saliency", "conv1")
    collected = collect(finished, 2, found.data, only=parts)
    for language, begins in (("en", "The layers cannot be listed"), ("zh", "无法列出各层")):
        page = render(collected, commands, language)
        assert re.search(rf"<p>{begins}.{{1,2}}Particular has no fixed graph that could be drawn \(", page)
        assert len(Page.of(page).figures) == 6


# -- charts ----------------------------------------------------------------------------------------


def test_dots_stand_where_their_values_are() -> None:
    rows = [
        svg.Dot("a", "#111111", 0.0, 0.0, 0.5),
        svg.Dot("b", "#222222", 1.0, 0.5, 1.0),
        svg.Dot("c", "#333333", 0.5, 0, 1),
    ]
    chart = str(svg.dots(rows, "x", str, ends=(0.0, 1.0)))
    first, last, middle = (float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart))
    assert middle == pytest.approx((first + last) / 2, abs=0.1)
    spans = re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" stroke="#333333"', chart)
    assert [float(x) for x in spans[0]] == pytest.approx([first, last], abs=0.1)


def test_curves_pass_through_their_values() -> None:
    line = svg.Line("loss", "#0072B2", np.array([1, 2, 3]), np.array([1.0, np.nan, 3.0]))
    chart = str(svg.curves([line], "Epoch", "Loss", str, (2.0, "here")))
    (points,) = re.findall(r'points="([^"]+)"', chart)
    (x1, y1), (x2, y2) = ((float(v) for v in point.split(",")) for point in points.split())
    (mark,) = re.findall(r'<line x1="([\d.]+)"[^>]+stroke-dasharray', chart)
    assert float(mark) == pytest.approx((x1 + x2) / 2, abs=0.1)
    assert y2 < y1  # upwards


def test_matrix_and_reliability_take_empty_ones() -> None:
    cells = [[("", "")] * 7] * 7
    Page.of(str(svg.matrix(np.zeros((7, 7), int), EMOTIONS, cells, ("True", "Predicted"))))
    nothing = np.full(3, np.nan)
    chart = str(svg.reliability(nothing, nothing, np.zeros((3, 2)), np.zeros(3, int), ("a", "b", "c")))
    assert "nan" not in chart
    assert "<circle" not in chart


def test_ticks_are_round_and_inside() -> None:
    assert svg._ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert svg._ticks(0.31, 0.39, 4) == [0.32, 0.34, 0.36, 0.38]
    assert svg._apart([10.0, 10.0], 6) == [7.0, 13.0]


# -- commands --------------------------------------------------------------------------------------


def test_train_command_names_what_differs_from_the_recipe() -> None:
    def told(name: str) -> str:
        return Commands(Run(Path("checkpoints") / name), 1, "validation", "my faces.csv").train()

    assert told("report-resnet") == "python train.py report-resnet --data 'my faces.csv' --keep-epochs all --seed 0"
    assert told("demo") == "python train.py demo --data 'my faces.csv' --seed 0"


def test_train_command_rebuilds_the_config(finished: Run) -> None:
    """What stands in the command, given to the recipe, is the config again."""
    from fer_core.config import make_config

    config = {**finished.config.to_dict(), "recipe": "report-cnn", "model": "EmotionResNet"}
    run = Run(finished.path)
    vars(run)["config"] = make_config(config)
    words = Commands(run, 1, "validation", "x").train().split()
    given = dict(word.strip("'").split("=", 1) for word in words if "=" in word)
    assert given["rotation"] == "10.0"
    assert given["model"] == "EmotionResNet"
    joined = Commands(run, 1, "validation", "x").train()
    assert "model_args.widths=[4, 8]" in joined
    assert "--epochs 3" in joined


def test_train_command_names_the_runs_own_data(found: Findings, finished: Run) -> None:
    """Never the report's, where the run was trained on other data."""
    own = Commands(finished, 2, "validation", "others.csv", "--label-order alphabetical")
    assert own.train() == ("python train.py custom.toml --data others.csv --label-order alphabetical --seed 0")
    assert own.train(own_data=False) == "python train.py custom.toml --data PATH --seed 0"
    stranger = replace(found, parts=("data",), data=replace(found.data, images=255 - found.data.images, name="Others"))
    for of, name in ((found, "others.csv"), (stranger, "PATH")):
        for language in LANGUAGES:
            page = Page.of(render(replace(of, parts=("data",)), own, language))
            (training,) = [code for code in page.codes if "train.py" in code]
            assert f"--data {name}" in training
            (caption,) = [caption for caption in page.captions if "train.py" in caption]
            assert ("PATH" in caption.partition("python")[0]) == ("Patterns" in caption) == (name == "PATH")


def test_paths_of_this_machine_are_not_told(tmp_path: Path) -> None:
    assert data_name(tmp_path / "deep" / "fer.csv") == "fer.csv"
    assert data_name(None) == "fer_core/data/demo/demo_faces.parquet"


def test_curation_in_words(found: Findings, commands: Commands) -> None:
    about = {"file": "my drops.csv", "sha256": "0123456789abcdef", "n": 1234, "not_found": 2}
    curation = {"exclude": {**about, "by_split": {"train": 1234}}, "relabel": {**about, "n": 5, "changed": 4}}
    assert sentences_run.curation(found.run, Words()) == []
    run = Run(found.run.path)
    vars(run)["info"] = {**found.run.info, "curation": curation}
    left_out, anew = sentences_run.curation(run, Words())
    assert left_out == "faces left out: 1,234 (my drops.csv, SHA-256 0123456789abcdef...)"
    assert anew.startswith("faces labelled anew: 5 (")
    assert left_out in render(replace(found, run=run, parts=("data",)), commands)
    assert "剔除 1,234 张人脸" in render(replace(found, run=run, parts=("data",)), commands, "zh")
    assert "--exclude 'my drops.csv' --relabel 'my drops.csv'" in Commands(run, 1, "validation", "fer.csv").train()


# -- the command -----------------------------------------------------------------------------------


def command(*arguments: object) -> str:
    """The error that a command ends with, "" for none."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return "" if end.code in (0, None) else str(end.code)
    return ""


@pytest.fixture
def demo_run(finished: Run, monkeypatch: Any, tmp_path: Path) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER_DATA", raising=False)
    return lambda *arguments: command("report", *arguments, "--runs", finished.path.parent)


def test_report_from_the_command_line(demo_run: Callable[..., str], tmp_path: Path, capsys: Any) -> None:
    """No data anywhere: the demo faces, and the page says so; rights as any file that a person writes."""
    assert demo_run("run:2", "--only", "labels", "--only", "data", "--out", "r.html") == ""
    page = Page.of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.headings) == 3
    assert EN("data.demo") in page.text
    assert "rendered demo faces" in capsys.readouterr().out
    other = tmp_path / "other"
    other.write_text("")
    assert (tmp_path / "r.html").stat().st_mode == other.stat().st_mode
    assert not list(tmp_path.glob(".*"))


def test_bad_input_is_one_sentence(demo_run: Callable[..., str], tmp_path: Path) -> None:
    there = tmp_path / "there.html"
    there.write_text("mine")
    assert "there.html is there already; choose another name" in demo_run("run", "--out", there)
    assert there.read_text() == "mine"
    assert "is a folder" in demo_run("run", "--out", tmp_path)
    assert "there is no folder" in demo_run("run", "--out", tmp_path / "no" / "r.html")
    assert "There is no run 'nobody'" in demo_run("nobody", "--out", "r.html")
    assert "kept no checkpoint of epoch 77" in demo_run("run:77", "--out", "r.html")
    assert "missing.csv does not exist" in demo_run("run", "--data", "missing.csv", "--out", "r.html")
    assert "no report in 'fr'" in demo_run("run", "--lang", "fr", "--out", "r.html")
    assert "no part 'x'" in demo_run("run", "--only", "x", "--out", "r.html")
    assert "There is no split 'exam'" in demo_run("run", "--split", "exam", "--out", "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_split_without_labels_is_refused(finished: Run, faces: FaceDataset) -> None:
    with pytest.raises(DataError, match="no labelled faces in its test split; choose another one with --split"):
        collect(finished, 2, faces, "test")


def test_only_what_was_asked_for_is_computed(finished: Run, faces: FaceDataset) -> None:
    few = collect(finished, 2, faces, only=("labels", "conv1"))
    assert few.parts == ("labels", "conv1")
    assert few.saliency is few.averages is few.regions is few.calibration is None
    assert not few.filters
    assert few.conv1 is not None


def test_few_faces_are_enough(finished: Run, faces: FaceDataset, commands: Commands) -> None:
    """Three faces, one emotion with a single one: no interval, no halves, and not a word of NaN."""
    rows = np.flatnonzero(faces.splits == 1)
    few = [*rows[faces.emotions[rows] == 3][:2], rows[faces.emotions[rows] == 2][0]]
    found = collect(finished, 2, faces.subset(np.array(few)), only=("labels", "leaks", "saliency", "regions", "conv1"))
    for language in LANGUAGES:
        for shown in (True, False):
            text = re.sub(r'base64,[^"]+', "", render(found, commands, language, shown))
            assert not re.search(r"\bnan\b|\binf\b", text, re.IGNORECASE)


def test_importing_the_commands_does_not_import_torch() -> None:
    code = "import sys, fer_core.__main__; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
