"""The models in the manner of scikit-learn: ``fit``, ``predict``, ``transform`` on arrays.

scikit-learn need not be installed; where it is, its searches, pipelines and validations take these
estimators for its own.
"""

from ddeq_models.estimator.classifier import DDEQClassifier
from ddeq_models.estimator.regressor import DDEQRegressor
from ddeq_models.estimator.transformer import DDEQTransformer

__all__ = ["DDEQClassifier", "DDEQRegressor", "DDEQTransformer"]
