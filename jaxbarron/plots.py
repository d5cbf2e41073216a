"""Pictures: a source and its kernel, and the error between its certified bounds."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxbarron.certificates import Certificate, write_atomically
from jaxbarron.errors import UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program

__all__ = ["SUFFIXES", "check_plot_file", "knots_of", "plot_certificate"]

SUFFIXES = (".pdf", ".png", ".svg")
_POINTS = 4001


def knots_of(kernel: ParticleMeasure) -> np.ndarray:
    """The distinct points ``-beta_k / alpha_k`` of a kernel, ascending; a constant has none.

    Example:
        >>> from jaxbarron.measures import unit_kernel
        >>> knots_of(unit_kernel()).tolist()
        [0.0]
    """
    directions = np.asarray(kernel.directions, np.float64)[:, 0]
    offsets = np.asarray(kernel.offsets, np.float64)
    bent = directions != 0
    return np.unique(0.0 - offsets[bent] / directions[bent])


def check_plot_file(path: str | os.PathLike[str]) -> None:
    """Raise unless a picture can be drawn into a file of that name.

    Raises:
        UsageError: another suffix than .pdf, .png, .svg, or matplotlib is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"given: a picture {os.fspath(path)!r}; expected: a name that ends in "
            f"{', '.join(SUFFIXES)}; do: e.g. kernel.svg"
        )
    _matplotlib()


def plot_certificate(certificate: Certificate, path: str | os.PathLike[str]) -> None:
    """Draw a certified kernel: the functions above, the error and its certified bounds below.

    The knots are marked.  The error drawn is computed in floating point at 4001 points of the part
    that the picture shows; the bounds are the certificate's.

    Args:
        certificate: with the kernel in it.
        path: a .pdf, .png or .svg file; written whole or not at all.

    Raises:
        UsageError: another suffix, or matplotlib is not installed.
        OSError: the file cannot be written.
    """
    check_plot_file(path)
    source, target, kernel = certificate.source, certificate.target, certificate.kernel
    knots = knots_of(kernel)
    z = np.linspace(*_window(knots, certificate.reach), _POINTS)
    exact = np.broadcast_to(evaluate_program(source.program, z), z.shape)
    weights, directions, offsets = kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets
    terms = evaluate_program(target.program, np.multiply.outer(z, directions) + offsets)
    values = np.broadcast_to(terms, (z.size, weights.size)) @ weights
    upper = certificate.upper

    # The figure is made without pyplot: no window, and nothing global is touched.
    figure = _matplotlib()(figsize=(7.0, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.plot(z, exact, color="0.6", linewidth=4, label=source.name)
    above.plot(z, values, color="C0", linewidth=1.2, label=f"{kernel.particles} x {target.name}")
    above.legend(frameon=False)
    above.set_title(certificate.claim, fontsize="small", wrap=True)
    below.plot(z, exact - values, color="C0", linewidth=1)
    if math.isfinite(upper):
        for side in (-upper, upper):
            below.axhline(side, color="C3", linestyle="--", linewidth=1)
        below.set_ylim(-1.25 * upper or None, 1.25 * upper or None)
    shown = knots[(knots >= z[0]) & (knots <= z[-1])]
    below.plot(shown, np.zeros_like(shown), "|", color="0.2", markersize=8)
    below.set_ylabel(f"error ({certificate.level} bound dashed)", fontsize="small")
    below.set_xlabel("z (knots marked)")
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix.lower().removeprefix("."), dpi=150)
    write_atomically(Path(path), content.getvalue())


def _window(knots: np.ndarray, reach: float) -> tuple[float, float]:
    # 6 is past every bend of the registered activations; the far polynomial particles of a kernel
    # on a reach do not stretch the picture beyond it.
    left = min(-6.0, float(knots.min(initial=0.0)) - 1.0)
    right = max(6.0, float(knots.max(initial=0.0)) + 1.0)
    return max(left, -reach), min(right, reach)


def _matplotlib() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            "given: a picture to draw without matplotlib; expected: matplotlib; "
            "do: pip install 'jaxbarron[plot]' (in a clone: pip install -e '.[plot]')"
        ) from None
    return Figure
