"""Recipes and settings: each loads, each can be overridden, and what is wrong is refused by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fer_core.config import TrainConfig, load_recipe, make_config, parse_keep, recipe_names
from fer_core.errors import ConfigError
from fer_core.models import create_model


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_its_model_can_be_built(name: str) -> None:
    config = load_recipe(name)
    assert config.recipe == name
    create_model(config.model, config.model_args)


def test_the_reports_recipes_are_those_of_the_report() -> None:
    resnet = load_recipe("report-resnet")
    assert (resnet.model, resnet.optimizer, resnet.schedule) == ("EmotionResNet", "adam", "step")
    assert (resnet.lr, resnet.weight_decay, resnet.batch_size, resnet.epochs) == (1e-3, 1e-5, 256, 100)
    assert resnet.rotation > 0
    assert resnet.crop > 0
    cnn = load_recipe("report-cnn")
    assert (cnn.model, cnn.optimizer, cnn.epochs, cnn.rotation, cnn.crop) == ("EmotionCNN", "adam", 50, 0, 0)


def test_an_unknown_recipe_is_refused_with_those_there_are(tmp_path: Path) -> None:
    for name in ("report-resnext", "", ".", str(tmp_path / "no.toml"), str(tmp_path)):
        with pytest.raises(ConfigError, match=r"There is no recipe '.*'; the recipes are .*report-cnn, report-resnet"):
            load_recipe(name)


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "EmotionCNN"\nlr = 1\nmodel_args = { widths = [2, 3, 4] }\n')
    config = load_recipe(str(path), {"epochs": "7", "model_args.widths": "[4, 4, 4]"})
    assert (config.recipe, config.epochs, config.lr, config.model_args) == ("mine", 7, 1.0, {"widths": [4, 4, 4]})
    path.write_text("lr = \n")
    with pytest.raises(ConfigError, match=r"mine.toml is not valid TOML: .*line 1"):
        load_recipe(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"mine.toml is not valid TOML"):
        load_recipe(str(path))
    path.write_text("learning_rate = 0.1\n")
    with pytest.raises(ConfigError, match="There is no setting 'learning_rate'"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("epochs", "5", 5),
        ("lr", "1", 1.0),
        ("lr", "3e-4", 3e-4),
        ("flip", "true", True),
        ("optimizer", "sgd", "sgd"),
        ("keep_epochs", "every:5, last", "every:5, last"),
        ("model_args", "{ widths = [8, 16] }", {"widths": [8, 16]}),
        ("model_args.widths", "[8, 16]", {"widths": [8, 16]}),
    ],
)
def test_every_value_can_be_given_as_text(key: str, text: str, value: Any) -> None:
    assert getattr(load_recipe("report-resnet", {key: text}), key.partition(".")[0]) == value


def test_overrides_of_model_arguments_are_merged() -> None:
    given = {"model_args": {"widths": [4, 8], "dropout": [0, 0, 0]}}
    assert make_config(given, {"model_args.widths": "[2, 2]"}).model_args == {"widths": [2, 2], "dropout": [0, 0, 0]}
    merged = make_config({}, {"model_args": "{ a = 1 }", "model_args.b": "some text"})
    assert merged.model_args == {"a": 1, "b": "some text"}
    assert given == {"model_args": {"widths": [4, 8], "dropout": [0, 0, 0]}}  # not changed by the merging


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("epoch", "5", "There is no setting 'epoch'. Did you mean 'epochs'?"),
        ("zzz", "5", "There is no setting 'zzz'. The settings are recipe, model, "),
        ("epochs", "0", "epochs = 0 is outside 1 to 10000"),
        ("epochs", "1.5", "epochs = 1.5 must be a whole number"),
        ("epochs", "ten", "epochs = 'ten' must be a whole number"),
        ("epochs", "true", "epochs = True must be a whole number"),
        ("lr", "0", "lr = 0.0 must be greater than 0"),
        ("lr", "nan", "lr = nan is outside"),
        ("lr", "inf", "lr = inf is outside"),
        ("lr", "fast", "lr = 'fast' must be a number"),
        ("lr", True, "lr = True must be a number"),
        ("flip", "yes", "flip = 'yes' must be true or false"),
        ("flip", "1", "flip = 1 must be true or false"),
        ("optimizer", "lion", "optimizer = 'lion' is not one of adam, adamw, sgd"),
        ("schedule", "exponential", "schedule = 'exponential' is not one of constant, step, cosine, linear"),
        ("precision", "fp16", "precision = 'fp16' is not one of auto, bf16, fp32"),
        ("validation_fraction", "1", "validation_fraction = 1.0 is outside 0.01 to 0.9"),
        ("seed", "-1", "seed = -1 is outside"),
        ("keep_epochs", "every:0", "keep_epochs = 'every:0': 'every:0' is not one of all, every:K, best, last"),
        ("keep_epochs", "best,first", "'first' is not one of"),
        ("keep_epochs", "", "'' is not one of"),
        ("model_args", "3", "model_args = 3 must be a table"),
        ("model_args", [1], r"model_args = [1] must be a table"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(key: str, value: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("report-resnet", {key: value})
    assert str(caught.value).startswith(reason) or reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("all", (1, False, False)),
        ("every:10,best,last", (10, True, True)),
        (" last , every:3", (3, False, True)),
        ("best", (0, True, False)),
    ],
)
def test_keep_rules(text: str, meaning: tuple[int, bool, bool]) -> None:
    assert parse_keep(text) == meaning


def test_a_config_goes_through_plain_values_and_back() -> None:
    config = load_recipe("report-resnet", {"seed": "3", "model_args.widths": "[8, 16]"})
    assert make_config(config.to_dict()) == config
    assert set(config.to_dict()) == {field.name for field in fields(TrainConfig)}
