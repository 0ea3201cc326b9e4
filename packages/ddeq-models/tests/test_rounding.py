"""What rounding does to an answer: no more than it should."""

import pytest
import torch

from ddeq_models import from_pretrained


@pytest.mark.parametrize("name", ["mnist-classifier", "fashion-classifier"])
def test_rounding_moves_no_answer_about_an_image(name: str) -> None:
    """On a grid many points are equally far, and of more than 512 some are chosen."""
    chance = torch.Generator().manual_seed(0)
    pixels = torch.cartesian_prod(torch.arange(28.0), torch.arange(28.0))
    ink = torch.rand(4, 784, generator=chance)
    centre = torch.rand(4, 1, 2, generator=chance) * 12 + 8
    near = (pixels - centre).norm(dim=-1) < torch.tensor([4.0, 9, 14, 30])[:, None]
    weights = torch.where(near & (ink > 0.1), ink, 0)
    weights = weights / weights.sum(-1, keepdim=True)
    assert int((weights > 0).sum(-1).max()) > 512
    points = (pixels - 14).expand(4, -1, -1) / 14
    model = from_pretrained(name)
    with torch.no_grad():
        expected = model(points, weights).logits
        noise = torch.randn(points.shape, generator=chance)
        found = model(points * (1 + 1e-7 * noise), weights).logits
    assert float((found - expected).abs().max()) < 1e-2
