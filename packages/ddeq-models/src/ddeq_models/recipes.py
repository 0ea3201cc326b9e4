"""How large each preset is on each data set, and how it is trained, unless the user says."""

from dataclasses import dataclass, field, replace
from typing import get_args

from ddeq_models.classification import ClassificationConfig
from ddeq_models.completion import CompletionConfig
from ddeq_models.config import DataConfig, DataName, SolverPhase, TrainConfig
from ddeq_models.model import ModelConfig
from ddeq_models.presets import PRESETS
from ddeq_models.task import TaskConfig


@dataclass(frozen=True)
class Recipe:
    """The model, normalisation and augmentation, and the training, for one data set and preset.

    Attributes:
        model: The preset, in the size that the data set wants.
        data: The clouds.
        train: The training.
        task: What the model is trained for.
    """

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    task: TaskConfig = field(default_factory=ClassificationConfig)


# Without a request the preset of the task is this one.
DEFAULT_PRESETS: dict[str, str] = {"classification": "ddeq", "completion": "completer"}

_DIGITS = DataConfig(
    "digits", normalise="set", rotate=15.0, scale=0.1, stretch=0.1, shear=0.1, jitter=0.05
)
# Scale and shift alone, as PointNeXt has it: solids that stand upright are not to be turned.
_SOLIDS = DataConfig("modelnet40", normalise="unit-sphere", scale=0.2, shift=0.1)
_VERTICES = DataConfig("modelnet40", sampling="vertices")

# One epoch sees no cloud twice, so that augmentation would only make it harder.
_ONE_PASS = TrainConfig(epochs=1, batch_size=32, learning_rate=1.5e-3, ema=0.99)
_SOLID_TRAINING = TrainConfig(
    epochs=60, batch_size=32, learning_rate=1e-3, label_smoothing=0.2, ema=0.999
)

# A folder may hold sixty clouds or six thousand: what counts is the number of steps.
_FEW_CLOUDS = TrainConfig(
    epochs=20, steps=600, batch_size=32, learning_rate=2e-3, label_smoothing=0.1, ema=0.99
)

# The authors train with Adam at 1e-3 and no augmentation; their flow takes 200 evaluations, and
# late in the training a smaller step and 1,000.
_PAPER = TrainConfig(learning_rate=1e-3, weight_decay=0.0, betas=(0.9, 0.999), clip_norm=0.0)
_PAPER_IMAGES = replace(
    _PAPER,
    epochs=5,
    warmup=0.0,
    schedule="step",
    decay_epochs=2,
    decay_factor=0.2,
    solver_phases=(SolverPhase(4, step=1.0, max_steps=1000),),
)
_PAPER_SOLIDS = replace(
    _PAPER_IMAGES,
    epochs=20,
    decay_epochs=8,
    decay_factor=0.1,
    solver_phases=(SolverPhase(15, step=1.0, max_steps=1000),),
)

RECIPES: dict[tuple[DataName, str], Recipe] = {
    ("digits", "ddeq"): Recipe(
        PRESETS["ddeq"], _DIGITS, TrainConfig(epochs=50, learning_rate=2e-3, ema=0.99)
    ),
    ("mnist", "ddeq"): Recipe(PRESETS["ddeq"], DataConfig("mnist", normalise="set"), _ONE_PASS),
    ("fashion-mnist", "ddeq"): Recipe(
        PRESETS["ddeq"], DataConfig("fashion-mnist", normalise="set"), _ONE_PASS
    ),
    ("modelnet10", "ddeq"): Recipe(
        PRESETS["ddeq"], replace(_SOLIDS, name="modelnet10"), _SOLID_TRAINING
    ),
    ("modelnet40", "ddeq"): Recipe(PRESETS["ddeq"], _SOLIDS, _SOLID_TRAINING),
    ("folder", "ddeq"): Recipe(
        PRESETS["ddeq"], DataConfig("folder", normalise="set", jitter=0.02), _FEW_CLOUDS
    ),
    ("digits", "ddeq-paper"): Recipe(
        PRESETS["ddeq-paper"], DataConfig("digits"), replace(_PAPER, epochs=5)
    ),
    ("mnist", "ddeq-paper"): Recipe(PRESETS["ddeq-paper"], DataConfig("mnist"), _PAPER_IMAGES),
    ("fashion-mnist", "ddeq-paper"): Recipe(
        PRESETS["ddeq-paper"], DataConfig("fashion-mnist"), _PAPER_IMAGES
    ),
    ("modelnet10", "ddeq-paper"): Recipe(
        PRESETS["ddeq-paper"], replace(_VERTICES, name="modelnet10"), _PAPER_SOLIDS
    ),
    ("modelnet40", "ddeq-paper"): Recipe(PRESETS["ddeq-paper"], _VERTICES, _PAPER_SOLIDS),
    ("folder", "ddeq-paper"): Recipe(PRESETS["ddeq-paper"], DataConfig("folder"), _PAPER_SOLIDS),
}

# The baselines learn from the same clouds as the DDEQ, at the same batch size and for as long.
BASELINES = ("deep-sets", "point-transformer", "pointnet", "pointnet-vanilla", "set-transformer")
for _data in get_args(DataName):
    _ours = RECIPES[_data, "ddeq"]
    for _name in BASELINES:
        RECIPES[_data, _name] = replace(
            _ours, model=PRESETS[_name], train=replace(_ours.train, learning_rate=1e-3)
        )

# 600 steps of 64 clouds are three quarters of an epoch of MNIST.
_COMPLETING = TrainConfig(epochs=1, learning_rate=2e-3, weight_decay=0.01, ema=0.99)
for _data in get_args(DataName):
    for _name in ("completer", "completer-given"):
        RECIPES[_data, _name] = Recipe(
            PRESETS[_name],
            DataConfig(_data),
            replace(_COMPLETING, epochs=40) if _data == "digits" else _COMPLETING,
            CompletionConfig(),
        )
    # The paper trains PCN at 1e-4, for much longer than one pass. Not tuned.
    _ours = RECIPES[_data, "completer"]
    RECIPES[_data, "pcn"] = replace(
        _ours, model=PRESETS["pcn"], train=replace(_ours.train, learning_rate=5e-4)
    )
