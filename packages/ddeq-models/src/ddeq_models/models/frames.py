"""In which frame the coordinates of clouds tell what is to be learned of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ddeq_models.models.description import quantiles
from ddeq_models.models.ridge import ridge
from set_attention import mean_pool

# Of the variance of what is to be learned: what the frames explain must differ by so much,
SHARE = 0.05
# and by so many standard errors.
ERRORS = 2.0
# Of more columns the means alone are looked at: a regression on the quantiles would take too long.
_MOST = 64


def centred(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means (B, d) of clouds (B, n, d), and their points relative to these, 0 in padding."""
    inside = (weights > 0).unsqueeze(-1)
    clean = torch.where(inside, points, 0)
    mean = mean_pool(clean, weights)
    own = torch.where(inside, clean - mean.unsqueeze(-2), 0)
    # The second pass removes the rounding of the first, which is large far from the origin.
    return mean, torch.where(inside, own - mean_pool(own, weights).unsqueeze(-2), 0)


@torch.no_grad()
def place_tells(points: Tensor, weights: Tensor, labels: Tensor) -> bool:
    """Whether coordinates as they are tell more than about each cloud's own centre.

    The quantiles of the coordinates are taken in three frames: as they are, about the cloud's mean,
    and in units of its radius besides. From those of each frame a ridge regression says the
    classes, or the numbers, of each cloud by all the others. The place tells if the first misses
    less than both of the others by `SHARE` of the variance and by `ERRORS` standard errors of the
    difference over the clouds.

    Args:
        points: (C, n, d); padded rows may hold anything.
        weights: (C, n), each row summing to 1, 0 for padding.
        labels: (C,) int64, or numbers (C, k).
    """
    if len(points) < 3:
        return False
    share = weights[..., None].cpu().double()
    x = torch.where(share > 0, points.cpu().double(), 0)
    _, own = centred(x, share[..., 0])
    radius = (share * own.square()).sum(-2, keepdim=True).mean(-1, keepdim=True).sqrt()
    relative = own / torch.where(radius > 0, radius, 1)
    wanted = labels.cpu()
    if not wanted.is_floating_point():
        wanted = torch.nn.functional.one_hot(wanted)
    wanted = wanted.reshape(len(x), -1).double()
    wanted = wanted - wanted.mean(0)
    missed = [_missed(frame, share, wanted) for frame in (x, own, relative)]
    variance = wanted.square().sum(-1).mean()
    for other in missed[1:]:
        gain = other - missed[0]  # of each cloud
        error = gain.std() / len(gain) ** 0.5
        if not float(gain.mean()) > max(SHARE * float(variance), ERRORS * float(error)):
            return False
    return True


def _missed(x: Tensor, share: Tensor, wanted: Tensor) -> Tensor:
    """Squared error (C,) of each cloud, by what the quantiles of the others say of it."""
    found = quantiles(x, share) if x.shape[-1] <= _MOST else (share * x).sum(-2)
    found = found - found.mean(0)
    spread = found.std(0, correction=0)
    # What rounding leaves of a number that all clouds share is not worth a unit.
    constant = spread <= 1e-9 * x.abs().max()
    return ridge(found / torch.where(constant, torch.inf, spread), wanted).missed.square().sum(-1)
