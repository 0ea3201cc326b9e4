"""No tensor leaves its device, no step looks at one; and what a compiled map changes: nothing."""

import sys

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from wgf_solver import (
    GMRES,
    MMD,
    Anderson,
    Descent,
    Dirac,
    DistanceTo,
    Energy,
    Euler,
    Flow,
    Gaussian,
    Implicit,
    Interaction,
    Measure,
    Phantom,
    Potential,
    Residual,
    SquaredDistance,
    Unrolled,
    equilibrium,
    gradient_flow,
)

KERNELS = [Energy(), Energy(1.5) + 0.5 * Gaussian(1.0), Gaussian(1.0) * Energy(),
           Dirac() * SquaredDistance()]  # fmt: skip
# A look would wait for the device; one that is never made leaves the driver without any.
BLIND = {"max_steps": 3, "check_every": 100, "on_failure": "ignore"}


@pytest.fixture
def device():
    """A device whose tensors have no values: a look at one raises, and so does a mix of devices.

    A GPU by name where there is one, else the meta device: a torch that is built for a GPU asks for
    its driver where a tensor is indexed, be it without values.
    """
    with torch.no_grad():
        if torch.cuda.is_available():
            with FakeTensorMode():
                yield torch.device("cuda")
        else:
            yield torch.device("meta")


def measure(device: torch.device, *batch: int) -> Measure:
    points = torch.randn(*batch, 5, 3, device=device)
    weights = torch.rand(*batch, 5, device=device)
    return Measure(points, weights, torch.randn(5, 2, device=device))


def f(mu: Measure) -> Measure:
    assert mu.marks is not None
    moved = torch.tanh(0.5 * mu.points + mu.marks.sum(-1, keepdim=True))
    return mu.with_points(moved)


def all_on(device: torch.device, *tensors: Tensor) -> bool:
    return all(t.device.type == device.type for t in tensors)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_discrepancies_stay_on_the_device(device, kernel, batch):
    mu, nu = measure(device, *batch), measure(device, *batch)
    pull = MMD(kernel).pull(mu, nu)
    assert all_on(device, MMD(kernel)(mu, nu), pull.velocity, pull.scale)
    assert all_on(device, mu.mean(), mu.spread(), mu.zero_padding().points, mu.expand(batch).points)


@pytest.mark.parametrize("integrator", [Anderson(), Euler()], ids=repr)
@pytest.mark.parametrize("field", [Residual(), Descent(MMD(KERNELS[1]))], ids=repr)
def test_a_solve_makes_no_look_between_its_stop_tests(device, integrator, field, monkeypatch):
    if field.descends:  # at the end the roots of such a field are looked at
        module = sys.modules["wgf_solver.driving.driver"]
        monkeypatch.setattr(module, "_leave_saddles", lambda *_, **__: None)
    mu = measure(device, 2)
    solution = equilibrium(f, mu, velocity=field, integrator=integrator, **BLIND)
    assert all_on(device, solution.measure.points, solution.residual, solution.discrepancy)
    assert all_on(device, solution.steps, solution.status, solution.converged)


def test_a_gradient_flow_makes_none_either(device):
    nu = measure(device)
    functional = (
        DistanceTo(MMD(KERNELS[1]), nu)
        + 0.5 * Interaction(Gaussian(1.0))
        - torch.ones(2, device=device) * DistanceTo(MMD(KERNELS[2]), nu)
    )
    solution = gradient_flow(functional, measure(device, 2), **BLIND)
    assert all_on(device, solution.measure.points, solution.energies, solution.status)
    assert solution.energies.shape == (3, 2)


def test_a_mix_of_devices_is_noticed(device):
    mu = measure(device)
    stray = torch.zeros(5, 3)
    with pytest.raises(RuntimeError, match="device"):
        equilibrium(lambda m: m.with_points(m.points + stray), mu, **BLIND)
    with pytest.raises(ValueError, match="on the device of the points"):
        Measure(mu.points, torch.ones(5))


