"""The `ddeq` command: options in, one function call, words out."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddeq_data import CloudDataset, DataError, PointCloudFolder
from ddeq_models.arguments import parse
from ddeq_models.config import Release, RunConfig, check_columns, differences
from ddeq_models.errors import UserError
from ddeq_models.files import json_line
from ddeq_models.metrics import SOLVER_FIGURES
from ddeq_models.ranks import is_first
from ddeq_models.run_folder import RunFolder
from ddeq_models.text import shown
from ddeq_models.wording import diagnosis_table, summary


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The exit code: 0, or what the error says, whose sentence then stands on standard error.
    """
    _prepare_streams()
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        _COMMANDS[options.command](options)
        sys.stdout.flush()
    except (UserError, DataError) as error:
        # What went wrong on one process only is told by the first: see `Ranks.together`.
        if is_first():
            lines = getattr(error, "lines", (str(error),))
            print("ddeq: " + "\n  ".join(map(shown, lines)), file=sys.stderr)
        return getattr(error, "exit_code", UserError.exit_code)
    except KeyboardInterrupt:
        print("ddeq: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        name = shown(os.fsdecode(error.filename or "standard output or a file"))
        print(f"ddeq: {name}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _prepare_streams() -> None:
    """See that there are streams to print to, and that no character stops a result."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # it was closed: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _train(options: argparse.Namespace) -> None:
    from ddeq_models.assembly import assemble
    from ddeq_models.diagnosis import diagnose
    from ddeq_models.memory import keep_freed_memory
    from ddeq_models.training import resume_run, train

    keep_freed_memory()
    manner = {
        "device": options.device,
        "quiet": options.quiet,
        "checkpoint_every": options.checkpoint_every,
        "tensorboard": options.tensorboard,
    }
    if options.resume in (None, "auto"):
        if options.resume and options.out is None:
            raise UserError("--resume auto needs --out, the run folder to go on with or to start")
        config = assemble(options)
        _check_diagnose(options, config)
        run = train(
            config.model,
            config.data,
            config.train,
            task=config.task,
            preset=config.preset,
            out=options.out,
            resume=options.resume is not None,
            **manner,
        )
    else:
        _check_diagnose(options, _check_resumed(options))
        run = resume_run(options.resume, **manner)
    if is_first():
        print(summary(run))
        if options.diagnose:
            print(diagnosis_table(diagnose(run.path, device=options.device)))


def _check_diagnose(options: argparse.Namespace, config: RunConfig) -> None:
    """See that there will be something to diagnose, before the training."""
    if options.diagnose and not hasattr(config.model, "velocity"):
        raise UserError(f"the model {config.model.kind} solves nothing; leave --diagnose out")


def _check_resumed(options: argparse.Namespace) -> RunConfig:
    """The run to go on with; the other options must not ask for another one."""
    from ddeq_models.assembly import assemble

    if options.out is not None and Path(options.out).absolute() != Path(options.resume).absolute():
        raise UserError(f"--resume {options.resume} goes on in that folder; leave --out out")
    config = RunFolder(options.resume).config()
    if other := differences(config, assemble(options, config)):
        raise UserError(
            f"{options.resume} is a run with {', '.join(other)}; leave these options out, or start "
            "another run with --out"
        )
    return config


def _evaluate(options: argparse.Namespace) -> None:
    from ddeq_models.evaluation import evaluate

    result = evaluate(
        options.run,
        data=options.data,
        root=options.root,
        split=options.split,
        batch_size=options.batch_size,
        solver=options.solver,
        step=options.step,
        rtol=options.rtol,
        max_steps=options.max_steps,
        device=options.device,
    )
    if options.json:
        print(json_line(result))
        return
    print(f"{result['data']}, {result['split']}: {result['clouds']:,} clouds")
    if "accuracy" in result:
        print(
            f"accuracy {result['accuracy']:.2%}, mean over classes "
            f"{result['mean_class_accuracy']:.2%}, cross-entropy {result['loss']:.4f}"
        )
    else:
        shown = {
            n: x for n, x in result.items() if isinstance(x, float) and n not in SOLVER_FIGURES
        }
        print(", ".join(f"{name} {value:.4g}" for name, value in shown.items()))
    if "solver_steps_mean" in result:
        print(
            f"solver: {result['solver_steps_mean']:.1f} steps on average, at most "
            f"{result['solver_steps_max']}; residual {result['residual_mean']:.1e} on average; "
            f"{result['solver_failures']} failures; relative spread {result['spread']:.2f}"
        )


def _predict(options: argparse.Namespace) -> None:
    from ddeq_models.prediction import predict

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
        if options.json:
            told = {name: getattr(prediction, name) for name in ("file", "label", "probabilities")}
            if not prediction.converged:
                told |= {"converged": False, "message": prediction.message}
            print(json_line(told))
        else:
            ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
            rest = "  ".join(f"{shown(kind)} {p:.4f}" for kind, p in ranked if p >= 5e-5)
            print(f"{name}: {shown(prediction.label)}   ({rest})")


def _diagnose(options: argparse.Namespace) -> None:
    from ddeq_models.diagnosis import diagnose

    result = diagnose(
        options.run,
        clouds=options.clouds,
        root=options.root,
        split=options.split,
        device=options.device,
    )
    if options.json:
        print(json_line(result))
        return
    print(diagnosis_table(result))


def _datasets(options: argparse.Namespace) -> None:
    from ddeq_models.catalogue import entry, listing

    root = Path(options.root)
    if options.action is None:
        print("\n".join(map(shown, listing(root).split("\n"))))
        return
    chosen = entry(options.name)
    there = options.action == "show" and options.release is None
    release: Release = chosen.release(root) if there else options.release or "meshes"
    if options.release is not None and options.release not in chosen.releases:
        of = f"; it has {', '.join(chosen.releases)}" if chosen.releases else ""
        raise UserError(f"{chosen.name} has no release {options.release}{of}")
    if options.action == "get":
        if chosen.download is None:
            why = "is always there" if chosen.find is None else "is read from files of your own"
            raise UserError(f"{chosen.name} {why}; nothing is fetched")
        try:
            chosen.download(root, release)
        except ModuleNotFoundError as error:
            raise UserError("ddeq datasets get needs: pip install 'ddeq-data[download]'") from error
        print("; ".join(chosen.find(root)) if chosen.find else "")
        return
    from ddeq_models.files import write_output
    from ddeq_models.pictures.clouds import draw_clouds

    out = Path(options.out or f"{chosen.name}.png")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder for the picture; make it first")
    columns, features = options.columns or (), options.features or ()
    if chosen.name == "folder":
        check_columns(columns, features)
        clouds: CloudDataset = PointCloudFolder(
            root, options.split, columns=columns or None, features=features
        )
    elif columns or features:
        raise UserError(f"{chosen.name} has columns of its own; leave --columns and --features out")
    else:
        clouds = chosen.open(root, options.split, release)
    name = f"{chosen.name} ({release})" if chosen.releases else chosen.name
    title = f"{name}, {options.split}: {len(clouds):,} clouds"
    write_output(out, draw_clouds(clouds, title, "z" if release == "meshes" else "y"))
    print("\n".join(map(shown, [*str(clouds).splitlines(), f"picture: {out}"])))


def _complete(options: argparse.Namespace) -> None:
    from ddeq_models.completing import complete

    files = complete(
        options.run,
        options.files,
        options.out,
        count=options.count,
        columns=options.columns or (),
        features=options.features or (),
        device=options.device,
    )
    for file in files:
        name, place = shown(file.file), shown(str(file.out))
        if not file.converged:
            print(f"ddeq: warning: {name}: {file.message}", file=sys.stderr)
        print(f"{name}: {file.visible} points and {file.completed} more in {place}")


def _report(options: argparse.Namespace) -> None:
    from ddeq_models.report import write_report

    page = write_report(options.runs, options.out, root=options.root, device=options.device)
    print(shown(str(page)))


def _models(options: argparse.Namespace) -> None:
    from ddeq_models.model_card import CARD
    from ddeq_models.model_folder import open_model, save_pretrained
    from ddeq_models.zoo import listing

    if options.action is None:
        print(listing())
    elif options.action == "save":
        made = save_pretrained(options.run, options.folder, license=options.license)
        print(shown(str(made)))
    else:
        card = open_model(options.run).path / CARD
        if not card.is_file():
            raise UserError(
                f"{options.run} has no model card; ddeq models save {options.run} DIR makes one"
            )
        print("\n".join(map(shown, _card(card).split("\n"))), end="")


def _card(path: Path) -> str:
    """The text of a model card, which may be somebody else's."""
    from ddeq_models.files import read_owned

    try:
        return read_owned(path.parent, path.name).decode("utf-8", "replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


_COMMANDS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "complete": _complete,
    "diagnose": _diagnose,
    "report": _report,
    "datasets": _datasets,
    "models": _models,
}
