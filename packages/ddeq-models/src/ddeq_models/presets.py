"""The models that the command line knows by name."""

from ddeq_models.baselines import (
    DeepSetsConfig,
    PCNConfig,
    PointNetConfig,
    PointTransformerConfig,
    SetTransformerConfig,
)
from ddeq_models.completer import CompleterConfig
from ddeq_models.ddeq import DDEQConfig
from ddeq_models.model import ModelConfig

PRESETS: dict[str, ModelConfig] = {
    # Ours: marked particles, labelled residual, Anderson acceleration, solved to its tolerance.
    # The particles interact through their mean, so that F is a map of the measure and not of each
    # particle alone, and are told a summary of the whole cloud.
    "ddeq": DDEQConfig(
        dim=64,
        heads=4,
        hidden=128,
        bilinear_dim=32,
        self_blocks=0,
        cross_blocks=1,
        interacting=True,
        encoder="moments",
        rows=512,
        damping=0.5,
        readout="max-mean",
    ),
    # The hyperparameters of the published MNIST classifier, for parity: unmarked particles,
    # energy-kernel flow through F with a constant step of 5, 200 steps, one phantom step. Such a
    # step cannot settle; what it reaches is reported.
    "ddeq-paper": DDEQConfig(
        dim=128,
        heads=32,
        hidden=512,
        dropout=0.1,
        marked=False,
        velocity="through",
        integrator="euler",
        step=5.0,
        rtol=1e-4,
        max_steps=200,
        adjoint="phantom",
    ),
    "completer": CompleterConfig(),
    # The paper's protocol: clouds are z-scored whole, before they are cut.
    "completer-given": CompleterConfig(frame="given"),
    "deep-sets": DeepSetsConfig(),
    "pcn": PCNConfig(),
    "point-transformer": PointTransformerConfig(),
    "pointnet": PointNetConfig(),
    "pointnet-vanilla": PointNetConfig(transforms=False),
    "set-transformer": SetTransformerConfig(),
}

# What `ddeq models` says of each.
TEXTS: dict[str, str] = {
    "ddeq": "equilibrium of marked particles; ours",
    "ddeq-paper": "the published hyperparameters, for parity",
    "completer": "adds missing points, equilibrium of noise; any unit",
    "completer-given": "the same on clouds z-scored whole, as in the paper",
    "deep-sets": "Zaheer et al. 2017",
    "pcn": "Yuan et al. 2018",
    "point-transformer": "Zhao et al. 2021",
    "pointnet": "Qi et al. 2017, with transforms",
    "pointnet-vanilla": "the same without transforms",
    "set-transformer": "Lee et al. 2019",
}
