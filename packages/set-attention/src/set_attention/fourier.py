"""Positional features of points: sines and cosines of their coordinates."""

import math

import torch
from torch import Tensor, nn

from set_attention.measures import check_width, clear_padding


class FourierFeatures(nn.Module):
    r"""Points with sines and cosines of their coordinates, in octaves of one longest wavelength.

    .. math::
        x \mapsto \bigl(x,\; \sin(2\pi\, 2^k x / L),\; \cos(2\pi\, 2^k x / L)\bigr)_{k < octaves}

    A perceptron learns smooth functions of bare coordinates first and fine ones late; these
    features give it the fine ones at once (Mildenhall et al. 2020; Tancik et al. 2020). Choose L at
    least as long as the points are spread, so that no two of them look alike, and as many octaves
    that :math:`L / 2^{octaves}` is about the detail that matters. The default L = 8 fits normalised
    points, most of whose coordinates lie within ±2. No parameters.

    The features come in the order x, all sines, all cosines; sines and cosines octave by octave.

    Args:
        dim: Number of coordinates.
        octaves: Number of frequencies of each coordinate; with 0 the module is the identity.
        wavelength: The longest wavelength L, in the unit of the points.
    """

    def __init__(self, dim: int, octaves: int, *, wavelength: float = 8.0) -> None:
        super().__init__()
        if dim < 1 or octaves < 0 or not wavelength > 0:
            raise ValueError(
                "expected a positive number of coordinates, no negative number of octaves and a "
                f"positive wavelength, but got dim={dim}, octaves={octaves} and "
                f"wavelength={wavelength}"
            )
        self.dim = dim
        self.octaves = octaves
        self.wavelength = wavelength
        self.out_dim = dim * (1 + 2 * octaves)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Append the features of each row.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full.

        Returns:
            (..., n, out_dim) with ``out_dim = dim * (1 + 2 * octaves)``, 0 in padded rows.
        """
        check_width(x, self.dim)
        x = clear_padding(x, weights)
        if not self.octaves:
            return x
        # Numbers, not a buffer: they have the precision of x in any dtype.
        scales = [2 * math.pi / self.wavelength * 2**k for k in range(self.octaves)]
        angles = torch.cat([scale * x for scale in scales], -1)
        return clear_padding(torch.cat([x, angles.sin(), angles.cos()], -1), weights)

    def extra_repr(self) -> str:
        """Sizes, as they were given."""
        return f"dim={self.dim}, octaves={self.octaves}, wavelength={self.wavelength}"
