"""How large each preset is on each data set, and how it is trained, unless the user says."""

from dataclasses import dataclass

from ddeq_models.config import DataConfig, DataName, TrainConfig
from ddeq_models.ddeq import DDEQConfig
from ddeq_models.presets import PRESETS


@dataclass(frozen=True)
class Recipe:
    """The model, normalisation and augmentation, and the training, for one data set and preset.

    Attributes:
        model: The preset, in the size that the data set wants.
        data: The clouds.
        train: The training.
    """

    model: DDEQConfig
    data: DataConfig
    train: TrainConfig


_DIGITS = DataConfig("digits", rotate=15.0, scale=0.1, stretch=0.1, shear=0.1, jitter=0.05)

RECIPES: dict[tuple[DataName, str], Recipe] = {
    ("digits", "ddeq"): Recipe(
        PRESETS["ddeq"], _DIGITS, TrainConfig(epochs=50, learning_rate=2e-3, ema=0.99)
    ),
    # One epoch sees no cloud twice, so that augmentation would only make it harder.
    ("mnist", "ddeq"): Recipe(
        PRESETS["ddeq"],
        DataConfig("mnist"),
        TrainConfig(epochs=1, batch_size=32, learning_rate=1.5e-3, ema=0.99),
    ),
    # The authors train with Adam at 1e-3 and no augmentation; their flow takes 200 evaluations.
    ("digits", "ddeq-paper"): Recipe(
        PRESETS["ddeq-paper"],
        DataConfig("digits"),
        TrainConfig(epochs=5, learning_rate=1e-3, weight_decay=0.0),
    ),
    ("mnist", "ddeq-paper"): Recipe(
        PRESETS["ddeq-paper"],
        DataConfig("mnist"),
        TrainConfig(epochs=1, learning_rate=1e-3, weight_decay=0.0),
    ),
}
