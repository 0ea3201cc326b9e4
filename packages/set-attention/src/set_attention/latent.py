"""An encoder of large sets: a few learned latent rows read the set, and talk among themselves."""

import torch
from torch import Tensor, nn

from set_attention.blocks import TransformerBlock
from set_attention.feed_forward import Activation
from set_attention.measures import check_width
from set_attention.set_transformer import MAB


class LatentEncoder(nn.Module):
    r"""From a measure of any number of points to k latent rows, O(n k) per reading.

    .. math::
        Z \leftarrow Z_0; \quad \text{for each reading:}\quad
        Z \leftarrow \mathrm{MAB}(Z, X), \quad
        Z \leftarrow T_1(\ldots T_{depth}(Z))

    and a last ``torch.nn.LayerNorm``, so that Z can serve as the context of other blocks. All
    blocks are pre-norm; X is normalised before each reading. Jaegle et al. (2021), "Perceiver",
    without shared parameters between readings. The result is invariant: for features of the points
    let them query it (``CrossBlock``), or use ``ISAB``, which is one reading and one query. An
    empty set gives a function of :math:`Z_0` alone.

    Args:
        dim: Width of the latent rows; a multiple of ``heads``.
        heads: Number of attention heads.
        hidden: Hidden width of the feed-forward maps.
        latents: Number k of latent rows.
        readings: How often the latent rows attend to the set.
        depth: Number of ``TransformerBlock`` on the latent rows after each reading.
        context_dim: Width of the set; None: ``dim``. It is normalised row by row, so bare
            coordinates should be lifted first (``FourierFeatures``, ``torch.nn.Linear``).
        dropout: Probability of the ``RowDropout`` of all blocks.
        activation: ``"gelu"`` or ``"relu"``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        latents: int,
        *,
        readings: int = 1,
        depth: int = 1,
        context_dim: int | None = None,
        dropout: float = 0.0,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        if latents < 1 or readings < 1 or depth < 0:
            raise ValueError(
                "expected at least one latent row, at least one reading and no negative depth, "
                f"but got latents={latents}, readings={readings} and depth={depth}"
            )
        self.latents = nn.Parameter(torch.empty(latents, dim))
        self.readers = nn.ModuleList(
            MAB(
                dim,
                heads,
                hidden,
                context_dim=context_dim,
                norm="pre",
                dropout=dropout,
                activation=activation,
            )
            for _ in range(readings)
        )
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                TransformerBlock(dim, heads, hidden, dropout=dropout, activation=activation)
                for _ in range(depth)
            )
            for _ in range(readings)
        )
        self.norm = nn.LayerNorm(dim)
        self.context_dim = dim if context_dim is None else context_dim
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw normal latent rows of unit scale, and reset the blocks and the norm."""
        nn.init.normal_(self.latents)
        for block in self.modules():
            if isinstance(block, (MAB, TransformerBlock)):
                block.reset_parameters()
        self.norm.reset_parameters()

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Encode a measure.

        Args:
            x: (..., n, context_dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., latents, dim).
        """
        check_width(x, self.context_dim)
        z: Tensor = self.latents
        for reader, stack in zip(self.readers, self.stacks, strict=True):
            assert isinstance(reader, MAB)
            assert isinstance(stack, nn.ModuleList)
            z = reader(z, reader.context(x, weights))
            for block in stack:
                z = block(z)
        z = self.norm(z)
        return z

    def extra_repr(self) -> str:
        """Number of latent rows, as it was given."""
        return f"latents={len(self.latents)}"
