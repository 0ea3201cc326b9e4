"""``hatch run bench NAME [options]``: run a benchmark, print its table, keep its figures."""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch

from benchmarks.attention import peers
from benchmarks.by_place import SOAK, load
from benchmarks.data import reading
from benchmarks.solver import (
    adjoint_memory,
    evaluations,
    fractal,
    gradients,
    kernels,
    large_measures,
    solver_overhead,
)
from benchmarks.tasks import driver as tasks
from benchmarks.training import (
    completion,
    digits_seeds,
    finetune,
    gpu,
    scaling,
    step_memory,
    training_step,
    unlike,
)
from benchmarks.unseen import driver as unseen
from benchmarks.unseen import trial

BENCHMARKS: dict[str, ModuleType] = {
    "training-step": training_step,
    "step-memory": step_memory,
    "scaling": scaling,
    "gradients": gradients,
    "adjoint-memory": adjoint_memory,
    "solver-overhead": solver_overhead,
    "fractal": fractal,
    "evaluations": evaluations,
    "kernels": kernels,
    "digits-seeds": digits_seeds,
    "data": reading,
    "data-kills": load(SOAK / "data_kills.py"),
    "kills": load(SOAK / "training_kills.py"),
    "damage": load(SOAK / "damage.py"),
    "large-measures": large_measures,
    "attention": peers,
    "completion": completion,
    "finetune": finetune,
    "unlike": unlike,
    "unseen": unseen,
    "unseen-trial": trial,
    "tasks": tasks,
    "gpu": gpu,
}


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, run one benchmark, print it, write it.

    Args:
        words: The command line; None is that of the process.
    """
    parser = argparse.ArgumentParser(prog="hatch run bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, module in BENCHMARKS.items():
        lines = (module.__doc__ or "").splitlines()
        sub = names.add_parser(name, help=lines[0], description=lines[0])
        sub.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        sub.add_argument("--threads", type=int, default=torch.get_num_threads())
        module.add_arguments(sub)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    figures = BENCHMARKS[options.name].run(options)
    print(BENCHMARKS[options.name].table(figures))
    if options.json is not None:
        machine = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": options.threads,
            "machine": platform.machine(),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**figures, "environment": machine}, indent=2) + "\n")
        print(f"figures: {options.json}")


if __name__ == "__main__":
    main()
