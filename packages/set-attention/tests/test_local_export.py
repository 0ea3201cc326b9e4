"""Local pooling in a program of `torch.export`, for any number of measures and points."""

import pytest
import torch

import set_attention as sa


@pytest.mark.skipif(
    torch.__version__ < (2, 6), reason="torch.export freezes what farthest points are noted in"
)
def test_an_exported_stage_pools_measures_of_any_size() -> None:
    torch.manual_seed(0)
    stage = sa.LocalPool(4, 2, 6, 5, out_dim=8).eval()

    def measures(batch: int, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weights = torch.rand(batch, n) + 0.1
        weights[-1, n // 2 + 1 :] = 0
        places = torch.randn(batch, n, 2)
        places[0, -1] = places[0, 0]  # a place twice
        return torch.randn(batch, n, 4), places, weights

    batch, n = torch.export.Dim("batch", max=1024), torch.export.Dim("n", max=1 << 20)
    program = torch.export.export(
        stage, measures(3, 20), dynamic_shapes=({0: batch, 1: n},) * 3, strict=False
    ).module()
    # Fewer points than tokens, fewer than neighbours, one.
    for sizes in ((4, 23), (2, 5), (7, 3), (1, 1)):
        told = measures(*sizes)
        for ours, other in zip(stage(*told), program(*told), strict=True):
            torch.testing.assert_close(other, ours, rtol=1e-5, atol=1e-5)
