"""How each preset is trained on each data set, unless the user says otherwise."""

from dataclasses import dataclass

from ddeq_models.config import DataConfig, DataName, TrainConfig


@dataclass(frozen=True)
class Recipe:
    """Normalisation and augmentation, and the training, for one data set and preset."""

    data: DataConfig
    train: TrainConfig


_DIGITS = DataConfig("digits", rotate=15.0, scale=0.1, stretch=0.1, shear=0.1, jitter=0.05)
_MNIST = DataConfig("mnist", rotate=10.0, stretch=0.1, shear=0.1, jitter=0.02)

RECIPES: dict[tuple[DataName, str], Recipe] = {
    ("digits", "ddeq"): Recipe(_DIGITS, TrainConfig(epochs=60, learning_rate=2e-3, ema=0.99)),
    ("mnist", "ddeq"): Recipe(_MNIST, TrainConfig(epochs=1, learning_rate=1e-3, ema=0.99)),
    # The authors train with Adam at 1e-3 and no augmentation; their flow takes 200 evaluations.
    ("digits", "ddeq-paper"): Recipe(
        DataConfig("digits"), TrainConfig(epochs=5, learning_rate=1e-3, weight_decay=0.0)
    ),
    ("mnist", "ddeq-paper"): Recipe(
        DataConfig("mnist"), TrainConfig(epochs=1, learning_rate=1e-3, weight_decay=0.0)
    ),
}