@pytest.mark.parametrize(
    "adjoint", [Implicit(), Phantom(2), Unrolled(2), Phantom(2, 1.0, None)], ids=repr
)
@pytest.mark.parametrize(
    "field",
    [Residual(), Descent(MMD(KERNELS[1])), Descent(MMD(KERNELS[1]), "through")],
    ids=lambda v: getattr(v, "target", "residual"),
)
def test_adjoints_stay_on_the_device(adjoint, field):
    # On the meta device, which autograd knows everywhere.
    theta = torch.zeros((), device="meta", requires_grad=True)
    mu = measure(torch.device("meta"), 2)
    flow = Flow(field, lambda m: m.with_points(theta * f(m).points))
    points, _ = adjoint.attach(flow, mu, torch.ones(2, dtype=torch.bool, device="meta"), 1.0)
    assert points.device.type == "meta"
    assert points.requires_grad
    if not isinstance(adjoint, Implicit):  # GMRES looks whether it is done
        assert torch.autograd.grad(points.sum(), theta)[0].device.type == "meta"


@pytest.mark.parametrize(
    "field",
    [Residual(), Descent(MMD(Gaussian(1.0) * SquaredDistance()))],
    ids=["residual", "frozen"],
)
def test_a_compiled_map_has_the_same_equilibrium_and_gradient(field):
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    start = Measure(torch.randn(3, 4, 2).double(), torch.rand(3, 4), torch.randn(4, 2).double())

    def moved(points: Tensor, marks: Tensor) -> Tensor:
        return 0.3 * net(points) + marks

    def solved(move) -> list[Tensor]:
        net.zero_grad()
        solution = equilibrium(
            lambda mu: mu.with_points(move(mu.points, mu.marks)), start, velocity=field,
            adjoint=Implicit(GMRES(rtol=1e-12)), rtol=1e-10, max_steps=500,
        )  # fmt: skip
        assert solution.converged.all()
        solution.measure.points.square().sum().backward()
        return [solution.measure.points.detach(), *(p.grad.clone() for p in net.parameters())]

    torch._dynamo.reset()
    compiled = torch.compile(moved, backend="aot_eager", fullgraph=True)
    for mine, theirs in zip(solved(compiled), solved(moved), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_a_map_of_measures_compiles_as_a_whole():
    def doubled(mu: Measure) -> Measure:
        copies = torch.cat([mu.points / 2, mu.points / 2 + 0.5], -2)
        return Measure(copies, torch.cat([mu.weights, mu.weights], -1))

    torch._dynamo.reset()
    start = Measure(torch.randn(4, 2).double())
    field = Descent(MMD(Gaussian(0.5)))
    options = {"velocity": field, "integrator": Euler(0.5), "max_steps": 20, "on_failure": "ignore"}
    one = equilibrium(torch.compile(doubled, backend="eager"), start, **options)
    other = equilibrium(doubled, start, **options)
    torch.testing.assert_close(one.measure.points, other.measure.points)


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("adjoint", [Implicit(), Phantom(), Unrolled(5)], ids=repr)
def test_a_gpu_has_the_gradients_of_the_cpu(adjoint):
    start = measure(torch.device("cpu"), 4).to(dtype=torch.float64)

    def gradient(device: str) -> list[Tensor]:
        theta = torch.tensor(0.7, dtype=torch.float64, device=device, requires_grad=True)
        solution = equilibrium(
            lambda mu: mu.with_points(theta * f(mu).points), start.to(device), rtol=1e-10,
            adjoint=adjoint,
        )  # fmt: skip
        solution.measure.points.square().sum().backward()
        return [solution.measure.points.detach().cpu(), theta.grad.cpu()]

    for mine, theirs in zip(gradient("cuda"), gradient("cpu"), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.gpu
@gpu
def test_a_gpu_has_the_gradient_flow_of_the_cpu():
    nu = Measure(torch.randn(40, 3).double())
    start = measure(torch.device("cpu"), 2).to(dtype=torch.float64)

    def flow(device: str) -> list[Tensor]:
        functional = DistanceTo(MMD(Gaussian(1.0)), nu.to(device)) + 0.1 * Potential(
            lambda z: z.square().sum(-1)
        )
        solution = gradient_flow(functional, start.to(device), max_steps=20, on_failure="ignore")
        return [solution.measure.points.cpu(), solution.energies.cpu()]

    for mine, theirs in zip(flow("cuda"), flow("cpu"), strict=True):
        torch.testing.assert_close(mine, theirs)
