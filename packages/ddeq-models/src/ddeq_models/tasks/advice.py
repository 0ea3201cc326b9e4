"""What is wrong with a training that learned nothing, in a sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

FEW_STEPS = 200


def chance(counts: Sequence[int]) -> float:
    """The accuracy of who always says the commonest class.

    Args:
        counts: Clouds of each class.
    """
    return max(counts) / sum(counts)


def advice(
    accuracy: float, counts: Sequence[int], records: Sequence[Mapping[str, Any]]
) -> str | None:
    """Why a classifier sits at chance, and what to do; None if it does not.

    At chance is who is not better than the commonest class by two standard errors; or, of so few
    clouds that nobody could be, who is not better at all.

    Args:
        accuracy: On the validation clouds.
        counts: Validation clouds of each class.
        records: Those of the training.
    """
    clouds = sum(counts)
    if clouds == 0:
        return None
    least = chance(counts)
    clearly = least + 2 * math.sqrt(least * (1 - least) / clouds)
    if accuracy > (clearly if clearly < 1 else least):
        return None
    said = (
        f"the model learned nothing: {accuracy:.1%} of the validation clouds are told, and always "
        f"to say the commonest class tells {least:.1%}"
    )
    trained = [record for record in records if record.get("split") == "train"]
    if not trained:
        return said
    steps, learned = trained[-1].get("step", 0), trained[-1].get("accuracy") or 0.0
    if learned > least + 0.3:
        return (
            f"{said}. It knows {learned:.0%} of the training clouds by heart: more clouds, "
            "or augmentation (--set data.rotate=15), would help, if the classes differ at all"
        )
    if steps < FEW_STEPS:
        epochs = math.ceil(FEW_STEPS * trained[-1].get("epoch", 1) / max(steps, 1))
        return f"{said}. It took only {steps} steps: give --epochs {epochs} or more"
    return (
        f"{said}. Nor does it tell the training clouds ({learned:.0%}): try a smaller "
        "--learning-rate, and see with `ddeq datasets show` whether the clouds are what they are "
        "meant to be"
    )
