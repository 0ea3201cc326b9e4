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

from ddeq_models.config import RunConfig
from ddeq_models.recipes import DEFAULT_PRESETS, RECIPES
from ddeq_models.text import in_code, in_markdown, shortened, shown

CARD = "README.md"
# What YAML takes for null or a truth value where it stands bare.
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}

# What the Hub calls the data sets that it has; name, licence and source for the text.
_HUB = {"mnist": "ylecun/mnist", "fashion-mnist": "zalando-datasets/fashion_mnist"}
_SOURCES = {
    "digits": (
        "Digits",
        "the 1,797 digits of the UCI Optical Recognition of Handwritten Digits data set "
        "(E. Alpaydin and C. Kaynak, CC BY 4.0) as measures of pixels",
    ),
    "mnist": (
        "MNIST",
        "the handwritten digits of Y. LeCun, C. Cortes and C. J. C. Burges (CC BY-SA 3.0), "
        "each image as the cloud of its pixels that are not 0",
    ),
    "fashion-mnist": (
        "Fashion-MNIST",
        "the images of clothes of H. Xiao, K. Rasul and R. Vollgraf (MIT), each as the cloud of "
        "its pixels that are not 0",
    ),
    "modelnet10": ("ModelNet10", "the CAD models of Z. Wu et al. 2015 (for academic research)"),
    "modelnet40": ("ModelNet40", "the CAD models of Z. Wu et al. 2015 (for academic research)"),
    "folder": ("a folder of clouds", "clouds of the author's own"),
}
_TITLES = {
    "accuracy": "Accuracy",
    "mean_class_accuracy": "Mean class accuracy",
    "energy_distance": "Energy distance",
    "chamfer_l1": "Chamfer distance, l1",
    "chamfer_l2": "Chamfer distance, l2",
    "f_score": "F-score",
    "wasserstein": "Exact W2",
    "neighbour": "Nearest neighbour, completed points",
    "neighbour_truth": "Nearest neighbour, missing points",
}
_TASKS = {
    "classification": ("point-cloud-classification", "Point cloud classification"),
    "completion": ("point-cloud-completion", "Point cloud completion"),
}
# What the data decide.
_DECIDED = {("data", "root"), ("data", "centre"), ("data", "unit")} | {
    ("model", "point_dim"), ("model", "coordinates")
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
) -> str:
    """The card of a model.

    Args:
        name: Of the model.
        config: How it was trained.
        parameters: How many it has.
        result: What a ``result.json`` holds; None if nothing was measured.
        license: Of the weights, by the Hub's identifier.
        notes: A paragraph, in Markdown.
    """
    measured = figures(result or {})
    parts = [
        f"---\n{_yaml(_head(name, config, measured, license))}---",
        f"# {in_markdown(name)}",
        _summary(config, parameters),
        *([notes.strip()] if notes.strip() else []),
        f"## Use\n\n{_use(name, config)}",
        f"## Training\n\n{_training(config, result or {})}",
        f"## Results\n\n{_results(config, measured, result or {})}",
    ]
    return "\n\n".join(parts) + "\n"


def figures(result: Mapping[str, Any]) -> dict[str, float]:
    """The test figures of a ``result.json`` that a card tells of, in the order of the card."""
    return {
        name: result[f"test_{name}"]
        for name in _TITLES
        if isinstance(result.get(f"test_{name}"), float)
    }


def train_command(config: RunConfig) -> str:
    """The command that trains such a model again; ``DIR`` stands for the folder of the data.

    Everything that differs from the recipe of its data set and preset is an option.
    """
    words = ["ddeq", "train", "--data", config.data.name]
    if config.data.name != "digits":
        words += ["--root", "DIR"]
    if config.task.kind != "classification":
        words += ["--task", config.task.kind]
    values, recipe = config.to_dict(), RECIPES.get((config.data.name, config.preset))
    if recipe is None or recipe.model.kind != config.model.kind:
        return shlex.join([*words, "--config", "config.json"])
    if config.preset != DEFAULT_PRESETS[config.task.kind]:
        words += ["--preset", config.preset]
    usual = RunConfig("", (), recipe.data, recipe.model, recipe.train, task=recipe.task).to_dict()
    for section in ("task", "data", "model", "train"):
        for key, value in values[section].items():
            if (
                (section, key) not in _DECIDED
                and key != "classes"
                and value != usual[section].get(key)
            ):
                text = value if isinstance(value, str) else json.dumps(value)
                words += ["--set", f"{section}.{key}={text}"]
    return shlex.join(words)


