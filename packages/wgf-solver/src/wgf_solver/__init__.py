"""Fixed points of maps on probability measures, by Wasserstein gradient flow.

`equilibrium` solves ``μ* = F(μ*)`` and gives ``μ*`` its implicit gradient; `gradient_flow` follows
any functional of a measure to where it rests. A method is three choices, each a frozen value: a
velocity field (`Residual`, `Descent`), an integrator (`Euler`, `Anderson`) and an adjoint
(`Implicit`, `Phantom`, `Unrolled`).
"""

from importlib.metadata import version

from wgf_solver.adjoints import (
    GMRES,
    Adjoint,
    AdjointReport,
    AdjointWarning,
    Implicit,
    LinearSolution,
    LinearSolver,
    LinearStatus,
    Phantom,
    Unrolled,
)
from wgf_solver.discrepancies import (
    MMD,
    Discrepancy,
    Sinkhorn,
    SinkhornWarning,
    SlicedMMD,
    SlicedWasserstein,
    Wasserstein,
)
from wgf_solver.equilibrium import equilibrium
from wgf_solver.evaluation import Evaluation
from wgf_solver.flow import Flow
from wgf_solver.functionals import (
    DistanceTo,
    Functional,
    FunctionOf,
    Interaction,
    Potential,
)
from wgf_solver.gradient_flow import gradient_flow
from wgf_solver.integrators import (
    LBFGS,
    Anderson,
    BarzilaiBorwein,
    CosineDecay,
    Euler,
    GeometricDecay,
    HeavyBall,
    Integrator,
    NoiseInjection,
    Phases,
    PolynomialDecay,
)
from wgf_solver.kernels import (
    Dirac,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplacian,
    Multiquadric,
    RadialKernel,
    SquaredDistance,
)
from wgf_solver.measure import Measure
from wgf_solver.projections import Quantiles, Quantisation, Systematic
from wgf_solver.regularisation import jacobian_norm
from wgf_solver.solution import EquilibriumError, EquilibriumWarning, Solution, Status
from wgf_solver.stability import spectral_radius
from wgf_solver.velocities import (
    Descent,
    Map,
    Residual,
    Transport,
    VelocityField,
)

__version__ = version("wgf-solver")

__all__ = [
    "GMRES",
    "LBFGS",
    "MMD",
    "Adjoint",
    "AdjointReport",
    "AdjointWarning",
    "Anderson",
    "BarzilaiBorwein",
    "CosineDecay",
    "Descent",
    "Dirac",
    "Discrepancy",
    "DistanceTo",
    "Energy",
    "EquilibriumError",
    "EquilibriumWarning",
    "Euler",
    "Evaluation",
    "Flow",
    "FunctionOf",
    "Functional",
    "Gaussian",
    "GeometricDecay",
    "HeavyBall",
    "Implicit",
    "Integrator",
    "Interaction",
    "InverseMultiquadric",
    "Kernel",
    "Laplacian",
    "LinearSolution",
    "LinearSolver",
    "LinearStatus",
    "Map",
    "Measure",
    "Multiquadric",
    "NoiseInjection",
    "Phantom",
    "Phases",
    "PolynomialDecay",
    "Potential",
    "Quantiles",
    "Quantisation",
    "RadialKernel",
    "Residual",
    "Sinkhorn",
    "SinkhornWarning",
    "SlicedMMD",
    "SlicedWasserstein",
    "Solution",
    "SquaredDistance",
    "Status",
    "Systematic",
    "Transport",
    "Unrolled",
    "VelocityField",
    "Wasserstein",
    "equilibrium",
    "gradient_flow",
    "jacobian_norm",
    "spectral_radius",
]
