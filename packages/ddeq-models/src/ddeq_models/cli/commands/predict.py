"""``ddeq predict``: its options, one call, and what is said of it."""

import argparse
import sys
from dataclasses import fields
from typing import Any

from ddeq_models._internal.files import json_line
from ddeq_models._internal.text import shown
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN, add_columns, add_device
from ddeq_models.using.answers import Estimate, PointLabels
from ddeq_models.using.predict import predict


def add(commands: Any) -> Parser:
    """``ddeq predict``."""
    parser = add_command(
        commands,
        "predict",
        "RUN FILE... ",
        "label files of points",
        "Label files of points with a trained model: ddeq predict mnist-classifier FILE...\n"
        "The clouds are normalised as in the training. x goes to the right and y upwards.\n"
        "If files are bad, all of them are named and nothing is done.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="npy, npz (points, perhaps weights), txt, csv, xyz, pts, off, ply or pcd. "
        "Without weights all points weigh the same; for digits give the pixels' values.",
    )
    add_columns(parser)
    add_device(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON object a line: file, label, probabilities, converged, message, "
        "unlike (the training; null: not known), why; of a regression file, values; of a "
        "segmentation file, classes, labels (a number for each row, -1: no point)",
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    predictions = predict(
        options.run,
        options.files,
        columns=options.columns or (),
        features=options.features or (),
        device=options.device,
    )
    for prediction in predictions:
        name = shown(prediction.file)
        if not prediction.converged:
            print(f"ddeq: warning: {name}: {prediction.message}", file=sys.stderr)
        if getattr(prediction, "unlike", False):
            print(f"ddeq: warning: {name}: {prediction.why}", file=sys.stderr)
        if options.json:
            print(json_line(_told(prediction)))
        else:
            print(f"{name}: {_said(prediction)}")


def _told(prediction: Any) -> dict[str, Any]:
    """What the JSON object holds."""
    told = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    if isinstance(prediction, PointLabels):
        told["labels"] = prediction.labels.tolist()
    return told


def _said(prediction: Any) -> str:
    """What the line says."""
    if isinstance(prediction, Estimate):
        return "  ".join(f"{shown(name)} {x:.6g}" for name, x in prediction.values.items())
    if isinstance(prediction, PointLabels):
        shares = "  ".join(f"{shown(name)} {x:.1%}" for name, x in prediction.shares().items())
        count = int((prediction.labels >= 0).sum())
        out = len(prediction.labels) - count
        left = f", {out:,} {'rows' if out > 1 else 'row'} of no weight or place" if out else ""
        return f"{count:,} points{left}   ({shares})"
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    rest = "  ".join(f"{shown(kind)} {p:.4f}" for kind, p in ranked if p >= 5e-5)
    return f"{shown(prediction.label)}   ({rest})"
