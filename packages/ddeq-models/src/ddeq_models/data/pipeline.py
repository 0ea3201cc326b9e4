"""From the name of a data set to batches as the model gets them.

Training, evaluation and prediction all pass through `normaliser`, so that a file is seen as the
clouds of the training were, and the latter two through `view`, exactly alike.
"""

from dataclasses import replace

import torch
from torch.utils.data import DataLoader

from ddeq_data import (
    CloudDataset,
    Compose,
    DropPoints,
    Frame,
    Jitter,
    OnCoordinates,
    PointBatch,
    RandomRotation,
    RandomScale,
    RandomShear,
    RandomShift,
    SizeBuckets,
    ToFloat32,
    Transform,
    UnitSphere,
    ZScore,
    collate,
    fit_frame,
)
from ddeq_data.datasets import TargetKind
from ddeq_data.transforms import FarthestSample
from ddeq_models.config import DataConfig, Split
from ddeq_models.data.entries import entry
from ddeq_models.errors import UserError
from ddeq_models.registry import DATA_SETS, plugin_of


def open_split(config: DataConfig, split: Split) -> CloudDataset:
    """One split of the data set of a run, neither normalised nor augmented.

    Args:
        config: The data set and its folder.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        UserError: The data set needs a root and has none, or has one and reads no files.
        DataError: The files are missing or damaged.
    """
    known = entry(config.name)
    unread = known.find is None and plugin_of(DATA_SETS, config.name) is None
    if unread and config.root is not None:  # --data was forgotten, perhaps
        raise UserError(
            f"{config.name} reads no files: nothing is taken from --root {config.root}; leave it "
            "out, or take the data set that is there, --data folder if it is your own"
        )
    return known.open(config, split)


def framed(config: DataConfig, train_set: CloudDataset) -> DataConfig:
    """The clouds with the frame of their training split, where they are normalised as a set."""
    if config.normalise != "set" or config.unit:
        return config
    frame = fit_frame(train_set)
    return replace(config, centre=frame.centre, unit=frame.scale)


def normaliser(config: DataConfig) -> Transform:
    """What is done to every cloud before the model sees it.

    Raises:
        UserError: The clouds are normalised as a set whose frame is not known.
    """
    match config.normalise:
        case "set":
            if not config.unit:
                raise UserError(
                    "normalise is set, but data.centre and data.unit are missing: a training finds "
                    "them; give both, or another normalise"
                )
            return Compose([Frame(config.centre, config.unit), ToFloat32()])
        case "z-score":
            return _geometric(Compose([ToFloat32(centre=True), ZScore()]), config)
        case "unit-sphere":
            return _geometric(Compose([ToFloat32(centre=True), UnitSphere()]), config)
        case "none":
            return ToFloat32()


def _geometric(transform: Transform, config: DataConfig) -> Transform:
    """A transform that features beside the coordinates have no part in."""
    return OnCoordinates(transform, len(config.features)) if config.features else transform


def view(config: DataConfig) -> Transform:
    """What is done to a cloud that is measured or predicted: a function of the cloud alone."""
    normalise = normaliser(config)
    if not config.points:
        return normalise
    return Compose([normalise, thinning(config)])


def thinning(config: DataConfig, *, random: bool = False) -> Transform:
    """What chooses `points` of a cloud, from a first one by chance or from the outermost."""
    return FarthestSample(
        config.points, random=random, features=len(config.features), at=config.points_at
    )


def augmentation(config: DataConfig) -> Transform:
    """The random changes of normalised training clouds; the identity where all are off."""
    steps: list[Transform] = []
    if config.rotate:
        steps.append(RandomRotation(config.rotate))
    if config.scale:
        steps.append(RandomScale(1 - config.scale, 1 + config.scale))
    if config.stretch:
        steps.append(RandomScale(1 - config.stretch, 1 + config.stretch, per_axis=True))
    if config.shear:
        steps.append(RandomShear(config.shear))
    if config.shift:
        steps.append(RandomShift(config.shift))
    if config.jitter:
        steps.append(Jitter(config.jitter))
    if config.drop:
        steps.append(DropPoints(config.drop))
    moved = [_geometric(step, config) for step in steps]
    if not config.points:
        return Compose(moved)
    # By the law of `view`: points drawn by chance lie otherwise, and carry their mass otherwise.
    return Compose([thinning(config, random=True), *moved])


def batches(
    dataset: CloudDataset,
    batch_size: int,
    *,
    seed: int | None = None,
    pin_memory: bool = False,
    odds: torch.Tensor | None = None,
) -> tuple["DataLoader[PointBatch]", SizeBuckets]:
    """A loader of padded batches and the sampler that orders them.

    Args:
        dataset: The clouds.
        batch_size: Clouds in a batch; the last one may be smaller.
        seed: Seed of the shuffling, a new order for each ``sampler.set_epoch``; None keeps one
            order, for evaluation.
        pin_memory: Whether batches are put where a GPU can fetch them by itself.
        odds: How often each cloud is drawn, with a seed; see `ddeq_data.SizeBuckets`.
    """
    sampler = SizeBuckets(
        dataset.sizes, batch_size, shuffle=seed is not None, seed=seed or 0, odds=odds
    )
    loader: DataLoader[PointBatch] = DataLoader(
        dataset,  # type: ignore[arg-type]  # its __getitems__ gives whole batches
        batch_sampler=sampler,
        collate_fn=collate,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # its workers' seeds shall not come from the global one
    )
    return loader, sampler


