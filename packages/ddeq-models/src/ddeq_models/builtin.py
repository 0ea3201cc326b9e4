# isort: skip_file
"""The plugin of this package: its models, tasks and data sets, in the order of the help's lists.

Each registers itself when it is imported; see `ddeq_models.registry`.
"""

import ddeq_models.models.classifier
import ddeq_models.models.repeated
import ddeq_models.models.completer
import ddeq_models.models.regressor
import ddeq_models.models.segmenter
import ddeq_models.models.paper
import ddeq_models.models.baselines
import ddeq_models.tasks.classification
import ddeq_models.tasks.completion
import ddeq_models.tasks.regression
import ddeq_models.tasks.segmentation
import ddeq_models.data.datasets  # noqa: F401