def _head(
    name: str, config: RunConfig, measured: Mapping[str, float], license: str | None
) -> dict[str, Any]:
    data, (kind, title) = config.data.name, _TASKS[config.task.kind]
    head: dict[str, Any] = {}
    if license is not None:
        head["license"] = license
    head |= {
        "library_name": "ddeq-models",
        "tags": ["point-cloud", kind, "deep-equilibrium", "wasserstein-gradient-flow"],
    }
    if data in _HUB:
        head["datasets"] = [_HUB[data]]
    if measured:
        head["metrics"] = list(measured)
        head["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": kind, "name": title},
                        "dataset": {
                            "type": _HUB.get(data, data),
                            "name": _SOURCES[data][0],
                            "split": "test",
                        },
                        "metrics": [
                            {"type": figure, "value": round(value, 5), "name": _TITLES[figure]}
                            for figure, value in measured.items()
                        ],
                    }
                ],
            }
        ]
    return head


def _summary(config: RunConfig, parameters: int) -> str:
    data = _SOURCES[config.data.name][0]
    if config.task.kind == "classification":
        does = f"It gives each cloud one of {len(config.classes)} classes: "
        does += (
            ", ".join(in_markdown(shortened(c)) for c in config.classes[:12])
            + (", ..." if len(config.classes) > 12 else "")
            + "."
        )
    else:
        does = "It adds the points that are missing from a cloud."
    return (
        f"A model of `ddeq-models` for clouds of points in "
        f"{config.model.point_dim} dimensions, trained on {data}; preset {in_code(config.preset)}, "
        f"{parameters:,} parameters. {does}"
    )


def _use(name: str, config: RunConfig) -> str:
    word, literal = shlex.quote(shown(name)), json.dumps(shown(name), ensure_ascii=False)
    if config.task.kind == "classification":
        command, function = f"ddeq predict {word} FILE...", f'predict({literal}, ["cloud.npy"])'
    else:
        command = f"ddeq complete {word} FILE... --out DIR"
        function = f'complete({literal}, ["cloud.npy"], "out")'
    verb = function.split("(")[0]
    return (
        f"```\n{command}\n```\n\n```python\nfrom ddeq_models import from_pretrained, {verb}\n\n"
        f"{function}\nmodel = from_pretrained({literal})  # a torch module\n```\n\n"
        f"{in_code(name)} stands for this folder, wherever it is. A FILE is npy, npz, txt, csv, "
        f"xyz, pts, off, ply or pcd and holds a point in each row. {_expected(config)}"
    )


def _expected(config: RunConfig) -> str:
    frame = getattr(config.model, "frame", None)
    if config.task.kind == "completion" and frame == "visible":
        unit = "The model sees it in the frame of what is visible, so that any unit will do."
    elif config.task.kind == "completion":
        unit = "Points are taken in the unit of the normalised clouds of the training."
    else:
        unit = f"Each cloud is {_NORMALISED[config.data.normalise]}."
    if config.data.name not in ("digits", "mnist", "fashion-mnist"):
        return unit
    weigh = config.data.weighted or config.data.name == "digits"
    weights = (
        "In the training a point weighed as much as its pixel's value: a file does best to hold "
        "these values as `weights`."
        if weigh
        else "In the training all points weighed the same; weights in a file are respected."
    )
    return (
        f"{unit} **x goes to the right and y upwards**, so the rows of an image, which count from "
        f"the top, are to be turned over: `points = np.stack([columns, -rows], 1)` with `rows, "
        f"columns = np.nonzero(image)`, where `image` is 0 on the background. {weights}"
    )


def _training(config: RunConfig, result: Mapping[str, Any]) -> str:
    title, source = _SOURCES[config.data.name]
    seen = f"{title}: {source}. A part of the training clouds was kept for validation."
    again = f"```\n{shown(train_command(config))}\n```"
    by = in_markdown(config.version) or "of an unknown version"
    epoch, epochs = result.get("epoch", config.train.epochs), config.train.epochs
    weights = "" if epoch == epochs else f" The weights are those after epoch {epoch} of {epochs}."
    return (
        f"{seen}\n\n{again}\n\n(ddeq-models {by}.){weights} "
        "`config.json` holds every setting. The same command gives the same weights, to the bit, "
        "on the same machine and number of threads."
    )


def _results(config: RunConfig, measured: Mapping[str, float], result: Mapping[str, Any]) -> str:
    if not measured:
        return "Not measured."
    clouds = result.get("test_clouds")
    lines = [
        f"On the {clouds:,} test clouds:" if clouds else "On the test clouds:",
        "",
        "| figure | value |",
        "| --- | --- |",
    ]
    for name, value in measured.items():
        shown = f"{value:.2%}" if "accuracy" in name else f"{value:.4f}"
        lines.append(f"| {_TITLES[name]} | {shown} |")
    if result.get("solver_steps_mean") is not None:
        lines.append(f"| Solver's steps, mean | {result['solver_steps_mean']:.1f} |")
    if result.get("solver_failures") is not None:
        lines.append(f"| Solver's failures | {result['solver_failures']} |")
    if config.task.kind == "completion":
        lines += [
            "",
            f"Protocol `{getattr(config.task, 'protocol', '')}`; lengths are in the unit of the "
            "normalised clouds, formulas in `ddeq_models.cloud_distances`.",
        ]
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