def held_out(config: DataConfig, train_set: CloudDataset, validation_set: CloudDataset) -> bool:
    """Whether validation clouds tell what a model makes of clouds that it did not learn from.

    They do not where they are the training clouds, of which there were too few to spare any, and
    where they were learnt from.
    """
    if config.learn_from != "train" or not len(validation_set):
        return False
    same = len(train_set) == len(validation_set)
    return not (same and train_set.fingerprint() == validation_set.fingerprint())


def moved(batch: PointBatch, device: torch.device, transform: Transform) -> PointBatch:
    """A batch on a device, as the model sees it, in float32.

    Clouds come in float64 where float32 would move their points. Not every device has float64:
    these are transformed before they are moved.

    Args:
        batch: The clouds as the data set has them.
        device: Where the model is.
        transform: From `normaliser` or `view`.
    """
    pinned = device.type == "cuda"  # by `batches`
    if torch.float64 in (batch.points.dtype, batch.weights.dtype):
        return batch.map(transform).to(device, non_blocking=pinned)
    return batch.to(device, non_blocking=pinned).map(transform)


def generator_of(seed: int, step: int) -> torch.Generator:
    """Source of everything random in one training step, on the processor.

    It depends on nothing but the two numbers: no state has to be saved and restored to go on from
    a step, and clouds are augmented alike on every device.
    """
    from numpy.random import SeedSequence

    state = SeedSequence([seed, step]).generate_state(2)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def check_data(config: DataConfig, dataset: CloudDataset) -> None:
    """See that what is done to the clouds of a run can be done to these.

    Raises:
        UserError: They have too few or too many coordinates for it, or it is nothing that is done
            to such clouds.
    """
    _check_of_use(config)
    if config.points_at != "chosen" and not config.points:
        raise UserError(
            f"points_at is {config.points_at}, but all points are taken as they are; give points "
            "(--points N), or leave points_at out"
        )
    dim = dataset.coordinates
    if config.rotate and dim not in (2, 3):
        raise UserError(
            f"data.rotate is {config.rotate:g}, but only points of 2 or 3 coordinates can be "
            f"turned and these have {dim}; take --set data.rotate=0"
        )
    if config.normalise == "set" and config.unit and len(config.centre) != dim:
        raise UserError(
            f"data.centre must have {dim} numbers, one for each coordinate of these points, got "
            f"{len(config.centre)}; leave data.centre and data.unit out: a training finds them"
        )


def _check_of_use(config: DataConfig) -> None:
    """See that what is asked of the files has an effect; a plugin alone knows what it looks at."""
    name, known = config.name, entry(config.name)
    if plugin_of(DATA_SETS, name) is not None:
        return
    if config.weighted and (known.weighed or not known.image):
        why = "always weigh as much as their pixels" if known.weighed else "have no pixels to weigh"
        raise UserError(f"the points of {name} {why}; leave weighted out")
    if config.release != "meshes" and not known.releases:
        raise UserError(f"{name} has no release {config.release}; leave release out")
    own = ("default", "surface", "vertices") if name == "folder" else ("default",)
    if not known.releases and config.sampling not in own:
        raise UserError(f"of {name} no cloud is sampled by {config.sampling}; leave sampling out")


_TOLD = {
    "class": "a class of each cloud",
    "numbers": "numbers of each cloud",
    "points": "a label of each point",
}


def check_target(dataset: CloudDataset, kind: TargetKind, task: str = "the model") -> None:
    """See that of clouds is known what a task needs.

    Raises:
        UserError: It is something else.
    """
    if dataset.target_kind != kind:
        raise UserError(
            f"{task} needs {_TOLD[kind]}, and what is known is {_TOLD[dataset.target_kind]}; give "
            "other data, or take another task"
        )


def check_fit(
    dataset: CloudDataset, dim: int, classes: tuple[str, ...], kind: TargetKind = "class"
) -> None:
    """See that clouds are of the kind that a model was trained on.

    Args:
        dataset: The clouds.
        dim: Columns of a point.
        classes: Names of the classes, numbers or labels.
        kind: What is known of them.

    Raises:
        UserError: Their dimension or their classes are others.
    """
    check_target(dataset, kind)
    if dataset.dim != dim:
        raise UserError(
            f"the model was trained on points of dimension {dim}, these have dimension "
            f"{dataset.dim}; evaluate it on the data of its run"
        )
    if tuple(dataset.classes) != classes:
        what = {"class": "classes", "numbers": "numbers", "points": "labels"}[kind]
        raise UserError(
            f"the model knows the {what} {', '.join(classes)}, these clouds are of "
            f"{', '.join(dataset.classes)}; evaluate it on the data of its run"
        )
