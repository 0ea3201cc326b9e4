"""The options of the commands that use trained models."""

from typing import Any

from ddeq_models.arguments.parser import (
    RUN,
    Parser,
    add_columns,
    add_command,
    add_device,
    add_solver,
    add_split,
)
from ddeq_models.data import DATA_SETS


def add_evaluate(commands: Any) -> Parser:
    """``ddeq evaluate``."""
    parser = add_command(
        commands,
        "evaluate",
        "RUN ",
        "measure a trained model on a split",
        "Measure a trained model on a split of its data set, or of another with\n"
        "the same classes. The clouds are normalised as in the training.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--data", choices=DATA_SETS, metavar="NAME", help="data set [the run's]")
    parser.add_argument("--root", metavar="DIR", help="folder of its files [the run's]")
    add_split(parser)
    parser.add_argument(
        "--batch-size", type=int, default=256, metavar="N", help="clouds at once [256]"
    )
    add_solver(parser)
    parser.add_argument("--step", type=float, metavar="X", help="the integrator's step [the run's]")
    parser.add_argument(
        "--rtol", type=float, metavar="X", help="the solver's relative tolerance [the run's]"
    )
    parser.add_argument(
        "--max-steps", type=int, metavar="N", help="its budget of evaluations [the run's]"
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def add_predict(commands: Any) -> Parser:
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
        help="print a JSON object a line: file, label, probabilities",
    )
    return parser


def add_complete(commands: Any) -> Parser:
    """``ddeq complete``."""
    parser = add_command(
        commands,
        "complete",
        "RUN FILE... --out DIR ",
        "complete files of points",
        "Add the points that are missing to files of points, with a trained completer:\n"
        "ddeq complete mnist-completer FILE... --out DIR\n"
        "x goes to the right and y upwards. Each FILE becomes DIR/<name>.npz: all points,\n"
        "the file's first, their weights, and which were visible; and DIR/<name>.png.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="npy, npz, txt, csv, xyz, pts, off, ply or pcd"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--count", type=int, metavar="N", help="points to add to each file [in the run's ratio]"
    )
    add_columns(parser)
    add_device(parser)
    return parser


def add_diagnose(commands: Any) -> Parser:
    """``ddeq diagnose``."""
    parser = add_command(
        commands,
        "diagnose",
        "RUN ",
        "look at the equilibria of a trained model",
        "For some clouds of the run's data: the largest eigenvalues of the cell's Jacobian\n"
        "at equilibrium (all within the unit disc: the plain iteration converges), the\n"
        "residual of the linear solve behind the exact gradient, and the angle between the\n"
        "one-step phantom gradient and the exact one.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--clouds", type=int, default=8, metavar="N", help="how many clouds [8]")
    parser.add_argument("--root", metavar="DIR", help="folder of the data [the run's]")
    add_split(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def add_report(commands: Any) -> Parser:
    """``ddeq report``."""
    parser = add_command(
        commands,
        "report",
        "RUN... --out FILE ",
        "one HTML page about runs, side by side",
        "Write one HTML page that needs no network and no other file: results, curves,\n"
        "confusion matrix, the particles' flow and what they attend to, failures.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folders, or as for predict")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the page; one that exists is replaced"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the data [each run's]")
    add_device(parser)
    return parser


def add_models(commands: Any) -> Parser:
    """``ddeq models`` and its actions."""
    parser = add_command(
        commands,
        "models",
        "[show NAME | save RUN DIR] ",
        "list the models, show a card, save a run as one",
        "List the architectures that can be trained, and the trained models that come with\n"
        "the package: their names stand for a run folder in every other command.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = add_command(
        actions,
        "show",
        "NAME ",
        "print a model card",
        "Print the card of a model: what it expects, how it was trained, its figures.",
        command="models show",
    )
    show.add_argument("run", metavar="NAME", help="a shipped model, or a model folder")
    save = add_command(
        actions,
        "save",
        "RUN DIR ",
        "make a model folder of a run",
        "Make a model folder of a run, to keep or to pass on: config.json,\n"
        "model.safetensors and a model card, in the layout of the Hugging Face Hub.",
        command="models save",
    )
    save.add_argument("run", metavar="RUN", help="the run folder")
    save.add_argument("folder", metavar="DIR", help="empty or not there; names the model")
    save.add_argument("--license", metavar="ID", help="of the weights: mit, cc-by-4.0, ... [none]")
    return parser
