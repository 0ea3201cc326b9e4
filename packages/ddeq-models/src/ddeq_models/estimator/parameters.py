"""What scikit-learn asks of every estimator, without a base class of scikit-learn's."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

from ddeq_models.errors import UserError

__all__ = ["Parameters", "parameters_of"]


class Parameters:
    """Parameters of the constructor by name, which the attributes are called like."""

    _estimator_type: ClassVar[str]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name; none of them has parameters of its own."""
        return {name: getattr(self, name) for name in parameters_of(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name.

        Raises:
            UserError: There is no parameter of that name; none was changed.
        """
        known = parameters_of(type(self))
        for name in params:
            if name not in known:
                raise UserError(
                    f"{type(self).__name__} has no parameter {name}; it has {', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """The parameters that are not at their defaults."""
        defaults = parameters_of(type(self))
        changed = {
            name: value
            for name, value in self.get_params().items()
            if repr(value) != repr(defaults[name].default)
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn, which alone asks, is told of the estimator."""
        from sklearn.utils import (
            ClassifierTags,
            InputTags,
            RegressorTags,
            Tags,
            TargetTags,
            TransformerTags,
        )

        kind = self._estimator_type
        return Tags(
            estimator_type=kind,
            target_tags=TargetTags(required=True, multi_output=kind == "regressor"),
            transformer_tags=TransformerTags(preserves_dtype=[]) if kind == "transformer" else None,
            classifier_tags=ClassifierTags() if kind == "classifier" else None,
            regressor_tags=RegressorTags() if kind == "regressor" else None,
            input_tags=InputTags(three_d_array=True),
        )


def parameters_of(kind: type[Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a constructor."""
    known = dict(inspect.signature(kind.__init__).parameters)
    del known["self"]
    return known
