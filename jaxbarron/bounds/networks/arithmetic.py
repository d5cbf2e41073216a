"""What is assumed of a machine's float32 arithmetic (THEORY.md, Theorem Evaluation error).

Devices differ most in products of matrices: what JAX calls float32 is TF32 on recent NVIDIA GPUs
and bfloat16 on TPUs, unless a higher precision is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from jaxbarron.bounds.networks.reading import NoRule

__all__ = [
    "ABSOLUTE", "FLOAT32", "GROWTH", "LARGEST", "Arithmetic", "device_arithmetic", "products_unit",
]  # fmt: skip

FLOAT32, _TF32, _BFLOAT16 = 2.0**-24, 2.0**-10, 2.0**-8  # of factors, rounded or cut off
LARGEST = 2.0**128 * (1 - 2.0**-20)  # a little below the largest float32: sums of our own round
_THREE_BFLOAT16 = 2.0**-22
_ULPS: Mapping[str, float] = {
    "exp": 4, "exp2": 4, "expm1": 8, "log": 4, "log1p": 8, "tanh": 8, "logistic": 8, "sqrt": 2,
    "rsqrt": 4, "erf": 8, "erfc": 16, "sin": 4, "cos": 4, "atan": 8, "sinh": 8, "asinh": 8,
}  # fmt: skip
ABSOLUTE = ("sin", "cos")  # relative to 1, not to the value
GROWTH = {"exp2": 1, "sinh": 1, "erfc": 2}  # made of exp: |x| to this power is added to the ulps
_PRODUCTS = {"cpu": FLOAT32, "gpu": _TF32, "cuda": _TF32, "rocm": _TF32}


@dataclass(frozen=True)
class Arithmetic:
    """What is assumed of the machine, beside rounding to nearest in +, -, * and sums.

    Attributes:
        ulps: for each function the error of its evaluation at a float, in units of
            ``2 u |f|`` with u = 2^-24 for float32 (for sin and cos ``2 u``).  To those of exp2 and
            sinh ``|x|`` is added, to those of erfc ``x^2``: they are made of exp, whose argument is
            rounded.
        products: unit roundoff of the factors of matrix products and convolutions of float32;
            2^-24 is that of float32, 2^-11 that of TF32 (2^-10 where digits are cut off), 2^-8 that
            of bfloat16.
        highest: the same where a product is asked for in ``jax.lax.Precision.HIGHEST``.
        direct: whether convolutions are sums of products; where they may be computed by transforms
            (Winograd's, Fourier's) they have no bound.
    """

    ulps: Mapping[str, float] = field(default_factory=lambda: dict(_ULPS))
    products: float = FLOAT32
    highest: float = FLOAT32
    direct: bool = True


def device_arithmetic(platform: str | None = None) -> Arithmetic:
    """What is assumed of a platform; None: the one that JAX uses by default.

    A CPU multiplies float32 matrices in float32.  A GPU is taken to cut the factors off to TF32,
    any other device to round them to bfloat16, unless the precision asked for is the highest: then
    to float32, or to three numbers of bfloat16, 2^-22.  Only on a CPU convolutions are taken to be
    sums of products.  What a machine's functions are worth is measured by ``python -m benchmarks
    --only arithmetic --check``.

    Args:
        platform: ``"cpu"``, ``"gpu"``, ``"cuda"``, ``"rocm"``, ``"tpu"`` or another's name.

    Example:
        >>> device_arithmetic("cpu").products, device_arithmetic("cuda").products
        (5.960464477539063e-08, 0.0009765625)
    """
    name = jax.default_backend() if platform is None else platform
    products = _PRODUCTS.get(name, _BFLOAT16)
    highest = FLOAT32 if name in _PRODUCTS else _THREE_BFLOAT16
    return Arithmetic(products=products, highest=highest, direct=name == "cpu")


def products_unit(arithmetic: Arithmetic, precision: Any, unit: float) -> float:
    """The unit roundoff of the factors of one product, whose result has the roundoff ``unit``.

    Raises:
        NoRule: the precision is an algorithm of its own.
    """
    if unit != FLOAT32:
        return unit
    asked = precision if isinstance(precision, tuple) else (precision,)
    if all(x is jax.lax.Precision.HIGHEST for x in asked):
        return arithmetic.highest
    if all(x is None or isinstance(x, jax.lax.Precision) for x in asked):
        return max(arithmetic.products, arithmetic.highest)
    if precision is jax.lax.DotAlgorithmPreset.F32_F32_F32:
        return FLOAT32
    raise NoRule(f"a product by the algorithm {precision}")
