r"""What the equilibria of a trained model are like, cloud by cloud.

At the equilibrium ``Z* = f(Z*)`` of each cloud, with ``J = ∂f/∂Z``:

- the eigenvalues of ``J`` of largest modulus, by Arnoldi's method. Where all are inside the unit
  disc the plain iteration of ``f`` converges, at the rate of the largest; an eigenvalue near 1
  makes the equilibrium and its gradient ill-conditioned;
- how far the linear solve of the exact gradient came;
- the angle between the one-step phantom gradient of the loss and the exact one, over all weights:
  0 is the same direction, and what is below 90 degrees still descends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ddeq_models._internal.device import choose_device
from ddeq_models.config import SPLITS, Split
from ddeq_models.config.data import check_split
from ddeq_models.data import batches, check_fit, moved, view
from ddeq_models.data.arrays import Sets, sets_of
from ddeq_models.errors import UserError
from ddeq_models.measuring.measure import CHANCE
from ddeq_models.runs.clouds import open_clouds
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import Task, build_task
from wgf_solver import (
    GMRES,
    Adjoint,
    AdjointReport,
    Flow,
    Implicit,
    LinearStatus,
    Measure,
    Phantom,
)

SHOWN = 5  # eigenvalues of each cloud
PRODUCTS = 60  # dimension of the Krylov space


def diagnose(
    run: str | Path,
    *,
    clouds: int = 8,
    root: str | None = None,
    split: Split = "test",
    sets: Sets | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Look at the equilibria of a trained model.

    Args:
        run: The run folder, a model folder, or the name of a shipped model.
        root: Folder of the data; None is the run's own.
        clouds: How many clouds, spread evenly over the split.
        split: ``train``, ``validation`` or ``test``.
        sets: The three splits, of a run whose clouds came from memory; see `ddeq_models.train`.
        device: See `choose_device`.

    Returns:
        ``clouds``, a list with for each cloud ``steps``, ``residual`` and ``converged`` of the
        solver; ``eigenvalues`` (pairs of real and imaginary part, the largest first) and
        ``eigenvalue_error`` (how far they are from such, at most); ``adjoint_residual``,
        ``adjoint_steps`` and ``adjoint_converged`` of the exact gradient; ``cosine`` and ``angle``
        (in degrees) between phantom and exact gradient. And ``data``, ``split``, and ``cosine`` and
        ``angle`` of the gradients of all these clouds together.

    Raises:
        UserError: The run or the device cannot be used, or its model solves nothing.
        DataError: The files of the data are missing or damaged.
    """
    if clouds < 1:
        raise UserError(f"clouds must be at least 1, got {clouds}")
    check_split(split)
    place = choose_device(device)
    folder = open_model(run)
    config = folder.config()
    model, task = folder.model(place), build_task(config)
    if not hasattr(model, "solver"):
        raise UserError(f"the model {config.model.kind} of {folder.path} solves nothing")
    if sets is None:
        dataset = open_clouds(folder, split, root)
    else:
        dataset = sets_of(sets, config.data.target, config.classes)[SPLITS.index(split)]
        check_fit(dataset, config.model.point_dim, config.classes, config.data.target)
    chosen = {len(dataset) * i // clouds for i in range(clouds)}
    seen = view(config.data)
    generator = torch.Generator().manual_seed(CHANCE)
    found: list[dict[str, Any]] = []
    exact_sum = phantom_sum = torch.zeros(())
    loader, _ = batches(dataset, 1)
    for number, batch in enumerate(loader):
        inputs = task.prepare(moved(batch, place, seen), generator)
        if number in chosen:
            cloud, exact, phantom = _look(task, model, inputs)
            found.append(cloud)
            exact_sum, phantom_sum = exact_sum + exact, phantom_sum + phantom
    return {
        "data": config.data.name,
        "split": split,
        "clouds": found,
        **_angle(exact_sum, phantom_sum),
    }


def _look(task: Task, model: nn.Module, inputs: Any) -> tuple[dict[str, Any], Tensor, Tensor]:
    """The figures of one cloud, its exact gradient and its phantom one."""
    spectrum = Spectrum()
    linear = GMRES(rtol=1e-5, restart=60, max_steps=300)
    exact, solution = _gradient(task, model, inputs, Implicit(linear))
    phantom, _ = _gradient(task, model, inputs, spectrum)
    report = solution.adjoint
    figures = {
        "steps": int(solution.steps[0]),
        "residual": float(solution.residual[0]),
        "converged": bool(solution.converged[0]),
        "eigenvalues": [[z.real, z.imag] for z in spectrum.values[:SHOWN]],
        "eigenvalue_error": float(spectrum.errors[:SHOWN].max(initial=0.0)),
        "adjoint_residual": float(report.residual[0]),
        "adjoint_steps": int(report.steps[0]),
        "adjoint_converged": bool(report.status[0] == LinearStatus.CONVERGED),
        **_angle(exact, phantom),
    }
    return figures, exact, phantom


def _gradient(task: Task, model: nn.Module, inputs: Any, adjoint: Adjoint) -> tuple[Tensor, Any]:
    """The gradient of the loss by an adjoint, all weights in one vector, and the solution.

    The vector is in float64 on the CPU: not every device has float64.
    """
    before: Any = model.solver
    model.solver = replace(before, adjoint=adjoint)
    try:
        answer = task.answer(model, inputs)
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradient = torch.autograd.grad(
            task.loss(answer, inputs), parameters, allow_unused=True, materialize_grads=True
        )
    finally:
        model.solver = before
    return torch.cat([part.flatten() for part in gradient]).cpu().double(), answer.solution


@dataclass
class Spectrum:
    """The phantom gradient, as an adjoint that looks at ``∂f/∂Z`` of one measure on its way.

    Attributes:
        products: Dimension of the Krylov space; all of the space where that is smaller.
        values: Ritz values, complex, the largest modulus first.
        errors: ``‖Jᵀ y − λ y‖`` of each with its unit Ritz vector y.
    """

    products: int = PRODUCTS
    values: np.ndarray[Any, np.dtype[np.complex128]] = field(
        default_factory=lambda: np.zeros(0, np.complex128)
    )
    errors: np.ndarray[Any, np.dtype[np.float64]] = field(default_factory=lambda: np.zeros(0))

    def attach(
        self, flow: Flow, mu: Measure, usable: Tensor, step: Tensor | float
    ) -> tuple[Tensor, AdjointReport]:
        """See `wgf_solver.Adjoint.attach`."""
        z = mu.points.clone().requires_grad_()
        assert flow.map is not None
        image = flow.map(mu.with_points(z)).points

        def product(u: Tensor) -> Tensor:
            (turned,) = torch.autograd.grad(
                image, z, u.to(image.dtype).to(image.device).reshape(image.shape),
                retain_graph=True, materialize_grads=True,
            )  # fmt: skip
            return turned.cpu().double().flatten()

        # The Krylov space is kept in float64 on the CPU, the cell works where the model is.
        start = torch.ones(z.numel(), dtype=torch.float64)
        start += torch.arange(z.numel(), dtype=torch.float64).sin()
        self.values, self.errors = ritz_values(product, start, self.products)
        return Phantom().attach(flow, mu, usable, step)


def ritz_values(product: Any, start: Tensor, dimension: int) -> tuple[Any, Any]:
    """Eigenvalues of the largest modulus by Arnoldi's method (Saad 2011, chapter 6).

    Args:
        product: ``u ↦ A u`` on vectors ``(N,)``.
        start: ``(N,)``, not 0.
        dimension: of the Krylov space, at most.

    Returns:
        Ritz values, complex, the largest first, and for each ``‖A y − λ y‖``.
    """
    size = min(dimension, len(start))
    basis = start.new_zeros(size + 1, len(start))
    hessenberg = start.new_zeros(size + 1, size)
    basis[0] = start / start.norm()
    made = size
    for k in range(size):
        q = product(basis[k])
        scale = q.norm()
        for _ in range(2):  # twice is enough
            overlap = basis[: k + 1] @ q
            q = q - overlap @ basis[: k + 1]
            hessenberg[: k + 1, k] += overlap
        height = q.norm()
        if height <= 1e-12 * scale:  # the Krylov space is invariant: its values are exact
            made = k + 1
            break
        hessenberg[k + 1, k] = height
        basis[k + 1] = q / height
    square = hessenberg[:made, :made].cpu().numpy()
    values, vectors = np.linalg.eig(square)
    last = float(hessenberg[made, made - 1])
    errors = abs(last) * np.abs(vectors[-1])
    order = np.argsort(-np.abs(values))
    return values[order].astype(np.complex128), errors[order]


def _angle(one: Tensor, other: Tensor) -> dict[str, float]:
    """Between two vectors: the cosine, and the angle in degrees.

    The angle by Kahan's formula, ``2 atan2(‖u − v‖, ‖u + v‖)`` of the unit vectors, which is also
    accurate where the cosine is next to 1.
    """
    u, v = one / one.norm(), other / other.norm()
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    return {"cosine": float(u @ v), "angle": float(torch.rad2deg(angle))}
