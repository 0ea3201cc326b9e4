"""How large each preset is on each data set, and how it is trained, unless the user says."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ddeq_models.config import (
    DataConfig,
    ModelConfig,
    SolverPhase,
    TaskConfig,
    TrainConfig,
    default_task,
)
from ddeq_models.errors import UserError
from ddeq_models.registry import DATA_SETS, PRESETS, TASKS


@dataclass(frozen=True)
class Recipe:
    """The model, normalisation and augmentation, and the training, for one data set and preset.

    Attributes:
        model: The preset, in the size that the data set wants.
        data: The clouds.
        train: The training.
        task: What the model is trained for.
        published: Whether it is trained as its authors do, and for that reason is not adapted.
    """

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    task: TaskConfig = field(default_factory=default_task)
    published: bool = False


_DIGITS = DataConfig(
    "digits", normalise="set", rotate=15.0, scale=0.1, stretch=0.1, shear=0.1, jitter=0.05
)
# Scale and shift, as PointNeXt has it: solids that stand upright are not to be turned.
_SOLIDS = DataConfig("modelnet40", normalise="unit-sphere", scale=0.2, shift=0.1)
# A thousand points are known by what lies about some of them; see results/modelnet40. The place of
# a solid in the unit sphere means nothing.
_OF_SOLIDS = replace(
    PRESETS["ddeq"],
    tokens=(128, 32),
    widths=(32, 64, 128),
    neighbours=16,
    scales=0,
    rows=0,
    placed=False,
    summary_dropout=0.3,
)
_DDEQ_SOLIDS = replace(_SOLIDS, scale=0.1, stretch=0.2, drop=0.2)
# As the paper has them: of the vertices a grid leaves some, laid when they are z-scored.
_VERTICES = DataConfig("modelnet40", sampling="z-scored-vertices")

# Sixty thousand images have a shape about each point that is worth tokens. Chosen on validation:
# see results/mnist.
_IMAGES = DataConfig("mnist", normalise="set", rotate=10.0, stretch=0.1, shear=0.1)
_OF_IMAGES = replace(
    PRESETS["ddeq"], tokens=(64, 16), widths=(32, 64, 128), neighbours=12, pooled=160
)
# Of few of their points no shape is left: each is told its place in detail instead, and is where
# the pixels are that it stands for. Chosen on validation: see results/fashion-mnist-64.
_OF_FEW_PIXELS: ModelConfig = replace(PRESETS["ddeq"], octaves=4, hiding=0.0)
_FEW_PIXELS, _PIXELS = 100, ("mnist", "fashion-mnist")
_IMAGE_TRAINING = TrainConfig(epochs=10, batch_size=64, learning_rate=2e-3, ema=0.999)

_SOLID_TRAINING = TrainConfig(
    epochs=50, batch_size=32, learning_rate=2e-3, label_smoothing=0.2, ema=0.999
)

# A folder may hold sixty clouds or six thousand: what counts is the number of steps.
_FEW_CLOUDS = TrainConfig(
    epochs=20, steps=600, batch_size=32, learning_rate=2e-3, label_smoothing=0.1, ema=0.99
)

_as_published = partial(Recipe, published=True)

# The authors train with Adam at 1e-3 and no augmentation. Their flow takes 200 evaluations of step
# 5; from the 16th epoch on (of a completion the 5th) 1,000 of step 1: a classifier of images has
# none of these.
_PAPER = TrainConfig(learning_rate=1e-3, weight_decay=0.0, betas=(0.9, 0.999), clip_norm=0.0)
_PAPER_IMAGES = replace(
    _PAPER, epochs=5, warmup=0.0, schedule="step", decay_epochs=2, decay_factor=0.2
)
_PAPER_SOLIDS = replace(
    _PAPER_IMAGES,
    epochs=20,
    decay_epochs=8,
    decay_factor=0.1,
    solver_phases=(SolverPhase(16, step=1.0, max_steps=1000),),
)
_PAPER_COMPLETING = _as_published(
    PRESETS["ddeq-paper-completer"],
    DataConfig("mnist"),
    replace(_PAPER_IMAGES, solver_phases=(SolverPhase(5, step=1.0, max_steps=1000),)),
    TASKS["completion"][0](together=True, whole=True, bandwidth=1.0, itself=False),
)
_PAPER_DEEP = replace(PRESETS["ddeq-paper"], cross_blocks=3)  # which solids are given

RECIPES: dict[tuple[str, str], Recipe] = {
    ("digits", "ddeq"): Recipe(
        PRESETS["ddeq"], _DIGITS, TrainConfig(epochs=50, learning_rate=2e-3, ema=0.99)
    ),
    ("mnist", "ddeq"): Recipe(_OF_IMAGES, _IMAGES, _IMAGE_TRAINING),
    ("fashion-mnist", "ddeq"): Recipe(
        _OF_IMAGES, replace(_IMAGES, name="fashion-mnist", weighted=True), _IMAGE_TRAINING
    ),
    ("modelnet10", "ddeq"): Recipe(
        _OF_SOLIDS, replace(_DDEQ_SOLIDS, name="modelnet10"), _SOLID_TRAINING
    ),
    ("modelnet40", "ddeq"): Recipe(_OF_SOLIDS, _DDEQ_SOLIDS, _SOLID_TRAINING),
    ("folder", "ddeq"): Recipe(
        PRESETS["ddeq"], DataConfig("folder", normalise="set", jitter=0.02), _FEW_CLOUDS
    ),
    ("digits", "ddeq-paper"): _as_published(
        PRESETS["ddeq-paper"], DataConfig("digits"), replace(_PAPER, epochs=5)
    ),
    ("mnist", "ddeq-paper"): _as_published(
        PRESETS["ddeq-paper"], DataConfig("mnist"), _PAPER_IMAGES
    ),
    ("fashion-mnist", "ddeq-paper"): _as_published(
        PRESETS["ddeq-paper"], DataConfig("fashion-mnist"), _PAPER_IMAGES
    ),
    ("modelnet10", "ddeq-paper"): _as_published(
        _PAPER_DEEP, replace(_VERTICES, name="modelnet10"), _PAPER_SOLIDS
    ),
    ("modelnet40", "ddeq-paper"): _as_published(_PAPER_DEEP, _VERTICES, _PAPER_SOLIDS),
    ("folder", "ddeq-paper"): _as_published(_PAPER_DEEP, DataConfig("folder"), _PAPER_SOLIDS),
    ("mnist", "ddeq-paper-completer"): _PAPER_COMPLETING,
    ("folder", "ddeq-paper-completer"): replace(_PAPER_COMPLETING, data=DataConfig("folder")),
}

# Chosen on validation: see "Short trainings" in docs/results/digits.md.
_FEW_PASSES, _SMALL_BATCH = 3, 32
# The augmentation: what makes another cloud of one that comes again.
_VARIED = ("rotate", "scale", "stretch", "shear", "shift", "jitter", "drop", "cut_mix")

_OF_NUMBERS = replace(_FEW_CLOUDS, steps=1500, label_smoothing=0.0)
_OF_POINTS = replace(_FEW_CLOUDS, label_smoothing=0.0)

# The baselines learn from the same clouds as the DDEQ, at the same batch size and for as long.
BASELINES = (
    "deep-sets",
    "dgcnn",
    "point-transformer",
    "pointnet",
    "pointnet-vanilla",
    "pointnet2",
    "set-transformer",
)
_BASELINE_RATE = 1e-3

# As their authors train them on solids, in 60 epochs for 250: Adam and a step of 0.7 every 20 of
# those; half a cosine and smoothed labels (there with SGD at 0.1, or Adam at this rate).
_PUBLISHED = {
    "pointnet2": (
        replace(_SOLIDS, scale=0.25, jitter=0.01),
        replace(_PAPER, epochs=60, batch_size=32, warmup=0.0, schedule="step", decay_epochs=5,
                decay_factor=0.7),
    ),
    "dgcnn": (
        replace(_SOLIDS, scale=0.0, stretch=1 / 3, shift=0.2),
        replace(_PAPER, epochs=60, batch_size=32, warmup=0.0, weight_decay=1e-4,
                label_smoothing=0.2),
    ),
}  # fmt: skip
for _name in ("modelnet10", "modelnet40"):
    for _preset, (_clouds, _training) in _PUBLISHED.items():
        RECIPES[_name, _preset] = _as_published(
            PRESETS[_preset], replace(_clouds, name=_name), _training
        )
# Everywhere else there are some hundred points to a cloud.
_FEW_POINTS: dict[str, ModelConfig] = {
    "pointnet2": replace(
        PRESETS["pointnet2"], groups=(64, 16), neighbours=(16, 16), radii=(0.3, 0.6)
    ),
    "dgcnn": replace(PRESETS["dgcnn"], neighbours=10),
}

# Chosen on validation, as are the rates (PCN's is 1e-4 in its paper, for longer): see
# results/mnist-balls.
_COMPLETING = TrainConfig(
    epochs=5, steps=4000, batch_size=16, learning_rate=2e-3, weight_decay=0.01, ema=0.99
)
# Of a thousand clouds many passes; in small batches as many are no better and take twice as long.
_COMPLETING_FEW = replace(_COMPLETING, epochs=40, steps=0, batch_size=64)
_RATES = {"completer-given": 3e-3, "pcn": 1e-3}


def recipe_for(
    data: str, preset: str, *, points: int | None = None, epochs: int | None = None
) -> Recipe:
    """The recipe of a data set and preset: its own, or that of the most similar there is.

    A data set that has none is trained on like the one that its entry names; a model that has
    none like the others of its task.

    Args:
        data: The data set.
        preset: The preset.
        points: Of each cloud, where the user says so; None or 0: all. Of a hundred or fewer that
            are left of an image there are no tokens, and to classify it each is in the mean of the
            pixels that it stands for.
        epochs: Passes, where the user says so. In a single one every cloud is new as it is, and
            what is varied as well is harder to learn: it has no augmentation. A classifier of up to
            three takes batches of 32 clouds at most: in so few, steps are what is missing.

    Raises:
        UserError: There is no such data set or no such preset.
    """
    recipe = _recipe_for(data, preset)
    if points and points <= _FEW_PIXELS:
        recipe = replace(recipe, model=_of_few(recipe.model))
        if data in _PIXELS and not recipe.published and recipe.task.kind == TaskConfig.default_kind:
            recipe = replace(recipe, data=replace(recipe.data, points_at="mean"))
    if epochs is None or recipe.published:
        return recipe
    if epochs == 1:
        none: dict[str, Any] = dict.fromkeys(_VARIED, 0.0)
        recipe = replace(recipe, data=replace(recipe.data, **none))
    if epochs <= _FEW_PASSES and recipe.task.kind == TaskConfig.default_kind:
        size = min(recipe.train.batch_size, _SMALL_BATCH)
        recipe = replace(recipe, train=replace(recipe.train, batch_size=size))
    return recipe


def _recipe_for(data: str, preset: str) -> Recipe:
    if (data, preset) in RECIPES:
        return RECIPES[data, preset]
    like, model = DATA_SETS.find(data).recipe, PRESETS.find(preset)
    own = RECIPES.get((data, "ddeq"), RECIPES[like, "ddeq"])
    if (like, preset) in RECIPES:
        recipe = RECIPES[like, preset]
    elif (sized := model.sized_like(own.model)) is not None:
        recipe = replace(own, model=sized)  # a control is trained as well as what it controls
    elif model.task == "completion":
        train = _COMPLETING if data != "digits" else _COMPLETING_FEW
        train = replace(train, learning_rate=_RATES.get(preset, train.learning_rate))
        recipe = Recipe(model, DataConfig(data), train, TASKS["completion"][0]())
    elif model.task in ("regression", "segmentation"):
        recipe = _of_targets(data, preset, model)
    else:
        train = replace(own.train, learning_rate=_BASELINE_RATE)
        recipe = Recipe(
            _FEW_POINTS.get(preset, model), own.data, train, TASKS.find(model.task)[0]()
        )
    return replace(recipe, data=replace(recipe.data, name=data))


def _of_few(model: ModelConfig) -> ModelConfig:
    """What takes the place of a model for many points of images, or of its control."""
    if model == _OF_IMAGES:
        return _OF_FEW_PIXELS
    control: ModelConfig | None = model.sized_like(_OF_FEW_PIXELS)
    return model if control is None or model != model.sized_like(_OF_IMAGES) else control


def _of_targets(data: str, preset: str, model: ModelConfig) -> Recipe:
    """Of numbers, which no augmentation may change; or of labels of the points."""
    kind = TASKS.find(model.task)[0]
    config = DataConfig(data, normalise="set", target=kind.target_kind)
    train = _OF_NUMBERS
    if model.task == "segmentation":
        config, train = replace(config, jitter=0.02), _OF_POINTS
    if not preset.startswith("ddeq"):
        train = replace(train, learning_rate=_BASELINE_RATE)
    return Recipe(model, config, train, kind())


def default_data(task: str) -> str:
    """The data set of a task without a request: one that needs no files."""
    return {"regression": "blobs", "segmentation": "moons"}.get(task, "digits")


def default_preset(task: str) -> str:
    """The preset of a task without a request: the first of those made for it.

    Raises:
        UserError: There is none.
    """
    for name, preset in PRESETS.items():
        if preset.task == task:
            return name
    raise UserError(f"no preset is made for the task {task}; register a model with one")


# Entered here all the same, so that it can be seen what there is.
for _data in DATA_SETS:
    for _preset in PRESETS:
        RECIPES[_data, _preset] = recipe_for(_data, _preset)
