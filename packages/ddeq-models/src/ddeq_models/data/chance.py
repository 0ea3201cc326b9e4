"""Chances that are another's."""

from __future__ import annotations

import torch

__all__ = ["pass_over"]


def pass_over(generator: torch.Generator, clouds: int) -> None:
    """Draw what some clouds would have been given, one 64-bit seed each, and throw it away.

    The random transforms and crops of `ddeq_data` draw such a seed for each cloud, in their order,
    and nothing else: what comes afterwards is as if these clouds had been there.
    """
    if clouds:
        seeds = torch.empty(clouds, dtype=torch.int64, device=generator.device)
        seeds.random_(-(2**63), None, generator=generator)
