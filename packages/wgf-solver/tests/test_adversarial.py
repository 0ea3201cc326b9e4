"""A thousand hostile inputs: each gets a right answer, by laws, or an error that says why."""

import importlib.util
import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    LBFGS,
    MMD,
    Anderson,
    BarzilaiBorwein,
    Descent,
    DistanceTo,
    Energy,
    Euler,
    Gaussian,
    HeavyBall,
    Measure,
    Residual,
    Sinkhorn,
    SlicedMMD,
    SlicedWasserstein,
    SquaredDistance,
    Status,
    Wasserstein,
    equilibrium,
    gradient_flow,
)

POT = importlib.util.find_spec("ot") is not None
DOCUMENTED = (ValueError, TypeError)
FLOATS = (torch.float32, torch.float64)
SCALES = (1.0, 1.0, 1.0, 1e-30, 1e-6, 1e4, 1e18)


class Case:
    """One hostile input; everything about it follows from its seed."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.rng, self.generator = rng, torch.Generator().manual_seed(seed)
        self.batch = rng.choice([(), (), (1,), (3,), (2, 2), (0,)])
        self.n, self.d = rng.choice([0, 1, 1, 2, 5]), rng.choice([0, 1, 2, 3])
        self.dtype = rng.choice(FLOATS)
        self.scale = rng.choice(SCALES)
        self.traits: list[str] = []

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def points(self) -> Tensor:
        z = (self.scale * self.normal(*self.batch, self.n, self.d)).to(self.dtype)
        kind = self.rng.choice(["plain"] * 6 + ["coincident", "nan", "inf", "type", "shape"])
        self.traits.append(kind)
        if kind == "coincident" and self.n:
            z = z[..., :1, :].expand_as(z).contiguous()
        if kind in ("nan", "inf") and z.numel():
            z.view(-1)[self.rng.randrange(z.numel())] = float(kind)
        if kind == "type":
            z = z.to(self.rng.choice([torch.int64, torch.complex64, torch.bool, torch.float16]))
        if kind == "shape":
            z = z.flatten()
        return z

    def weights(self) -> Tensor | None:
        kind = self.rng.choice(
            ["none"] * 4 + ["random"] * 3 + ["padded"] * 2
            + ["zero", "nan", "inf", "negative", "shape", "complex", "counts", "meta"]
        )  # fmt: skip
        self.traits.append(f"weights {kind}")
        w = 1e-3 + torch.rand(*self.batch, self.n, generator=self.generator, dtype=torch.float64)
        if kind == "none":
            return None
        if kind == "padded" and self.n:
            w[..., -1] = 0
        if kind == "zero":
            w = 0 * w
        if kind in ("nan", "inf", "negative") and w.numel():
            w.view(-1)[self.rng.randrange(w.numel())] = {"negative": -1.0}.get(kind) or float(kind)
        if kind == "shape":
            w = torch.ones(self.n + 1)
        if kind == "complex":
            w = w.to(torch.complex64)
        if kind == "counts":
            w = torch.randint(0, 3, w.shape, generator=self.generator)
        if kind == "meta":
            w = w.to("meta")
        return w.to(self.dtype) if w.is_floating_point() else w

    def measure(self) -> Measure:
        return Measure(self.points(), self.weights())


def run(seeds: range, attempt: Callable[[Case], str]) -> Counter[str]:
    """What became of each case: the name that ``attempt`` gives, or that of a documented error."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        case = Case(seed)
        try:
            seen[attempt(case)] += 1
        except DOCUMENTED as error:
            if len(str(error)) < 30:
                raise AssertionError(f"seed {seed}: {error!r} does not say what to do") from error
            seen[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, {case.traits}: {error!r}") from error
    return seen


def same(a: Tensor, b: Tensor, scale: float, tolerance: float = 1e-4) -> bool:
    return bool(((a - b).abs() <= tolerance * scale).all())


def check_statuses(solution, mu: Measure) -> None:
    """What a status promises, and that padding is 0."""
    points, weights = solution.measure.points, solution.measure.weights
    assert solution.status.shape == solution.residual.shape == mu.batch_shape
    assert points.shape == mu.points.shape
    assert points.dtype == mu.points.dtype
    assert (points[weights == 0] == 0).all()
    empty = (weights == 0).all(-1)
    assert torch.equal(solution.status == Status.EMPTY, empty)
    clean = torch.where(mu.mask[..., None], mu.points, 0)
    finite = clean.isfinite().flatten(-2).all(-1) & weights.isfinite().all(-1)
    converged = solution.converged
    assert not (converged & ~finite).any()
    assert points[converged].isfinite().all()
    for index in (
        torch.cartesian_prod(*(torch.arange(s) for s in mu.batch_shape)).reshape(
            -1, len(mu.batch_shape)
        )
        if mu.batch_shape
        else [torch.tensor([], dtype=torch.int64)]
    ):
        assert len(solution.message(tuple(index.tolist()))) > 30
    solution.summary()


def test_fixed_points() -> None:
    def attempt(case: Case) -> str:
        mu = case.measure()
        target = case.scale * 0.5

        def f(m: Measure) -> Measure:
            return m.with_points(0.25 * m.points + 0.75 * target)

        integrator = case.rng.choice([Anderson(), Euler(), HeavyBall(1.0, 0.1)])
        solution = equilibrium(
            f, mu, integrator=integrator, rtol=1e-5, max_steps=60, on_failure="ignore"
        )
        check_statuses(solution, mu)
        found = solution.measure.points[solution.converged]
        mask = mu.mask[solution.converged]
        assert same(found[mask], torch.tensor(target), case.scale)
        # Nothing else than NaN, infinity and emptiness keeps a contraction from its fixed point.
        healthy = mu.zero_padding().points.isfinite().flatten(-2).all(
            -1
        ) & mu.weights.isfinite().all(-1)
        assert torch.equal(solution.converged, healthy & mu.mask.any(-1))
        return "|".join(sorted({Status(s).name for s in solution.status.flatten().tolist()}))

    seen = run(range(400), attempt)
    assert {"CONVERGED", "EMPTY", "NONFINITE", "ValueError", "TypeError"} <= set(seen)
    assert seen["CONVERGED"] > 100


def test_flows() -> None:
    def attempt(case: Case) -> str:
        mu, shift = case.measure(), 0.5 * case.scale

        def f(m: Measure) -> Measure:
            return m.with_points(0.25 * m.points + shift)

        kernel = case.rng.choice([Energy(), Gaussian(case.scale), SquaredDistance()])
        target = case.rng.choice(["frozen", "through"])
        integrator = case.rng.choice([Euler(0.1), LBFGS(), BarzilaiBorwein()])
        solution = equilibrium(
            f, mu, velocity=Descent(MMD(kernel), target), integrator=integrator,
            max_steps=5, on_failure="ignore",
        )  # fmt: skip
        check_statuses(solution, mu)
        flow = gradient_flow(
            DistanceTo(MMD(kernel), mu), mu, integrator=Euler(0.1), max_steps=5,
            on_failure="ignore",
        )  # fmt: skip
        check_statuses(flow, mu)
        assert len(flow.energies) <= 5
        return "solved"

    seen = run(range(1000, 1300), attempt)
    assert set(seen) == {"solved", "ValueError", "TypeError"}
    assert seen["solved"] > 100


def test_discrepancies() -> None:
    def attempt(case: Case) -> str:
        mu = case.measure()
        nu = Measure(case.scale * case.normal(*mu.batch_shape, 3, mu.dim).to(mu.points.dtype))
        kernel = case.rng.choice([Energy(), Gaussian(case.scale)])
        if case.scale == 1e-30 and mu.points.dtype == torch.float32:
            kernel = Energy()  # 1/σ² is beyond float32
        unit = case.scale if isinstance(kernel, Energy) else 1.0
        others = [SlicedMMD(8), SlicedWasserstein(8), Sinkhorn(0.3 * case.scale, max_steps=20)]
        distance = case.rng.choice([MMD(kernel)] * 4 + [Wasserstein()] * POT + others)
        if not isinstance(distance, MMD):
            unit = case.scale if isinstance(distance, SlicedMMD) else case.scale**2
        there, back, zero = distance(mu, nu), distance(nu, mu), distance(mu, mu)
        pull = distance.pull(mu, nu)
        assert there.shape == pull.scale.shape == mu.batch_shape
        assert pull.velocity.shape == mu.points.shape
        assert (pull.velocity[mu.weights == 0] == 0).all()
        clean = mu.zero_padding().points.isfinite().flatten(-2).all(-1)
        if mu.points.dtype == torch.float16:  # a range of 6e4, three digits
            return "compared"
        fine = clean & mu.mask.any(-1) & mu.weights.isfinite().all(-1)
        assert pull.velocity[fine].isfinite().all()
        assert (there[fine] >= 0).all()
        assert same(there[fine], back[fine], unit)
        assert same(zero[fine], torch.tensor(0.0), unit)
        return "compared"

    seen = run(range(2000, 2300), attempt)
    assert set(seen) == {"compared", "ValueError", "TypeError"}
    assert seen["compared"] > 100


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(
    "velocity",
    [Residual(), Descent(MMD(Gaussian(1.0))), Descent(MMD(Gaussian(1.0)), "through")],
    ids=lambda v: getattr(v, "target", "residual"),
)
def test_float32_is_within_its_tolerance_of_float64(velocity, offset) -> None:
    # Near the origin 20 rtol, with rtol = 1e-4. At 1e4 float32 tells places 1e-3 apart, which lets
    # a velocity fall to rtol = 1e-2: 1 rtol for the residual, 5 for a flow, whose D is flatter.
    rtol, factor = (1e-4, 20) if offset == 0 else (1e-2, 1 if velocity == Residual() else 5)
    marks = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(5, 2)

    def solved(dtype: torch.dtype) -> Measure:
        def f(mu: Measure) -> Measure:
            return mu.with_points(0.3 * (mu.points - offset) + marks.to(dtype) + offset)

        start = Measure((marks.flip(0) + offset).to(dtype))
        solution = equilibrium(
            f,
            start,
            velocity=velocity,
            integrator=Anderson(step=1.0),
            rtol=1e-4 if offset == 0 else 1e-2,
            max_steps=300,
        )
        return solution.measure.to(dtype=torch.float64)

    error = (solved(torch.float32).points - solved(torch.float64).points).abs().max()
    assert error < factor * rtol
