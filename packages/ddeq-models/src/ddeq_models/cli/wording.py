"""What the command says of results, in words."""

from collections.abc import Mapping
from typing import Any

from ddeq_models._internal.text import shown
from ddeq_models.runs.folder import RunFolder
from ddeq_models.tasks.base import build_task

__all__ = ["diagnosis_table", "summary"]


def summary(run: RunFolder) -> str:
    """The test figures of a finished run, how its solver did, and where it is."""
    result = run.result()
    of_run = f"({_told(result, 'parameters', ',')} parameters, {_told(result, 'seconds', '.0f')} s)"
    clouds = _told(result, "test_clouds", ",")
    lines = [f"{build_task(run.config()).summary(result, clouds)} {of_run}"]
    if "solver_steps_mean" in result:
        lines.append(
            f"solver: {_told(result, 'solver_steps_mean', '.1f')} steps on average, "
            f"{_told(result, 'solver_failures', '')} failures, relative spread of the particles "
            f"{_told(result, 'spread', '.2f')}"
        )
    if peer := result.get("peer"):
        figure = (
            "R2 " + _told(peer, "r2", ".4g") if "r2" in peer else _told(peer, "accuracy", ".2%")
        )
        lines.append(
            f"beside it: {shown(peer['name'])}, {figure} "
            f"({_told(peer, 'train_clouds', ',')} clouds, {_told(peer, 'seconds', '.1f')} s)"
        )
    if note := result.get("note"):
        lines.append(f"note: {shown(note)}")
    return "\n".join([*lines, f"run folder: {shown(str(run.path))}"])


def _told(result: Mapping[str, Any], name: str, form: str) -> str:
    """A figure, if it is known."""
    value = result.get(name)
    return "unknown" if value is None else format(value, form)


def diagnosis_table(result: Mapping[str, Any]) -> str:
    """What `diagnose` found, a line for each cloud."""
    lines = [
        f"{result['data']}, {result['split']}: the equilibria of {len(result['clouds'])} clouds",
        "solver              adjoint             phantom  eigenvalues of the cell's Jacobian,",
        "steps  residual     products  residual  angle    the largest first (error)",
    ]
    for cloud in result["clouds"]:
        values = "  ".join(
            f"{x:.3f}{y:+.3f}i" if y else f"{x:.3f}" for x, y in cloud["eigenvalues"]
        )
        lines.append(
            f"{cloud['steps']:5}  {cloud['residual']:8.1e}{' ' if cloud['converged'] else '!'}    "
            f"{cloud['adjoint_steps']:8}  {cloud['adjoint_residual']:7.1e}"
            f"{' ' if cloud['adjoint_converged'] else '!'} {cloud['angle']:6.1f}°   {values} "
            f"({cloud['eigenvalue_error']:.0e})"
        )
    lines.append(
        f"between the phantom and the exact gradient of all these clouds: {result['angle']:.1f}°, "
        f"cosine {result['cosine']:.4f}"
    )
    if not all(cloud["converged"] and cloud["adjoint_converged"] for cloud in result["clouds"]):
        lines.append(
            "! the tolerance was not reached: that row is not of an equilibrium, or not exact"
        )
    return "\n".join(lines)
