"""The `ddeq` command: options in, one function call, words out."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ddeq_data import DataError
from ddeq_models.arguments import parse
from ddeq_models.config import TrainConfig
from ddeq_models.errors import UserError
from ddeq_models.recipes import RECIPES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The exit code: 0, or what the error says, whose sentence then stands on standard error.
    """
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        _COMMANDS[options.command](options)
        sys.stdout.flush()
    except (UserError, DataError) as error:
        print(f"ddeq: {error}", file=sys.stderr)
        return getattr(error, "exit_code", UserError.exit_code)
    except KeyboardInterrupt:
        print("ddeq: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"ddeq: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _train(options: argparse.Namespace) -> None:
    from ddeq_models.training import train

    recipe = RECIPES[options.data, options.preset]
    chosen = {f.name: getattr(options, f.name, None) for f in fields(TrainConfig)}
    model = recipe.model
    solver = {"adjoint": options.adjoint, "rtol": options.rtol, "max_steps": options.max_steps}
    root = None if options.root is None else str(Path(options.root).absolute())
    try:
        model = replace(model, **_given(solver))
    except ValueError as error:
        raise UserError(str(error)) from error
    run = train(
        model,
        replace(recipe.data, root=root),
        replace(recipe.train, **_given(chosen)),
        preset=options.preset,
        out=options.out,
        device=options.device,
    )
    result = run.result()
    print(
        f"test accuracy {result['test_accuracy']:.2%} on {result['test_clouds']:,} clouds "
        f"({result['parameters']:,} parameters, {result['seconds']:.0f} s)\n"
        f"solver: {result['solver_steps_mean']:.1f} steps on average, "
        f"{result['solver_failures']} failures, relative spread of the particles "
        f"{result['spread']:.2f}\n"
        f"run folder: {run.path}"
    )


def _evaluate(options: argparse.Namespace) -> None:
    from ddeq_models.evaluation import evaluate

    result = evaluate(
        options.run,
        data=options.data,
        root=options.root,
        split=options.split,
        batch_size=options.batch_size,
        device=options.device,
    )
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"{result['data']}, {result['split']}: {result['clouds']:,} clouds\n"
        f"accuracy {result['accuracy']:.2%}, mean over classes "
        f"{result['mean_class_accuracy']:.2%}, cross-entropy {result['loss']:.4f}\n"
        f"solver: {result['solver_steps_mean']:.1f} steps on average, at most "
        f"{result['solver_steps_max']}; residual {result['residual_mean']:.1e} on average; "
        f"{result['solver_failures']} failures; relative spread {result['spread']:.2f}"
    )


def _predict(options: argparse.Namespace) -> None:
    from ddeq_models.prediction import predict

    for prediction in predict(options.run, options.files, device=options.device):
        if not prediction.converged:
            print(f"ddeq: warning: {prediction.file}: {prediction.message}", file=sys.stderr)
        if options.json:
            shown = {name: getattr(prediction, name) for name in ("file", "label", "probabilities")}
            print(json.dumps(shown, ensure_ascii=False))
        else:
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            rest = "  ".join(f"{name} {p:.4f}" for name, p in ranked if p >= 5e-5)
            print(f"{prediction.file}: {prediction.label}   ({rest})")


def _report(options: argparse.Namespace) -> None:
    from ddeq_models.report import write_report

    print(write_report(options.runs, options.out, device=options.device))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


_COMMANDS = {"train": _train, "evaluate": _evaluate, "predict": _predict, "report": _report}
