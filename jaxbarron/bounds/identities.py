"""Exact identities between activations: finitely many particles, coefficients as real numbers.

A stored kernel holds rounded coefficients; a constant of the theory is about the identity itself,
so the coefficients here are balls that hold the real ones (THEORY.md, Theorem Linear combinations).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.activations import Activation

__all__ = ["Identity", "find_identity"]

Particle = tuple[Any, Any, Any]  # c, alpha, beta as balls


@dataclass(frozen=True, eq=False)
class Identity:
    """``sigma(z) = sum_k c_k tau(alpha_k z + beta_k)``.

    Attributes:
        particles: the triples (c_k, alpha_k, beta_k) of balls (``arb``).
        reach: None where it holds for all z; 1 where for ``|z| <= 1`` only (for a homogeneous
            source other reaches follow by scaling).
        formula: the identity in words of a formula.
    """

    particles: tuple[Particle, ...]
    reach: int | None
    formula: str


def find_identity(sigma: Activation, tau: Activation) -> Identity | None:
    """The identity between two different activations, None where none is known.

    Runs at flint's present precision.

    Example:
        >>> from jaxbarron.activations import activation
        >>> find_identity(activation("silu"), activation("quick_gelu")).formula
        'silu(z) = c swish(1.702)(a z), a = 0.587544065804935, c = 1 / a'
    """
    if tau.homogeneity == 1:
        return _into_relu(sigma)
    if sigma.homogeneity == 1:
        return _from_relu(tau)
    if sigma.name == "identity":
        return _line(tau)
    if sigma.family == tau.family and sigma.family in _SCALES:
        return _rescaled(sigma, tau)
    found = _NAMED.get((sigma.name, tau.name))
    return None if found is None else found()


def _exact(value: float) -> Any:
    return flint.arb(flint.fmpq(*float(value).as_integer_ratio()))


def _particle(c: Any, alpha: Any, beta: Any) -> Particle:
    return flint.arb(c), flint.arb(alpha), flint.arb(beta)


# ------------------------------------------------------------------- to and from ReLU


def _into_relu(sigma: Activation) -> Identity | None:
    if sigma.family in ("leaky_relu", "prelu") and sigma.left is not None:
        slope = sigma.left.slope
        return Identity(
            (_particle(1, 1, 0), _particle(-_exact(slope), -1, 0)), None,
            f"{sigma.name}(z) = relu(z) - {slope:g} relu(-z)",
        )  # fmt: skip
    if sigma.name == "abs":
        formula = "|z| = relu(z) + relu(-z)"
        return Identity((_particle(1, 1, 0), _particle(1, -1, 0)), None, formula)
    if sigma.name == "identity":
        formula = "z = relu(z) - relu(-z)"
        return Identity((_particle(1, 1, 0), _particle(-1, -1, 0)), None, formula)
    return None


def _from_relu(tau: Activation) -> Identity | None:
    if tau.family in ("leaky_relu", "prelu") and tau.left is not None:
        slope = _exact(tau.left.slope)
        scale = 1 - slope * slope
        if scale.contains(0):
            return None
        return Identity(
            (_particle(1 / scale, 1, 0), _particle(slope / scale, -1, 0)), None,
            f"relu(z) = ({tau.name}(z) + a {tau.name}(-z)) / (1 - a^2), a = {tau.left.slope:g}",
        )  # fmt: skip
    return _RAMPS[tau.name]() if tau.name in _RAMPS else None


_LARGE = (
    flint.arb(2) ** 40
)  # the scale lambda of a homogeneous target: lambda -> inf is the infimum

# On |z| <= 1: z = (|z + 1| - |z - 1|) / 2, and the ramps of the others cover it.
_RAMPS: dict[str, Callable[[], Identity]] = {
    "abs": lambda: Identity(
        (
            _particle(1 / (2 * _LARGE), _LARGE, 0),
            _particle(1 / (4 * _LARGE), _LARGE, _LARGE),
            _particle(-1 / (4 * _LARGE), _LARGE, -_LARGE),
        ),
        1,
        "relu(z) = |z|/2 + (|z + rho| - |z - rho|)/4 on |z| <= rho",
    ),
    "hard_tanh": lambda: Identity(
        (_particle("0.5", 2, -1), _particle("0.5", 0, 1)),
        1,
        "relu(z) = rho/2 (hard_tanh(2 z/rho - 1) + hard_tanh(1)) on |z| <= rho",
    ),
    "relu6": lambda: Identity(
        (_particle(flint.arb(1) / 6, 6, 0),), 1, "relu(z) = rho/6 relu6(6 z/rho) on |z| <= rho"
    ),
    # near its left kink, hard_swish(a z - 3) = a^2 z_+^2 / 6 - a z_+ / 2 as long as a z <= 6
    "hard_swish": lambda: Identity(
        (_particle(flint.arb(1) / 6, 6, -3), _particle("-1.5", 2, -3)),
        1,
        "relu(z) = rho (hard_swish(6 z/rho - 3)/6 - 3/2 hard_swish(2 z/rho - 3)) on |z| <= rho",
    ),
    "hard_sigmoid": lambda: Identity(
        (_particle(1, 6, -3),), 1, "relu(z) = rho hard_sigmoid(6 z/rho - 3) on |z| <= rho"
    ),
}


# --------------------------------------------------------------------------- the rest

# tau(z) - tau(-z) = z: tau(z) = z g(z) with g(z) + g(-z) = 1, or the integral of such a g
_ODD_PART_IS_HALF_THE_LINE = ("softplus", "swish", "gelu", "squareplus", "hard_swish")


def _line(tau: Activation) -> Identity | None:
    if tau.family not in _ODD_PART_IS_HALF_THE_LINE:
        return None
    return Identity(
        (_particle(1, 1, 0), _particle(-1, -1, 0)), None, f"z = {tau.name}(z) - {tau.name}(-z)"
    )


# f_p(z) = f_1(s z) / s with s from the parameter p
_SCALES: dict[str, Callable[[Any], Any]] = {
    "swish": lambda beta: beta,
    "softplus": lambda beta: beta,
    "celu": lambda alpha: 1 / alpha,
}


def _parameter(sigma: Activation) -> Any:
    inside = sigma.name.partition("(")[2].rstrip(")")
    return _exact(float(inside)) if inside else flint.arb(1)


def _rescaled(sigma: Activation, tau: Activation) -> Identity:
    scale = _SCALES[sigma.family]
    ratio = scale(_parameter(sigma)) / scale(_parameter(tau))
    formula = f"{sigma.name}(z) = c {tau.name}(a z), a = {float(ratio):.15g}, c = 1 / a"
    return Identity((_particle(1 / ratio, ratio, 0),), None, formula)


def _shifted(name: str, other: str, sign: int) -> Callable[[], Identity]:
    def build() -> Identity:
        shift = sign * flint.arb.pi() / 2
        formula = f"{name} z = {other}(z {'+' if sign > 0 else '-'} pi/2)"
        return Identity((_particle(1, 1, shift),), None, formula)

    return build


def _sigmoid() -> Identity:
    half = flint.arb("0.5")
    constant = half / flint.arb(1).tanh()
    formula = "sigmoid(z) = (tanh(z/2) + tanh(1)/tanh(1)) / 2"
    return Identity((_particle(half, half, 0), _particle(constant, 0, 1)), None, formula)


def _log_cosh() -> Identity:
    # the registered function subtracts the double next to log 2
    constant = -_exact(math.log(2.0)) / flint.arb(2).log()
    return Identity(
        (_particle(1, 2, 0), _particle(-1, 1, 0), _particle(1, -1, 0), _particle(constant, 0, 0)),
        None,
        "log cosh z = softplus(2 z) - softplus(z) + softplus(-z) - softplus(0)",
    )


def _same(name: str, other: str) -> Callable[[], Identity]:
    return lambda: Identity((_particle(1, 1, 0),), None, f"{name}(z) = {other}(z)")


_NAMED: dict[tuple[str, str], Callable[[], Identity]] = {
    ("repu(2)", "hard_swish"): lambda: Identity(
        (_particle("0.25", 6, -3), _particle("-0.75", 2, -3)),
        1,
        "z_+^2 = rho^2 (hard_swish(6 z/rho - 3)/4 - 3/4 hard_swish(2 z/rho - 3)) on |z| <= rho",
    ),
    ("sigmoid", "tanh"): _sigmoid,
    ("tanh", "sigmoid"): lambda: Identity(
        (_particle(2, 2, 0), _particle(-2, 0, 0)), None, "tanh(z) = 2 sigmoid(2 z) - 2 sigmoid(0)"
    ),
    ("log_cosh", "softplus"): _log_cosh,
    ("sin", "cos"): _shifted("sin", "cos", -1),
    ("cos", "sin"): _shifted("cos", "sin", 1),
    ("elu", "celu"): _same("elu", "celu"),
    ("celu", "elu"): _same("celu", "elu"),
}
