"""``jaxbarron kernel``: print a kernel with its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax
import typer

from jaxbarron.activations import Activation, activation, repu
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.certificates import Certificate, save
from jaxbarron.certify import certified_kernel
from jaxbarron.cli.output import (
    certificate_fields,
    check_writable,
    console,
    size_of,
    table,
    working,
    write_json,
)
from jaxbarron.domains import Ball
from jaxbarron.errors import UsageError
from jaxbarron.norms import norm
from jaxbarron.plots import check_plot_file, knots_of, plot_certificate
from jaxbarron.trade_off import TradeOffPoint, trade_off_curve

__all__ = ["kernel_command", "target_activation"]

_ROWS = 40
_PARTICLES = 24  # of --minimise norm, where no size is given


def kernel_command(
    source: Annotated[str, typer.Argument(help="The activation to represent, e.g. gelu.")],
    target: Annotated[
        str | None,
        typer.Argument(help="The activation to represent it with, e.g. relu. Left out: see --s."),
    ] = None,
    tol: Annotated[
        float | None, typer.Option("--tol", help="Largest certified error allowed.")
    ] = None,
    particles: Annotated[
        int | None, typer.Option("--particles", help="Largest number of particles allowed.")
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Certify TARGET in the place of SOURCE, one for one.")
    ] = False,
    s: Annotated[
        int | None, typer.Option("--s", help="The target is RePU_s = max(0, z)^s.")
    ] = None,
    reach: Annotated[
        float | None, typer.Option("--reach", help="Serve |z| <= REACH only (default: all of R).")
    ] = None,
    derivatives: Annotated[
        int, typer.Option("--derivatives", help="Certify the derivatives up to this order too.")
    ] = 0,
    minimise: Annotated[
        str, typer.Option("--minimise", help="error, or norm: the least norm on --reach.")
    ] = "error",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON; - is stdout.")
    ] = None,
    save_file: Annotated[
        Path | None, typer.Option("--save", help="Write the certificate, for 'jaxbarron verify'.")
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw kernel and error: .png, .svg or .pdf.")
    ] = None,
    all_rows: Annotated[bool, typer.Option("--all", help="Print every particle.")] = False,
) -> None:
    """Print a kernel from SOURCE to TARGET with the certificate of its error.

    A kernel is a list of particles (weight c, direction a, offset b) such that
    source(z) = sum of c * target(a z + b) up to the certified error, for every real z or for
    |z| <= REACH. Give the error allowed (--tol), the size allowed (--particles), or --direct
    to learn how far two activations are apart. 'jaxbarron activations' lists the names.
    With --minimise norm the kernel is the representation of least norm on |z| <= REACH in cells
    (24 particles unless --tol or --particles say otherwise); its norm is printed beside bounds of
    the least one, and the trade between error and norm on as many knots.

    \b
      jaxbarron kernel gelu relu --tol 1e-3
      jaxbarron kernel tanh --s 2 --particles 24 --derivatives 1 --plot tanh.svg
      jaxbarron kernel gelu gelu_tanh --direct
      jaxbarron kernel silu --s 2 --minimise norm --reach 8
    """
    sigma, tau = activation(source), target_activation(target, s)
    check_writable(json_file, save_file, plot_file)
    if plot_file is not None:
        check_plot_file(plot_file)
    if minimise == "norm" and tol is None and particles is None:
        particles = _PARTICLES
    chosen: Literal["error", "norm"] = minimise  # pyright: ignore[reportAssignmentType]  # checked
    with working(f"{sigma.name} -> {tau.name}: kernel and certificate"):
        _, certificate = certified_kernel(
            sigma,
            tau,
            tol=tol,
            particles=particles,
            reach=reach,
            direct=direct,
            derivatives=derivatives,
            minimise=chosen,
        )
        sharp = _norms(certificate) if minimise == "norm" else None
    if save_file is not None:
        save(certificate, save_file)
    if plot_file is not None:
        plot_certificate(certificate, plot_file)
    if json_file is not None:
        document = _document(certificate)
        if sharp is not None:
            curve = [
                {"norm": p.norm, "error": p.error, "particles": p.kernel.particles}
                for p in sharp.curve
            ]
            document["norm"] = {"kernel": sharp.norm, "lower": sharp.lower, "upper": sharp.upper}
            document["curve"] = curve
        write_json(document, json_file)
    if str(json_file) != "-":
        _print(certificate, len(certificate.kernel.offsets) if all_rows else _ROWS)
        if sharp is not None:
            _print_norms(sharp)


def target_activation(name: str | None, s: int | None) -> Activation:
    """The target from a name, or RePU_s from ``--s``."""
    if s is None and name is not None:
        return activation(name)
    if s is not None and name in (None, "repu"):
        return repu(s)
    if s is None:
        raise UsageError(
            "given: no target; expected: TARGET or --s; do: name it, e.g. relu, or --s 1"
        )
    raise UsageError(
        f"given: the target {name!r} and --s {s}; expected: one of them; do: leave TARGET out, or "
        "write repu"
    )


class _Norms(NamedTuple):
    norm: float
    lower: float
    upper: float
    curve: tuple[TradeOffPoint, ...]


def _norms(certificate: Certificate) -> _Norms:
    s, reach = certificate.target.homogeneity, certificate.reach
    assert s is not None
    assert reach is not None
    known = interval_norm(certificate.source, s, spread=reach)
    with jax.enable_x64(True):
        cost = float(norm(certificate.kernel, Ball(reach), order=s))
    knots = len(knots_of(certificate.kernel))
    curve = trade_off_curve(certificate.source, certificate.target, reach, knots=max(knots, 1))
    return _Norms(cost, known.lower, known.upper, curve)


def _print_norms(found: _Norms) -> None:
    out = console()
    out.print(
        f"\nnorm of the kernel {found.norm:.8g}; of the least representation {found.lower:.8g} to "
        f"{found.upper:.8g} (float; THEORY.md, Theorem Sharp kernel)\n"
    )
    rows = table("least norm", "certified error", "particles", right=("least norm", "particles"))
    for point in found.curve:
        rows.add_row(f"{point.norm:.6g}", f"{point.error:.6g}", str(point.kernel.particles))
    out.print(rows)
    out.print("\nleast norms on as many knots (THEORY.md, Theorem Trade-off curve)")


def _document(certificate: Certificate) -> dict[str, object]:
    kernel = certificate.kernel
    return {
        "schema": "jaxbarron-kernel",
        "version": 1,
        **certificate_fields(certificate),
        "kernel": {
            "weights": kernel.weights[:, 0].tolist(),
            "directions": kernel.directions[:, 0].tolist(),
            "offsets": kernel.offsets.tolist(),
        },
    }


def _print(certificate: Certificate, most: int) -> None:
    out, kernel = console(), certificate.kernel
    source, target = certificate.source.name, certificate.target.name
    out.print(f"{source}(z) ~ sum of weight * {target}(direction * z + offset)")
    out.print(f"{size_of(certificate)}\n")
    rows = table("", "weight", "direction", "offset", right=("", "weight", "direction", "offset"))
    count = kernel.particles
    head = count if count <= most else most - most // 4
    for k in range(count):
        if head <= k < count - most // 4 and count > most:
            if k == head:
                rows.add_row("...", "...", "...", "...")
            continue
        particle = (kernel.weights[k, 0], kernel.directions[k, 0], kernel.offsets[k])
        # the shortest digits that give the same double back: the claim is about these very floats
        rows.add_row(str(k + 1), *(repr(float(x)) for x in particle))
    out.print(rows)
    if count > most:
        out.print(f"{count - most} particles not shown: --all shows them")
    out.print()
    bounds = table("derivative", "certified error", "attained", "at z", "holds on", "level")
    for error in certificate.errors:
        bounds.add_row(
            str(error.derivative),
            f"{error.upper:.6g}",
            f"{error.lower:.6g}",
            f"{error.where:.6g}",
            certificate.where_it_holds,
            certificate.level,
        )
    out.print(bounds)
    out.print(f"\n{certificate.claim} ({certificate.level}; THEORY.md, {certificate.theorem})")
