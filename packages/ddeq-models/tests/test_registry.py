"""The tables of what there is, and how they are filled."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from ddeq_models import DataConfig, DDEQConfig, TrainConfig, UserError, registry
from ddeq_models.config import option, options_of
from ddeq_models.models.solver import SolverConfig
from ddeq_models.recipes import RECIPES, default_preset, recipe_for
from ddeq_models.registry import DATA_SETS, MODELS, PRESETS, TASKS, Table, plugin_of


def test_a_name_is_registered_once_and_again_by_the_same_module() -> None:
    table: Table[int] = Table("thing")
    table.add("one", 1, "mine", "the first")
    table.add("one", 2, "mine")
    assert table["one"] == 2
    with pytest.raises(UserError, match="theirs registers a thing one, which mine has registered"):
        table.add("one", 3, "theirs")
    assert (dict(table), table.module("one"), table.module("two")) == ({"one": 2}, "mine", "")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a,b", "a=b"])
def test_what_a_command_line_could_not_name_is_no_name(name: str) -> None:
    with pytest.raises(UserError, match="is no name for a thing"):
        Table[int]("thing").add(name, 1, "mine")


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    table: Table[int] = Table("thing")
    table.add("one", 1, "mine")
    with pytest.raises(UserError, match=r"no thing \\x1btwo; expected one of one, or import the"):
        table.find("\x1btwo")


def test_only_what_is_from_elsewhere_is_a_plugin() -> None:
    assert plugin_of(MODELS, "ddeq") is None
    assert plugin_of(MODELS, "no such model") is None
    table: Table[int] = Table("thing")
    table.add("one", 1, "ddeq_models_extra.rings")
    assert plugin_of(table, "one") == "ddeq_models_extra.rings"


def _points(*values: str) -> list[Any]:
    def load(value: str) -> None:
        if value != registry._OWN:
            raise ImportError("no such file")

    return [SimpleNamespace(name="x", value=v, load=lambda v=v: load(v)) for v in values]


def test_a_plugin_that_cannot_be_imported_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(MODELS) > 0
    monkeypatch.setattr(Table, "_loaded", False)
    monkeypatch.setattr(registry, "entry_points", lambda group: _points("theirs", registry._OWN))
    with pytest.warns(UserWarning, match=r"the plugin x \(theirs\) cannot be imported.*no such fi"):
        assert "ddeq" in MODELS
    assert "pointnet" in MODELS  # and it is said once


def test_an_installation_that_names_no_models_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "_loaded", False)
    monkeypatch.setattr(registry, "entry_points", lambda group: _points())
    with pytest.raises(UserError, match="knows no models; install it again"):
        _ = "ddeq" in MODELS


def test_every_model_is_made_for_a_task_that_there_is_and_has_a_preset() -> None:
    for kind, (config, _) in MODELS.items():
        assert config.kind == kind
        assert config.task in TASKS
        assert any(preset.kind == kind for preset in PRESETS.values())
    assert (default_preset("classification"), default_preset("completion")) == ("ddeq", "completer")
    with pytest.raises(UserError, match="no preset is made for the task guessing"):
        default_preset("guessing")


def test_a_data_set_without_recipes_is_trained_on_like_the_one_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ddeq_models.data import DataSet

    monkeypatch.setitem(DATA_SETS, "rings", DataSet("rings", "", lambda *_: None, recipe="digits"))  # type: ignore[arg-type, return-value]
    for preset in ("ddeq", "pointnet", "pcn", "ddeq-paper"):
        mine, theirs = recipe_for("rings", preset), RECIPES["digits", preset]
        assert (mine.model, mine.data.name) == (theirs.model, "rings")
        assert mine.data.normalise == theirs.data.normalise
    assert recipe_for("rings", "ddeq").train == RECIPES["digits", "ddeq"].train


def test_in_few_passes_little_is_varied_and_batches_are_small() -> None:
    changed = {
        ("digits", "ddeq"): ("rotate", "scale", "stretch", "shear", "jitter"),
        ("digits", "pointnet2"): ("rotate", "scale", "stretch", "shear", "jitter"),
        ("modelnet40", "ddeq"): ("scale", "stretch", "shift", "drop"),
        ("modelnet40", "pointnet"): ("scale", "stretch", "shift", "drop"),
        ("folder", "ddeq"): ("jitter",),
    }
    for (data, preset), names in changed.items():
        usual = RECIPES[data, preset]
        assert all(getattr(usual.data, name) for name in names)
        small = replace(usual, train=replace(usual.train, batch_size=32))
        once = replace(small, data=replace(usual.data, **dict.fromkeys(names, 0.0)))
        for epochs, expected in {None: usual, 4: usual, 3: small, 2: small, 1: once}.items():
            assert recipe_for(data, preset, epochs=epochs) == expected, (data, preset, epochs)
    sizes = {RECIPES[key].train.batch_size for key in changed}
    assert sizes == {32, 64}
    for data, preset in (
        ("modelnet40", "dgcnn"),  # as published
        ("mnist", "ddeq-paper"),
        ("digits", "ddeq-paper"),
        ("mnist", "completer"),
    ):
        assert recipe_for(data, preset, epochs=1) == RECIPES[data, preset]
    for (data, preset), recipe in RECIPES.items():
        as_published = preset.startswith("ddeq-paper")
        as_published |= data.startswith("modelnet") and preset in ("dgcnn", "pointnet2")
        assert recipe.published == as_published, (data, preset)


def test_few_points_of_images_have_no_tokens() -> None:
    for data in ("mnist", "fashion-mnist"):
        for points in (None, 0, 101):
            assert recipe_for(data, "ddeq", points=points) == RECIPES[data, "ddeq"]
        for points in (1, 100):
            recipe = recipe_for(data, "ddeq", points=points)
            model = PRESETS["ddeq"]
            assert isinstance(model, DDEQConfig)
            assert recipe.model == replace(model, octaves=4, hiding=0.0)
            usual = RECIPES[data, "ddeq"]
            assert replace(recipe, model=usual.model, data=usual.data) == usual
            assert recipe.data == replace(usual.data, points_at="mean")
            control = recipe_for(data, "ddeq-repeated", points=points).model
            assert control == PRESETS["ddeq-repeated"].sized_like(recipe.model)
    for data in ("digits", "modelnet40", "folder"):
        assert recipe_for(data, "ddeq", points=64) == RECIPES[data, "ddeq"]
    for preset in ("ddeq-paper", "completer"):
        assert recipe_for("mnist", preset, points=64) == RECIPES["mnist", preset]
    usual = RECIPES["mnist", "pointnet"]  # baselines get the same clouds
    same = replace(usual, data=replace(usual.data, points_at="mean"))
    assert recipe_for("mnist", "pointnet", points=64) == same


def test_an_option_is_what_its_field_says() -> None:
    @dataclass(frozen=True)
    class Config:
        size: int = option(3, "of it", common=True)
        word: Literal["a", "b"] = option("a", "which: {choices}")
        place: str | None = option(None, "where")
        names: tuple[str, ...] = option((), "whose")
        other: list[int] = field(default_factory=list)

    size, word, place, names = options_of(Config)
    assert (size.flag, size.kind, size.text, size.common) == ("--size", int, "of it", True)
    assert (word.choices, word.text, word.common) == (("a", "b"), "which: a or b", False)
    assert (place.kind, names.several, names.kind) == (str, True, str)
    assert Config() == Config(size=3)
    every = [
        one.name for kind in (DataConfig, TrainConfig, SolverConfig) for one in options_of(kind)
    ]
    assert len(every) == len(set(every))  # no option would set two fields


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TrainConfig(precision="bfloat16"), "precision must be one of float32, bf16, got "),
        (lambda: TrainConfig(schedule="linear"), "schedule must be one of cosine, step, got 'lin"),
        (lambda: TrainConfig(keep="bset"), "keep must be one of last, best, got 'bset'"),
        (lambda: DataConfig("typo"), "there is no data set typo; expected one of digits, "),
        (lambda: DataConfig(normalise="box"), "normalise must be one of set, z-score, unit-sphere"),
        (lambda: DDEQConfig(velocity="mmd"), "velocity must be one of residual, frozen, through"),
        (lambda: TASKS["completion"][0](loss="l2"), "loss must be one of energy, chamfer-l1"),
    ],
)
def test_a_misspelt_word_is_refused_where_it_is_written(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()
