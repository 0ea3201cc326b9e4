"""Model cards: the ``README.md`` of a model folder, with the head that the Hugging Face Hub reads.

The head is YAML: licence, library, tags, data sets, metrics, and under ``model-index`` the figures
in the form of the Hub's evaluation results. The text below it is for people.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ddeq_models._internal.text import in_code, in_markdown, shown
from ddeq_models.config import ARRAYS, RunConfig, TaskConfig
from ddeq_models.data import entry
from ddeq_models.recipes import default_preset, recipe_for
from ddeq_models.registry import PRESETS
from ddeq_models.tasks.base import Task, build_task

CARD = "README.md"
# What YAML takes for null or a truth value where it stands bare.
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}

# What the data decide.
_DECIDED = {("data", "root"), ("data", "centre"), ("data", "unit")} | {
    ("model", "point_dim"), ("model", "coordinates"), ("model", "classes"), ("model", "outputs"),
    ("task", "centre"), ("task", "unit"),
}  # fmt: skip
_NORMALISED = {
    "set": "seen in the one frame, centre and scale, of the training clouds, so that it must come "
    "in their unit",
    "z-score": "moved and stretched along each axis to mean 0 and variance 1, so that any unit "
    "will do",
    "unit-sphere": "moved and scaled into the unit sphere, so that any unit will do",
    "none": "taken as it is",
}


def model_card(
    name: str,
    config: RunConfig,
    parameters: int,
    result: Mapping[str, Any] | None,
    *,
    license: str | None = None,
    notes: str = "",
    unfinished: int = 0,
) -> str:
    """The card of a model.

    Args:
        name: Of the model.
        config: How it was trained.
        parameters: How many it has.
        result: What a ``result.json`` holds; None if nothing was measured.
        license: Of the weights, by the Hub's identifier.
        notes: A paragraph, in Markdown.
        unfinished: Of a training that did not end, the epoch whose weights these are; else 0.
    """
    task = build_task(config)
    measured = figures(task, result or {})
    parts = [
        f"---\n{_yaml(_head(name, task, measured, license))}---",
        f"# {in_markdown(name)}",
        _summary(task, parameters),
        *([notes.strip()] if notes.strip() else []),
        f"## Use\n\n{_use(name, task)}",
        f"## Training\n\n{_training(config, result or {}, unfinished)}",
        f"## Results\n\n{_results(task, measured, result or {})}",
    ]
    return "\n\n".join(parts) + "\n"


def figures(task: Task, result: Mapping[str, Any]) -> dict[str, float]:
    """The test figures of a ``result.json`` that a card tells of, in the order of the card."""
    return {
        name: result[f"test_{name}"]
        for name in task.card().titles
        if isinstance(result.get(f"test_{name}"), float)
    }


def train_command(config: RunConfig) -> str:
    """The command that trains such a model again; ``DIR`` stands for the folder of the data.

    Everything that differs from the recipe of its data set and preset is an option.
    """
    plugins = config.to_dict().get("plugins", ())
    words = ["ddeq", *(word for module in plugins for word in ("--import", module))]
    words += ["train", "--data", config.data.name]
    if entry(config.data.name).find is not None:
        words += ["--root", "DIR"]
    if config.task.kind != TaskConfig.default_kind:
        words += ["--task", config.task.kind]
    values, known = config.to_dict(), config.preset in PRESETS
    if not known or PRESETS[config.preset].kind != config.model.kind:
        return shlex.join([*words, "--config", "config.json"])
    recipe = recipe_for(config.data.name, config.preset)
    if config.preset != default_preset(config.task.kind):
        words += ["--preset", config.preset]
    usual = RunConfig("", (), recipe.data, recipe.model, recipe.train, task=recipe.task).to_dict()
    for section in ("task", "data", "model", "train"):
        for key, value in values[section].items():
            if (section, key) not in _DECIDED and value != usual[section].get(key):
                text = value if isinstance(value, str) else json.dumps(value)
                words += ["--set", f"{section}.{key}={text}"]
    return shlex.join(words)


def _head(
    name: str, task: Task, measured: Mapping[str, float], license: str | None
) -> dict[str, Any]:
    data, card = entry(task.config.data.name), task.card()
    head: dict[str, Any] = {}
    if license is not None:
        head["license"] = license
    head |= {
        "library_name": "ddeq-models",
        "tags": ["point-cloud", card.tag, "deep-equilibrium", "wasserstein-gradient-flow"],
    }
    if data.hub:
        head["datasets"] = [data.hub]
    if measured:
        head["metrics"] = list(measured)
        head["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": card.tag, "name": card.title},
                        "dataset": {
                            "type": data.hub or data.name,
                            "name": data.title or data.name,
                            "split": "test",
                        },
                        "metrics": [
                            {"type": figure, "value": round(value, 5), "name": card.titles[figure]}
                            for figure, value in measured.items()
                        ],
                    }
                ],
            }
        ]
    return head


def _summary(task: Task, parameters: int) -> str:
    config = task.config
    data = entry(config.data.name)
    return (
        f"A model of `ddeq-models` for clouds of points in "
        f"{config.model.point_dim} dimensions, trained on {data.title or data.name}; preset "
        f"{in_code(config.preset)}, {parameters:,} parameters. {task.card().does}"
    )


def _use(name: str, task: Task) -> str:
    word, literal = shlex.quote(shown(name)), json.dumps(shown(name), ensure_ascii=False)
    command, imported, called = "", "from_pretrained", ""
    if task.command:
        out = (" --out DIR", ', "out"') if task.command == "complete" else ("", "")
        command = f"```\nddeq {task.command} {word} FILE...{out[0]}\n```\n\n"
        imported += f", {task.command}"
        called = f'{task.command}({literal}, ["cloud.npy"]{out[1]})\n'
    return (
        f"{command}```python\nfrom ddeq_models import {imported}\n\n"
        f"{called}model = from_pretrained({literal})  # a torch module\n```\n\n"
        f"{in_code(name)} stands for this folder, wherever it is. A FILE is npy, npz, txt, csv, "
        f"xyz, pts, off, ply or pcd and holds a point in each row. {_expected(task)}"
    )


def _expected(task: Task) -> str:
    config, data = task.config, entry(task.config.data.name)
    unit = task.card().expected or f"Each cloud is {_NORMALISED[config.data.normalise]}."
    if not data.image:
        return unit
    weigh = config.data.weighted or data.weighed
    weights = (
        "In the training a point weighed as much as its pixel's value: a file does best to hold "
        "these values, `np.savez(FILE, points=points, weights=image[rows, columns])`."
        if weigh
        else "In the training all points weighed the same; weights in a file are respected."
    )
    return (
        f"{unit} **x goes to the right and y upwards**, so the rows of an image, which count from "
        f"the top, are to be turned over: `points = np.stack([columns, len(image) - 1 - rows], 1)` "
        f"with `rows, columns = np.nonzero(image)`, where `image` is 0 on the background. {weights}"
    )


def kept_of(card: str) -> tuple[str | None, str]:
    """The licence and the notes of a card; of one that somebody wrote, all its text is notes."""
    head, body = "", card
    if found := re.match(r"---\n(.*?\n)---\n", card, re.DOTALL):
        head, body = found[1], card[found.end() :]
    body = re.split(r"^## Use$", body, maxsplit=1, flags=re.MULTILINE)[0]
    body = re.sub(r"\A\s*# .*\n", "", body)
    body = re.sub(r"\A\s*A model of `ddeq-models` .*\n", "", body)
    named = re.search(r"^license: *(\S.*?) *$", head, re.MULTILINE)
    return named and named[1].strip("\"'"), body.strip()


def _training(config: RunConfig, result: Mapping[str, Any], unfinished: int) -> str:
    data = entry(config.data.name)
    validated = "A part of the training clouds was kept for validation."
    if config.data.learn_from != "train":
        validated = "It learnt from the clouds for validation as well."
    elif config.data.name == ARRAYS:
        validated = "Clouds for validation were given beside those for training."
    seen = f"{data.title or data.name}: {data.source or data.text}. {validated}"
    again, what = f"```\n{shown(train_command(config))}\n```", "command"
    if config.data.name == ARRAYS:  # of which no command knows
        other = "" if config.task.kind == TaskConfig.default_kind else ", task=config.task"
        call = _FROM_MEMORY.format(other=other)
        again, what = f"```python\n{call}\n```", "call on the same clouds"
    by = in_markdown(config.version) or "of an unknown version"
    epochs = config.train.epochs
    epoch = unfinished or result.get("epoch")
    weights = ""
    if epoch not in (None, epochs):
        weights = f" The weights are those after epoch {epoch} of {epochs}."
    if unfinished:
        repeated = f"The training was not finished: the same {what} trains to its end."
    elif epoch is None:
        repeated = (
            f"Whether the training was finished is not known, nor what the same {what} gives."
        )
    elif config.train.max_minutes:
        repeated = (
            f"The training had {config.train.max_minutes:g} minutes (`--max-minutes`): how far it "
            f"came is a matter of the clock, and the same {what} may give other weights."
        )
    else:
        repeated = (
            f"The same {what} gives the same weights, to the bit, on the same machine and number "
            "of threads."
        )
    settings = "`config.json` holds every setting."
    return f"{seen}\n\n{again}\n\n(ddeq-models {by}.){weights} {settings} {repeated}"


_FROM_MEMORY = (
    "config = RunFolder(FOLDER).config()  # this folder\n"
    "train(config.model, config.data, config.train, sets=(train, validation, test){other})"
)


def _results(task: Task, measured: Mapping[str, float], result: Mapping[str, Any]) -> str:
    if not measured:
        return "Not measured."
    clouds, card = result.get("test_clouds"), task.card()
    lines = [
        f"On the {clouds:,} test clouds:" if clouds else "On the test clouds:",
        "",
        "| figure | value |",
        "| --- | --- |",
    ]
    for name, value in measured.items():
        share = "accuracy" in name or "iou" in name
        shown = f"{value:.2%}" if share else f"{value:.4g}"
        lines.append(f"| {card.titles[name]} | {shown} |")
    if result.get("solver_steps_mean") is not None:
        lines.append(f"| Solver's steps, mean | {result['solver_steps_mean']:.1f} |")
    if result.get("solver_failures") is not None:
        lines.append(f"| Solver's failures | {result['solver_failures']} |")
    if card.notes:
        lines += ["", card.notes]
    return "\n".join(lines)


def _yaml(value: Any, indent: str = "") -> str:
    """Block YAML of dictionaries, lists, strings and numbers; scalars as JSON, which YAML reads."""
    text = ""
    for key, item in value.items() if isinstance(value, Mapping) else ((None, v) for v in value):
        start = f"{indent}- " if key is None else f"{indent}{key}:"
        if isinstance(item, Mapping | list):
            inner = _yaml(item, indent + "  ")
            # The first key of an item stands behind its dash.
            text += start + (inner.lstrip() if key is None else "\n" + inner)
        else:
            gap = "" if key is None else " "
            text += f"{start}{gap}{_scalar(item)}\n"
    return text


def _scalar(item: Any) -> str:
    """A scalar that YAML reads as what it is: words that it takes for others are quoted."""
    if not isinstance(item, str):
        return json.dumps(item)
    plain = re.fullmatch(r"[A-Za-z]+([-_][A-Za-z]+)*", item) and item.lower() not in _WORDS
    return item if plain else json.dumps(shown(item), ensure_ascii=False)
