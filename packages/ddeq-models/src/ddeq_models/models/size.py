"""How large a model may be: asked before anything of it is allocated."""

from __future__ import annotations

from typing import Any

from ddeq_models.errors import UserError
from ddeq_models.models.description import BINS, description_size

__all__ = ["MOST_WEIGHTS", "check_size", "weights_at_most"]

MOST_WEIGHTS = 2**28  # 1 GiB of float32: a hundred times the largest preset


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
    hidden = max(of("hidden"), of("joint"), dim)
    narrow = max(of("bilinear_dim"), 1)
    described = (
        BINS * description_size(of("point_dim"), placed=True)
        if hasattr(config, "description")
        else 0
    )
    inner = of("point_dim") * (1 + 2 * of("octaves")) + of("noise_dim") + dim
    blocks = 4 + of("layers") + sum(of(f"{n}_blocks") for n in ("encoder", "self", "cross"))
    blocks += 4 * len(getattr(config, "widths", ()))
    return (
        blocks * (8 * dim * dim + 4 * dim * hidden + 4 * inner * hidden)
        + 4 * dim * narrow * (narrow + 4)
        + (described + 4 * of("pooled")) * dim
        + (of("classes") + of("outputs") + of("inducing") + 2) * dim * max(of("particles"), 4)
        + 4096 * (of("coarse") + of("classes")) * max(of("point_dim"), 1)
        + 16_000_000 * (not hasattr(config, "dim"))  # widths of their own: PointNet, PCN
    )
