"""How large a model may be: asked before anything of it is allocated."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ddeq_models.description import BINS, description_size
from ddeq_models.errors import UserError

__all__ = ["MOST_WEIGHTS", "check_bounds", "check_size", "weights_at_most"]

MOST_WEIGHTS = 2**28  # 1 GiB of float32: a hundred times the largest preset

# What each number of a model's configuration may be, by its name; one of another name need only be
# finite. Powers of ten above what anybody has used.
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("point_dim", "noise_dim"), (1, 1024)),
    "classes": (1, 100_000),
    "particles": (1, 16_384),
    **dict.fromkeys(("dim", "hidden", "bilinear_dim", "inducing", "widths", "pooled"), (1, 16_384)),
    **dict.fromkeys(("heads", "coarse", "side", "neighbours", "rate"), (1, 16_384)),
    **dict.fromkeys(("encoder_blocks", "self_blocks", "cross_blocks", "layers"), (0, 256)),
    "octaves": (0, 64),
    "scales": (0, 16),
    **dict.fromkeys(("coordinates", "rows"), (0, 2**20)),
    "memory": (1, 1000),
    **dict.fromkeys(("max_steps", "adjoint_steps"), (1, 1_000_000)),
}
# Numbers that are above 0, and shares that are below 1.
_LARGEST = 1e30  # float32 goes to 3e38
_POSITIVE = ("damping", "step", "step_decay", "rtol", "adjoint_rtol", "ratio", "patch")
_SHARES = ("dropout", "hiding", "summary_dropout")
_NOT_NEGATIVE = ("orthogonality",)


def check_bounds(config: Any) -> None:
    """See that every number of a model's configuration is within its bounds.

    Raises:
        ValueError: One is not; naming it.
    """
    for field in fields(config):
        value, name = getattr(config, field.name), field.name
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if name in _BOUNDS:
                low, high = _BOUNDS[name]
                fits, range_ = low <= number <= high, f"between {low} and {high:,}"
                range_ = f"at least {low}" if number < low else range_
            elif name in _POSITIVE:
                fits = 0 < number <= _LARGEST
                range_ = f"finite and at most {_LARGEST:g}" if number > 0 else "above 0"
            elif name in _SHARES:
                fits, range_ = 0 <= number < 1, "at least 0 and below 1"
            elif name in _NOT_NEGATIVE:
                fits, range_ = 0 <= number <= _LARGEST, f"at least 0 and at most {_LARGEST:g}"
            else:
                fits, range_ = abs(number) < 2**53, "finite and below 2^53"
            if not fits:
                raise ValueError(f"{name} must be {range_}, got {number}")


def check_size(config: Any) -> None:
    """See that a model does not have more weights than `MOST_WEIGHTS`.

    Raises:
        UserError: It may have.
    """
    most = weights_at_most(config)
    if most > MOST_WEIGHTS:
        raise UserError(
            f"a model of this configuration has up to {most:.1e} weights, more than "
            f"{MOST_WEIGHTS:,}; take smaller dim, hidden, particles or fewer blocks"
        )


def weights_at_most(config: Any) -> int:
    """Weights that a model has at most, by its configuration: from above, within a factor."""

    def of(name: str, default: int = 0) -> int:
        value = getattr(config, name, default)
        return int(max(value, default=0) if isinstance(value, tuple) else value)

    dim = max(of("dim"), of("widths"), 64)
    hidden = max(of("hidden"), dim)
    narrow = max(of("bilinear_dim"), 1)
    described = BINS * description_size(of("point_dim")) if hasattr(config, "description") else 0
    inner = of("point_dim") * (1 + 2 * of("octaves")) + of("noise_dim") + dim
    blocks = 4 + of("layers") + sum(of(f"{n}_blocks") for n in ("encoder", "self", "cross"))
    blocks += 4 * len(getattr(config, "widths", ()))
    return (
        blocks * (8 * dim * dim + 4 * dim * hidden + 4 * inner * hidden)
        + 4 * dim * narrow * (narrow + 4)
        + (described + 4 * of("pooled")) * dim
        + (of("classes") + of("inducing") + 2) * dim * max(of("particles"), 4)
        + 4096 * (of("coarse") + of("classes")) * max(of("point_dim"), 1)
        + 16_000_000 * (not hasattr(config, "dim"))  # widths of their own: PointNet, PCN
    )
