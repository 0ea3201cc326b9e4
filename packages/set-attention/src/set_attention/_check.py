"""How a law is checked: run a function with its gradients, compare, say what broke the law."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SetFunction = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Outcome:
    """A result (weights: also of None, then 0), and the gradients along a cotangent."""

    out: Tensor
    cotangent: Tensor
    x: Tensor
    weights: Tensor
    parameters: list[Tensor]


@dataclass(frozen=True)
class Check:
    """One law under test: runs the function, and says what broke the law."""

    law: str
    function: SetFunction
    parameters: list[Tensor]
    tolerance: float
    generator: torch.Generator

    @classmethod
    def of(
        cls,
        law: str,
        function: SetFunction,
        x: Tensor,
        parameters: Iterable[Tensor] | None,
        tolerance: float | None,
        seed: int,
    ) -> "Check":
        """Fill in the defaults of the assertions."""
        if parameters is None:
            parameters = function.parameters() if isinstance(function, nn.Module) else ()
        if tolerance is None:
            tolerance = {torch.float64: 1e-10, torch.float32: 1e-4}.get(x.dtype, 0.05)
        tracked = [parameter for parameter in parameters if parameter.requires_grad]
        return cls(law, function, tracked, tolerance, torch.Generator().manual_seed(seed))

    def random(self, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) in the shape of a tensor."""
        return torch.rand(like.shape, generator=self.generator).to(like.device)

    def draw(self, out: Tensor) -> Tensor:
        """A cotangent for a result: normal numbers in its shape."""
        return torch.randn(out.shape, generator=self.generator).to(out)

    def run(
        self, x: Tensor, weights: Tensor | None, cotangent: Callable[[Tensor], Tensor]
    ) -> Outcome:
        """Evaluate the function, and the gradients along the cotangent of its result."""
        x = x.detach().requires_grad_()
        tracked = [x, *self.parameters]
        if weights is not None:
            weights = weights.detach().requires_grad_()
            tracked.append(weights)
        out = self.function(x, weights)
        direction = cotangent(out)
        if out.requires_grad:
            gradients = list(
                torch.autograd.grad(
                    out, tracked, direction, allow_unused=True, materialize_grads=True
                )
            )
        else:
            gradients = [torch.zeros_like(tensor) for tensor in tracked]
        of_weights = gradients.pop() if weights is not None else x.new_zeros(x.shape[:-1])
        return Outcome(out.detach(), direction, gradients[0], of_weights, gradients[1:])

    def has_rows(self, out: Tensor, before: Tensor, n: int, rows: int) -> bool:
        """Whether a result has a row for each point: it grows by as many as the set does."""
        if out.shape == before.shape:
            return False
        if before.dim() > 1 and out.shape == (*before.shape[:-2], n + rows, before.shape[-1]):
            return True
        raise AssertionError(
            f"{self.law}: the result of {n} points has shape {tuple(before.shape)}, that of "
            f"{n + rows} has {tuple(out.shape)}; expected the same, or a row for each point"
        )

    def same(self, what: str, actual: Tensor, expected: Tensor) -> None:
        """Raise unless two tensors agree to the tolerance, relative to the largest entry."""
        self.finite(what, expected)
        scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
        torch.testing.assert_close(
            actual,
            expected,
            rtol=0,
            atol=self.tolerance * scale,
            msg=lambda text: f"{self.law}: {what} is not what it should be. {text}",
        )

    def same_parameters(self, trial: str, actual: Outcome, expected: Outcome) -> None:
        """Raise unless the gradients of all parameters agree."""
        for number, pair in enumerate(zip(actual.parameters, expected.parameters, strict=True)):
            self.same(f"{trial}the gradient of parameter {number}", *pair)

    def zero(self, what: str, actual: Tensor) -> None:
        """Raise unless all entries are exactly 0."""
        if not bool((actual == 0).all()):
            raise AssertionError(f"{self.law}: {what} is not 0 but {actual}")

    def finite(self, what: str, actual: Tensor) -> None:
        """Raise unless all entries are finite."""
        if not bool(actual.isfinite().all()):
            raise AssertionError(f"{self.law}: {what} is not finite but {actual}")


def uniform(x: Tensor) -> Tensor:
    """The weights 1/n."""
    return x.new_full(x.shape[:-1], 1 / x.shape[-2])


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x (..., n, d) at indices (..., m): (..., m, d)."""
    return x.gather(-2, _spread(x, index))


def add_rows(x: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Copy of x (..., n, d) with rows (..., m, d) added at indices (..., m)."""
    return x.scatter_add(-2, _spread(x, index), rows)


def _spread(x: Tensor, index: Tensor) -> Tensor:
    return index.unsqueeze(-1).expand(*index.shape, x.shape[-1])
