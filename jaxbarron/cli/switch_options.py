"""The options of ``jaxbarron switch``, read and checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxbarron.activations import Activation, activation
from jaxbarron.cli.output import check_may_write
from jaxbarron.errors import ToleranceError, UsageError

__all__ = [
    "DEFAULT_TOL",
    "check_folder",
    "checked_loss",
    "checked_radius",
    "demand_of",
    "names_of",
    "refuse",
    "targets_of",
]

DEFAULT_TOL = 1e-3


def refuse(options: dict[str, Any], owner: str) -> None:
    """Raise UsageError if an option that belongs to another one is given."""
    for name, value in options.items():
        if value is not None:
            raise UsageError(
                f"given: {name} without {owner}; expected: it with {owner} only; do: leave it out"
            )


def names_of(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Names from repeated and comma-separated options."""
    names = (name.strip() for text in texts or () for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def targets_of(to: Sequence[str] | None) -> tuple[Activation, ...]:
    """The targets, each once."""
    names = names_of(to)
    if not names:
        raise UsageError("given: no target; expected: --to NAME; do: e.g. --to relu")
    return tuple(dict.fromkeys(activation(name) for name in names))


def demand_of(
    tol: float | None, particles: int | None, output_tol: float | None
) -> tuple[float | None, int | None]:
    """``tol`` and ``particles``, of which one counts, or none beside ``output_tol``."""
    given = {"--tol": tol, "--particles": particles, "--output-tol": output_tol}
    several = [f"{name} {value:g}" for name, value in given.items() if value is not None]
    if len(several) > 1:
        raise UsageError(
            f"given: {' and '.join(several)}; expected: one of them; do: choose the error at a "
            "site, the size of a kernel, or the change of the outputs"
        )
    return (tol, particles) if several else (DEFAULT_TOL, None)


def checked_radius(radius: float | None) -> float | None:
    """A radius, or None."""
    if radius is not None and not (math.isfinite(radius) and radius > 0):
        raise ToleranceError(
            f"given: --radius {radius}; expected: a finite number > 0; do: e.g. --radius 0.05"
        )
    return radius


def checked_loss(max_loss: float | None) -> float | None:
    """A largest loss of the metric, or None."""
    if max_loss is not None and not (math.isfinite(max_loss) and max_loss >= 0):
        raise ToleranceError(
            f"given: --max-loss {max_loss}; expected: a finite number >= 0; do: e.g. 0.005"
        )
    return max_loss


def check_folder(option: str, folder: Path | None) -> None:
    """Nothing is made before there is something to put in it; that it can be made is seen now."""
    if folder is None:
        return
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(
            f"given: {option} {folder}, but {there} is no folder; expected: a folder, or a name "
            "for one; do: choose another name"
        )
    check_may_write(there, f"{option} {folder}")
