"""Pictures from figures: PNG files, without a window and without global state."""

from ddeq_models.report.pictures.completions import draw_completions
from ddeq_models.report.pictures.confusion_matrix import draw_confusion_matrix
from ddeq_models.report.pictures.flow import Flow, draw_flows
from ddeq_models.report.pictures.training_curves import draw_training_curves

__all__ = [
    "Flow",
    "draw_completions",
    "draw_confusion_matrix",
    "draw_flows",
    "draw_training_curves",
]
