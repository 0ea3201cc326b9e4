"""``ddeq calibrate``: its options, one call, and what is said of it."""

import argparse
from typing import Any

from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN, add_device
from ddeq_models.measuring.calibrate import calibrate


def add(commands: Any) -> Parser:
    """``ddeq calibrate``."""
    parser = add_command(
        commands,
        "calibrate",
        "RUN ",
        "calibrate the answers of an older run",
        "Fit the temperature of a classifier's probabilities, and the limits of what is\n"
        "like its training, on the validation clouds of its data. A training does so at\n"
        "its end; this is for runs that have no calibration.safetensors.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--root", metavar="DIR", help="folder of the data [the run's]")
    add_device(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    found = calibrate(options.run, root=options.root, device=options.device)
    before, after = found.errors.tolist()
    print(
        f"temperature {float(found.temperature):.3f}: calibration error of "
        f"{int(found.clouds[1]):,} validation clouds {before:.2%}, then {after:.2%}"
    )
