"""Pictures of results: what accuracy costs in parameters."""

import statistics
from pathlib import Path

from benchmarks.frozen.store import RESULTS, entries

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
# Names of entries, by their beginning: one line each.
LINES = {
    "ddeq-repeated": "the same cell, applied k times",
    "ddeq": "DDEQ",
    "pointnet": "PointNet",
}


def points(task: str, results: Path = RESULTS) -> dict[str, list[tuple[int, float, float]]]:
    """Parameters, mean and standard deviation of the test accuracy of each line's entries."""
    lines: dict[str, list[tuple[int, float, float]]] = {}
    for one in entries(task, results):
        found = list(one.results().values())
        line = next((text for start, text in LINES.items() if one.name.startswith(start)), None)
        if found and line is not None:
            accuracies = [r["test_accuracy"] for r in found]
            spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
            lines.setdefault(line, []).append(
                (found[0]["parameters"], statistics.mean(accuracies), spread)
            )
    return {line: sorted(values) for line, values in lines.items()}


def draw(results: Path = RESULTS, out: Path = PICTURES) -> list[Path]:
    """Accuracy against parameters, for each task ``*-parameters`` that has results."""
    drawn = []
    for folder in sorted(results.glob("*-parameters")):
        lines = points(folder.name, results)
        if lines:
            drawn.append(_picture(lines, out / f"{folder.name}.png"))
    return drawn


def _picture(lines: dict[str, list[tuple[int, float, float]]], path: Path) -> Path:
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="parameters", ylabel="test accuracy, %")
    for line, values in lines.items():
        sizes, means, spreads = zip(*values, strict=True)
        axes.errorbar(
            sizes,
            [100 * mean for mean in means],
            yerr=[100 * spread for spread in spreads],
            marker="o",
            capsize=3,
            label=line,
        )
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return path
