"""The one recorder of flows: what the solver did with some clouds, for pictures and the page."""

from __future__ import annotations

import torch

from ddeq_data import Cloud, CloudDataset, collate
from ddeq_models.config import RunConfig
from ddeq_models.data import moved, view
from ddeq_models.models.classifier import DDEQ
from ddeq_models.models.paper import PaperClassifier
from ddeq_models.report.attention import particle_attention
from ddeq_models.report.pictures.flow import Flow
from ddeq_models.report.samples import one_of_each

__all__ = ["recorded_flows"]


@torch.no_grad()
def recorded_flows(
    config: RunConfig,
    model: DDEQ | PaperClassifier,
    dataset: CloudDataset,
    most: int,
    device: torch.device,
) -> list[Flow]:
    """The flow of the first cloud of each of some classes, spread over all classes.

    Args:
        config: The run's.
        model: Its model, in evaluation mode.
        dataset: Clouds, not normalised.
        most: How many classes.
        device: Where the model is.
    """
    clouds = [dataset[i] for i in one_of_each(dataset, most)]
    batch = moved(collate(clouds), device, view(config.data))
    context = model.encode(batch.points, batch.weights)
    answer = model(batch.points, batch.weights, trajectory=True)
    solution = answer.solution
    assert solution.trajectory is not None
    attention = particle_attention(model, context, solution.measure.points).cpu()
    # Where some points are taken of large clouds, or tokens in their stead, they come otherwise.
    assert context.places is not None
    assert context.weights is not None
    places, masses = context.places.cpu(), context.weights.cpu()
    as_they_are = not config.data.points and not getattr(model.config, "tokens", ())
    as_they_are = as_they_are and places.shape[:2] == batch.points.shape[:2]
    probabilities = answer.logits.softmax(-1).cpu()
    trajectory = solution.trajectory.float().cpu().numpy()  # (K, B, n, h)
    flows = []
    for i, cloud in enumerate(clouds):
        whole = None
        if not as_they_are:
            real = batch.weights[i] > 0
            seen = batch.points[i][real][:, : dataset.coordinates], batch.weights[i][real]
            whole = seen[0].cpu().numpy(), seen[1].cpu().numpy()
            there = masses[i] > 0
            cloud = Cloud(places[i][there], masses[i][there], cloud.label)
        best = int(probabilities[i].argmax())
        flows.append(
            Flow(
                points=cloud.points[:, : dataset.coordinates].numpy(),
                weights=cloud.weights.numpy(),
                trajectory=trajectory[: int(solution.steps[i]), i],
                truth=config.classes[cloud.label],
                predicted=config.classes[best],
                probability=float(probabilities[i, best]),
                attention=attention[i][:, : len(cloud.points)].numpy(),
                message=solution.message(i),
                whole=whole,
            )
        )
    return flows
