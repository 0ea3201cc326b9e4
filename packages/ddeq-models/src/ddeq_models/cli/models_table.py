"""What models there are: the architectures by their presets, and the weights that are shipped."""

from __future__ import annotations

import torch

from ddeq_models.cli.tables import Row, table
from ddeq_models.models.base import build_model
from ddeq_models.registry import PRESETS
from ddeq_models.runs.card import figures
from ddeq_models.runs.pretrained import SHIPPED, open_model, shipped_names
from ddeq_models.tasks.base import build_task


def listing() -> str:
    """A table of the architectures and one of the models that come with the package."""
    rows: list[Row] = [("name", "task", "parameters", "what it is")]
    for name, preset in PRESETS.items():
        with torch.random.fork_rng([]):
            model = build_model(preset.for_data(2, 10))
        count = sum(p.numel() for p in model.parameters())
        rows.append((name, preset.task, f"{count:,}", PRESETS.texts[name]))
    lines = ["architectures, for ddeq train --preset NAME (parameters: 2-D points, 10 classes)", ""]
    lines += table(rows, right={2})
    rows = [("name", "task", "parameters", "size", "trained on", "test figures")]
    for name in shipped_names():
        folder = open_model(name)
        config, result = folder.config(), folder.result()
        weights = sum(file.stat().st_size for file in (SHIPPED / name).iterdir())
        shown = [
            f"{figure.replace('_', ' ')} {value:.2%}"
            if "accuracy" in figure or "iou" in figure
            else f"{figure.replace('_', ' ')} {value:.3f}"
            for figure, value in figures(build_task(config), result).items()
        ]
        rows.append(
            (
                name,
                config.task.kind,
                f"{result['parameters']:,}",
                f"{weights / 1e6:.2f} MB",
                config.data.name,
                ", ".join(shown[:2]),
            )
        )
    lines += ["", "trained, for the place of RUN: ddeq predict mnist-classifier FILE...", ""]
    lines += table(rows, right={2, 3})
    lines += [
        "",
        "ddeq models show NAME prints the model card; ddeq models save RUN DIR makes a model",
        "folder of a run, in the layout of the Hugging Face Hub.",
    ]
    return "\n".join(lines)
