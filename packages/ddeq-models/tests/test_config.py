from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_models import DataConfig, DDEQConfig, RunConfig, TrainConfig, UserError
from ddeq_models._internal.files import json_document

CONFIG = RunConfig("ddeq", ("a", "b"), DataConfig("mnist", root="/data"), DDEQConfig())


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    epochs=st.integers(1, 10**6),
    rate=st.floats(1e-12, 1e3),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    keep=st.sampled_from(["last", "best"]),
    classes=st.lists(st.text(max_size=5), max_size=4).map(tuple),
    root=st.none() | st.text(max_size=5),
)
def test_a_run_comes_back_from_json_as_it_was(
    epochs: int, rate: float, betas: Any, keep: Any, classes: Any, root: str | None
) -> None:
    import json

    train = TrainConfig(epochs=epochs, learning_rate=rate, betas=betas, keep=keep)
    config = replace(CONFIG, classes=classes, train=train, data=DataConfig(root=root))
    assert RunConfig.from_dict(json.loads(json_document(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (None, "preste", 1, "unknown key preste; known are preset, classes"),
        ("train", "epohcs", 1, r"unknown key train\.epohcs"),
        ("model", "dims", 1, r"unknown key model\.dims"),
        ("train", "epochs", "3", r"train\.epochs must be a whole number, got '3'"),
        ("train", "epochs", True, r"train\.epochs must be a whole number, got True"),
        ("train", "epochs", 2.5, r"train\.epochs must be a whole number, got 2\.5"),
        ("train", "betas", [0.9], r"train\.betas must be a list of 2, each a number"),
        ("train", "betas", [0.9, "x"], r"train\.betas\[1\] must be a number, got 'x'"),
        ("model", "training_max_steps", -1, "model: training_max_steps must be at least 0, got -1"),
        ("train", "epochs", 0, "epochs must be at least 1, got 0"),
        ("data", "name", "cifar", "there is no data set cifar; expected one of digits, mnist, "),
        ("data", "root", 3, r"data\.root must be a string or null, got 3"),
        ("model", "rtol", -1.0, "model: rtol must be above 0, got -1.0"),
        (None, "train", 3, "train must be an object, got 3"),
        (None, "classes", "ab", r"classes must be a list, each a string, got 'ab'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    section: str | None, key: str, value: object, message: str
) -> None:
    values = CONFIG.to_dict()
    (values if section is None else values[section])[key] = value
    with pytest.raises(UserError, match=message):
        RunConfig.from_dict(values)


def test_a_missing_key_takes_its_default_or_is_named() -> None:
    values = CONFIG.to_dict()
    del values["train"]["ema"], values["version"]
    assert RunConfig.from_dict(values) == CONFIG
    del values["model"]
    with pytest.raises(UserError, match="the key model is missing"):
        RunConfig.from_dict(values)
    with pytest.raises(UserError, match="the document must be an object"):
        RunConfig.from_dict([])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (TrainConfig, "batch_size", 0),
        (TrainConfig, "learning_rate", 0.0),
        (TrainConfig, "learning_rate", float("nan")),
        (TrainConfig, "weight_decay", -0.1),
        (TrainConfig, "clip_norm", -1.0),
        (TrainConfig, "warmup", 1.5),
        (TrainConfig, "label_smoothing", 1.0),
        (TrainConfig, "ema", 1.0),
        (TrainConfig, "betas", (0.9, 1.0)),
        (TrainConfig, "seed", -1),
        (DataConfig, "rotate", 181.0),
        (DataConfig, "jitter", -1.0),
        (DataConfig, "scale", 1.0),
        (DataConfig, "drop", 1.0),
    ],
)
def test_values_out_of_range_are_refused(kind: Any, field: str, value: object) -> None:
    with pytest.raises(UserError, match=field.replace("_", " ")):
        kind(**{field: value})
