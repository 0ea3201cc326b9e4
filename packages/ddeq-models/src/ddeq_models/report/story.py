"""What a report tells of one run, as plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ddeq_data import CloudDataset, DataError
from ddeq_models._internal.files import read_owned
from ddeq_models.data import batches, check_fit, moved, view
from ddeq_models.errors import UserError
from ddeq_models.measuring.measure import EVALUATION_BATCH
from ddeq_models.models.classifier import DDEQ
from ddeq_models.models.paper import PaperClassifier
from ddeq_models.report.answers import ESTIMATES, PARTS, answer_pictures
from ddeq_models.report.pictures.flow import Flow
from ddeq_models.report.pictures.projection import Up, on_paper, principal_plane, up_of
from ddeq_models.report.recording import recorded_flows
from ddeq_models.report.samples import CompletedCloud, classes_in, completed_clouds, one_of_each
from ddeq_models.runs.calibration import read_calibration
from ddeq_models.runs.clouds import open_clouds
from ddeq_models.runs.folder import RunFolder
from ddeq_models.runs.records import checked_result
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.completion import Completion

Array = np.ndarray[Any, np.dtype[Any]]

FLOWS = 12  # classes of which a flow is shown
FAILURES = 12  # wrongly classified clouds that are shown
COMPLETIONS, WORST, JUDGED = 9, 4, 512  # completed clouds shown, the worst of so many
SHOWN_POINTS = 400  # of one cloud: more cannot be told apart on a screen


@dataclass(frozen=True)
class PlayedFlow:
    """A flow as the page plays it: what was recorded, in the plane.

    Attributes:
        cloud: ``(m, 3)``: two coordinates and the weight relative to the largest.
        path: ``(K, n, 2)``: the particles at each evaluation in the plane of their largest
            principal components.
        rest: ``(n, 2)``: the equilibrium in the plane in which it is widest.
        attention: ``(n, m)``: how much each particle looks at each point at the equilibrium.
        gaps: ``(K,)``: distance to the equilibrium, relative to its size.
        recorded: All the rest.
    """

    cloud: Array
    path: Array
    rest: Array
    attention: Array
    gaps: Array
    recorded: Flow


@dataclass(frozen=True)
class Failure:
    """A cloud of the test that was given a wrong class.

    Attributes:
        cloud: ``(m, 3)``, as in `PlayedFlow`.
        index: Its place in the test split.
        truth: Name of the true class.
        predicted: Name of the predicted one.
        probability: Its probability.
    """

    cloud: Array
    index: int
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Story:
    """Everything that a page says of one run.

    Attributes:
        name: Of the run folder.
        config: ``config.json``.
        result: ``result.json``.
        train: The records of the training.
        validation: Those of the validation.
        pictures: PNG files of the run folder by name.
        flows: Of some test clouds; empty for a model that solves nothing.
        failures: The wrongly classified test clouds with the most confident answers.
        wrong: How many were classified wrongly.
        unsolved: How many equilibria were not found to the tolerance.
        completions: Of some test clouds.
        worst: The completions that are farthest from the truth, of `judged` test clouds.
        judged: How many clouds the worst are from.
        classes: How many classes there are clouds of in the test split.
        clouds: How many clouds there are in it.
        note: Why there are no clouds to show, or nothing.
        damaged: How many lines of the records are damaged and left out.
    """

    name: str
    config: dict[str, Any]
    result: dict[str, Any]
    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    pictures: dict[str, bytes] = field(default_factory=dict)
    flows: tuple[PlayedFlow, ...] = ()
    failures: tuple[Failure, ...] = ()
    wrong: int = 0
    unsolved: int = 0
    completions: tuple[CompletedCloud, ...] = ()
    worst: tuple[CompletedCloud, ...] = ()
    judged: int = 0
    classes: int = 0
    clouds: int = 0
    note: str = ""
    damaged: int = 0


def tell(run: RunFolder, device: torch.device, root: str | None = None) -> Story:
    """Read a run folder, and see what its model does with the test clouds.

    Args:
        run: The run folder, or a model folder.
        device: Where the model works.
        root: Folder of the data; None is the run's own.

    Raises:
        UserError: The run is not finished, or a file of it is damaged.
    """
    config, records = run.config(), run.metrics()
    result = checked_result(run.result(), len(config.classes))
    story = Story(
        name=run.path.resolve().name,
        config=config.to_dict(),
        result=result,
        train=[r for r in records if r.get("split") == "train" and "step" in r],
        validation=[r for r in records if r.get("split") == "validation" and "step" in r],
        damaged=run.damaged_records(),
        pictures=_pictures(run),
    )
    try:
        test_set = open_clouds(run, "test", root)
        check_fit(test_set, config.model.point_dim, config.classes, config.data.target)
    except (DataError, UserError) as error:
        return replace(story, note=f"The test clouds are not at hand: {error}")
    story = replace(story, classes=classes_in(test_set), clouds=len(test_set))
    more = STORIES.get(config.task.kind)
    return story if more is None else more(story, run, test_set, device)


def _pictures(run: RunFolder) -> dict[str, bytes]:
    """The pictures of predictions; what only bears such a name is left out."""
    found = {}
    names = ("completion*", ESTIMATES, PARTS)
    for path in sorted(path for name in names for path in run.path.glob(f"{name}.png")):
        with suppress(UserError, OSError):
            content = read_owned(run.path, path.name)
            if content.startswith(b"\x89PNG\r\n\x1a\n"):
                found[path.stem] = content
    return found


def _with_completions(
    story: Story, run: RunFolder, test_set: CloudDataset, device: torch.device
) -> Story:
    task, model = build_task(run.config()), run.model(device)
    assert isinstance(task, Completion)
    shown = completed_clouds(task, model, test_set, one_of_each(test_set, COMPLETIONS), device)
    count = min(JUDGED, len(test_set))
    judged: list[CompletedCloud] = []
    for start in range(0, count, EVALUATION_BATCH):
        some = range(start, min(start + EVALUATION_BATCH, count))
        indices = [i * len(test_set) // count for i in some]  # spread over the whole split
        judged += completed_clouds(task, model, test_set, indices, device)
    known = [c for c in judged if np.isfinite(c.distance)]
    return replace(
        story,
        completions=tuple(shown),
        worst=tuple(sorted(known, key=lambda c: -c.distance)[:WORST]),
        judged=count,
        unsolved=sum(not c.solved for c in judged),
    )


def _with_answers(
    story: Story, run: RunFolder, test_set: CloudDataset, device: torch.device
) -> Story:
    pictures = answer_pictures(build_task(run.config()), run.model(device), test_set, device)
    return replace(story, pictures=pictures)


@torch.no_grad()
def _with_clouds(
    story: Story, run: RunFolder, test_set: CloudDataset, device: torch.device
) -> Story:
    config = run.config()
    model, up = run.model(device), up_of(config.data.release)
    seen = view(config.data)
    loader, sampler = batches(test_set, EVALUATION_BATCH)
    order = [i for batch in sampler for i in batch]
    known = read_calibration(run.path, len(config.classes))
    temperature = 1.0 if known is None else float(known.temperature)
    probabilities, unsolved = [], 0
    for batch in loader:
        batch = moved(batch, device, seen)
        output = model(batch.points, batch.weights)
        probabilities.append((output.logits / temperature).softmax(-1).cpu())
        if output.solution is not None:
            unsolved += int(output.solution.failed.sum())
    answers = torch.empty(len(order), len(config.classes))
    answers[torch.tensor(order)] = torch.cat(probabilities)
    best, predicted = answers.max(-1)
    labels = torch.as_tensor(test_set.labels)
    wrong = (predicted != labels).nonzero()[:, 0]
    worst = wrong[best[wrong].argsort(descending=True, stable=True)][:FAILURES]
    failures = tuple(
        Failure(
            cloud=_shown(*_arrays(test_set, i), up)[0],
            index=i,
            truth=config.classes[int(labels[i])],
            predicted=config.classes[int(predicted[i])],
            probability=float(best[i]),
        )
        for i in worst.tolist()
    )
    flows: tuple[PlayedFlow, ...] = ()
    if isinstance(model, DDEQ | PaperClassifier):
        flows = _flows(run, model, test_set, device)
    return replace(story, flows=flows, failures=failures, wrong=len(wrong), unsolved=unsolved)


def _flows(
    run: RunFolder, model: DDEQ | PaperClassifier, test_set: CloudDataset, device: torch.device
) -> tuple[PlayedFlow, ...]:
    """The flow of the first test cloud of each of some classes, spread over all classes."""
    config = run.config()
    recorded = recorded_flows(config, model, test_set, FLOWS, device)
    width = recorded[0].trajectory.shape[-1] if recorded else 1
    every = [flow.trajectory.reshape(-1, width) for flow in recorded]
    project, _ = principal_plane(np.concatenate(every or [np.zeros((1, 1))]))
    return tuple(_played(flow, project, up_of(config.data.release)) for flow in recorded)


def _played(flow: Flow, project: Callable[[Array], Array], up: Up) -> PlayedFlow:
    path = flow.trajectory
    shown, chosen = _shown(flow.points, flow.weights, up)
    gaps = np.sqrt(np.square(path - path[-1]).sum((1, 2)))
    assert flow.attention is not None
    return PlayedFlow(
        cloud=shown,
        path=project(path),
        rest=principal_plane(path[-1])[0](path[-1]),
        attention=flow.attention[:, chosen],
        gaps=gaps / max(float(np.sqrt(np.square(path[-1]).sum())), 1e-30),
        recorded=flow,
    )


def _arrays(dataset: CloudDataset, index: int) -> tuple[Array, Array]:
    """Coordinates and weights of a cloud, without its features."""
    cloud = dataset[index]
    return cloud.points[:, : dataset.coordinates].numpy(), cloud.weights.numpy()


def _shown(points: Array, weights: Array, up: Up) -> tuple[Array, Array]:
    """The points of a cloud that are drawn, ``(m, 3)``, and their indices."""
    count = len(points)
    chosen = np.arange(count)
    if count > SHOWN_POINTS:
        chosen = np.linspace(0, count - 1, SHOWN_POINTS).round().astype(int)
    plane, _ = on_paper(points, up)
    weights = weights / max(float(weights.max()), 1e-30)
    return np.concatenate([plane, weights[:, None]], 1)[chosen], chosen


# What a task tells beside its figures and curves.
STORIES: dict[str, Callable[[Story, RunFolder, CloudDataset, torch.device], Story]] = {
    "classification": _with_clouds,
    "completion": _with_completions,
    "regression": _with_answers,
    "segmentation": _with_answers,
}
