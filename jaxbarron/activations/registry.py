"""The registered activations, each stated once: function, kinks, asymptotes, parity, growth.

``tests/activations`` checks every fact against the function itself.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxbarron.activations.activation import Activation, Growth, Kink, Line
from jaxbarron.errors import UnknownActivationError, UsageError

__all__ = ["activation", "is_known_name", "is_registered", "registered_activations", "repu"]

_ZERO, _IDENTITY = Line(0.0, 0.0), Line(1.0, 0.0)
_LINEAR = Growth(0.0, 1.0, 1)
_UNIT = Growth(1.0, 0.0, 0)

# The constants of Klambauer et al., Self-Normalizing Neural Networks (2017), as in jax.nn.selu.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def activation(
    source: str | Activation | Callable[[Any], Any], name: str | None = None
) -> Activation:
    """The activation of that name, or a user's own scalar JAX function as an activation.

    Args:
        source: a name such as ``"tanh"``, ``"gelu"`` (exact), ``"gelu_tanh"``, ``"repu(2)"``,
            ``"leaky_relu(0.2)"``, ``"softplus(2)"``; an :class:`Activation`, returned as it is;
            or a JAX function of one real scalar.
        name: for a function: the name to show for it (default: the function's own name).

    Raises:
        UnknownActivationError: no such name; the nearest names are listed.
        UsageError: a parameter outside its range, or a registered name for one's own function.

    Example:
        >>> activation("leaky_relu(0.2)").name
        'leaky_relu(0.2)'
        >>> activation(lambda z: z * z, name="square").name
        'square'
    """
    if isinstance(source, Activation):
        return source
    if isinstance(source, str):
        return _by_name(source)
    if not callable(source):
        raise UsageError(
            f"given: {source!r} as an activation; expected: a name, an Activation or a scalar JAX "
            "function; do: see registered_activations() for the names"
        )
    own = name or getattr(source, "__name__", "") or type(source).__name__
    if is_known_name(own):
        if name is not None:
            raise UsageError(
                f"given: the name {own!r} for a function of your own; expected: a name that no "
                "registered activation bears; do: choose another"
            )
        own = f"my_{own}"
    return Activation(own, source, family=own, elementwise=False)


def repu(s: int) -> Activation:
    """RePU_s(z) = max(0, z)**s; s = 0 is the Heaviside step (0 at z = 0), s = 1 is ReLU.

    Raises:
        UsageError: ``s`` is not a whole number >= 0.

    Example:
        >>> float(repu(2)(jnp.float32(3.0)))
        9.0
    """
    if isinstance(s, bool) or not isinstance(s, int) or s < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"given: repu({s!r}); expected: a whole number >= 0; do: e.g. repu(2)")
    return _member("repu", s)


def registered_activations() -> tuple[Activation, ...]:
    """One member of every registered family, with its default parameter, and the named variants.

    Example:
        >>> len(registered_activations()) >= 24
        True
    """
    names = [*_FAMILIES, "heaviside", "repu(2)", "repu(3)", "quick_gelu"]
    return tuple(dict.fromkeys(_by_name(name) for name in names))


def is_known_name(name: str) -> bool:
    """Whether :func:`activation` takes ``name`` for a registered activation."""
    try:
        _by_name(name)
    except UnknownActivationError:
        return False
    except UsageError:
        return True
    return True


def is_registered(sigma: Activation) -> bool:
    """Whether ``activation(sigma.name)`` gives this very activation back."""
    try:
        return _by_name(sigma.name) == sigma
    except (UnknownActivationError, UsageError):
        return False


@dataclass(frozen=True)
class _Family:
    build: Callable[[Any], Activation]
    default: float | int | None = None
    accepts: Callable[[Any], bool] = lambda parameter: parameter is None
    expects: str = "no parameter"


_ALIASES = {
    "heaviside": "repu(0)",
    "step": "repu(0)",
    "relu": "repu(1)",
    "repu2": "repu(2)",
    "repu3": "repu(3)",
    "squared_relu": "repu(2)",
    "relu2": "repu(2)",
    "gelu_exact": "gelu",
    "gelu_approximate": "gelu_tanh",
    "quick_gelu": "swish(1.702)",
    "logistic": "sigmoid",
    "hard_silu": "hard_swish",
    "soft_sign": "softsign",
    "atan": "arctan",
    "absolute": "abs",
    "linear": "identity",
}


def _by_name(text: str) -> Activation:
    spec = re.sub(r"[\s-](?=[^()]*(?:\(|$))", "_", text.strip().lower()).replace(" ", "")
    spec = _ALIASES.get(spec, spec)
    match = re.fullmatch(r"([a-z_0-9]+?)(?:\((.+)\))?", spec)
    if match is None or match[1] not in _FAMILIES:
        names = sorted([*_FAMILIES, *_ALIASES])
        near = difflib.get_close_matches(spec, names, n=3, cutoff=0.5) or names
        raise UnknownActivationError(
            f"given: the activation {text!r}; expected: a registered name, nearest: "
            f"{', '.join(near)}; do: use one of those, or pass a scalar JAX function"
        )
    family, given = match[1], match[2]
    try:
        parameter = _FAMILIES[family].default if given is None else float(given)
    except ValueError:
        raise UnknownActivationError(
            f"given: the activation {text!r}; expected: a number in the parentheses; "
            f"do: e.g. {family}(0.5)"
        ) from None
    if family == "repu" and parameter is not None and float(parameter).is_integer():
        parameter = int(parameter)
    return _member(family, parameter)


@functools.cache
def _member(family: str, parameter: float | int | None) -> Activation:
    if family == "swish" and parameter == 1:
        family, parameter = "silu", None
    kind = _FAMILIES[family]
    if not kind.accepts(parameter):
        raise UsageError(
            f"given: {family}({parameter}); expected: {kind.expects}; "
            f"do: e.g. {family}{'' if kind.default is None else f'({kind.default})'}"
        )
    built = kind.build(parameter)
    if family == "repu":
        return built
    shown = "" if parameter == kind.default else f"({float(parameter or 0.0):.17g})"
    if shown and float(f"{float(parameter or 0.0):g}") == parameter:
        shown = f"({float(parameter or 0.0):g})"
    return replace(built, name=family + shown)


# ------------------------------------------------------------- the families


def _repu(s: int) -> Activation:
    if s == 0:
        fn: Callable[[Any], Any] = lambda z: jnp.where(z > 0, jnp.ones_like(z), 0)  # noqa: E731
        right = Line(0.0, 1.0)
    elif s == 1:
        fn, right = jax.nn.relu, _IDENTITY
    else:
        fn = lambda z: jax.lax.integer_pow(jax.nn.relu(z), s)  # noqa: E731
        right = None
    jumps = [0.0] * 4
    if s < 4:
        jumps[s] = float(math.factorial(s))
    kinks = (Kink(0.0, (jumps[0], jumps[1], jumps[2], jumps[3])),) if s < 4 else ()
    name = {0: "heaviside", 1: "relu"}.get(s, f"repu({s})")
    growth = Growth(1.0, 0.0, 0) if s == 0 else Growth(0.0, 1.0, s)
    return Activation(name, fn, "repu", kinks, _ZERO, right, homogeneity=s, growth=growth)


def _piecewise(
    fn: Callable[[Any], Any],
    family: str,
    bends: tuple[tuple[float, float], ...],
    left: Line,
    right: Line,
    growth: Growth,
    **facts: Any,
) -> Activation:
    kinks = tuple(Kink(at, (0.0, jump, 0.0, 0.0)) for at, jump in bends if jump)
    return Activation(fn.__name__, fn, family, kinks, left, right, growth=growth, **facts)


def _leaky(family: str) -> Callable[[float], Activation]:
    def build(alpha: float) -> Activation:
        def leaky_relu(z: Any) -> Any:
            return jnp.where(z >= 0, z, alpha * z)

        growth = Growth(0.0, max(1.0, abs(alpha)), 1)
        bends = ((0.0, 1.0 - alpha),)
        return _piecewise(leaky_relu, family, bends, Line(alpha, 0.0), _IDENTITY, growth)

    return build


def _elu(alpha: float) -> Activation:
    jumps = (0.0, 1.0 - alpha, -alpha, -alpha)
    growth = Growth(0.0, max(1.0, alpha), 1)
    fn = functools.partial(jax.nn.elu, alpha=alpha)
    return Activation(
        "elu", fn, "elu", (Kink(0.0, jumps),), Line(0.0, -alpha), _IDENTITY, growth=growth
    )


def _celu(alpha: float) -> Activation:
    jumps = (0.0, 0.0, -1 / alpha, -1 / alpha**2)
    fn = functools.partial(jax.nn.celu, alpha=alpha)
    return Activation(
        "celu", fn, "celu", (Kink(0.0, jumps),), Line(0.0, -alpha), _IDENTITY, growth=_LINEAR
    )


def _selu(_: None) -> Activation:
    left = _SELU_SCALE * _SELU_ALPHA
    jumps = (0.0, _SELU_SCALE - left, -left, -left)
    lines = Line(0.0, -left), Line(_SELU_SCALE, 0.0)
    growth = Growth(0.0, math.nextafter(left, math.inf), 1)
    return Activation("selu", jax.nn.selu, "selu", (Kink(0.0, jumps),), *lines, growth=growth)


def _softplus(beta: float) -> Activation:
    def softplus(z: Any) -> Any:
        return jnp.logaddexp(beta * z, 0.0) / beta

    growth = Growth(math.nextafter(math.log(2) / beta, math.inf), 1.0, 1)
    return Activation("softplus", softplus, "softplus", (), _ZERO, _IDENTITY, growth=growth)


def _swish(beta: float | None) -> Activation:
    def swish(z: Any) -> Any:
        return z * jax.nn.sigmoid(beta * z)

    fn = jax.nn.silu if beta is None else swish
    return Activation("swish", fn, "swish", (), _ZERO, _IDENTITY, growth=_LINEAR)


def _squareplus(b: float) -> Activation:
    def squareplus(z: Any) -> Any:
        return jax.nn.squareplus(z, b)

    growth = Growth(math.nextafter(math.sqrt(b) / 2, math.inf), 1.0, 1)
    return Activation("squareplus", squareplus, "squareplus", (), _ZERO, _IDENTITY, growth=growth)


def _hard_swish(_: None) -> Activation:
    kinks = Kink(-3.0, (0.0, -1 / 2, 1 / 3, 0.0)), Kink(3.0, (0.0, -1 / 2, -1 / 3, 0.0))
    return Activation(
        "hard_swish", jax.nn.hard_swish, "hard_swish", kinks, _ZERO, _IDENTITY, growth=_LINEAR
    )


def _gelu_exact(z: Any) -> Any:
    return jax.nn.gelu(z, approximate=False)


def _gaussian(z: Any) -> Any:
    return jnp.exp(-z * z)


def _log_cosh(z: Any) -> Any:
    return jnp.logaddexp(z, -z) - math.log(2.0)


def _smooth(fn: Callable[[Any], Any], family: str, left: Line | None, right: Line | None,
            growth: Growth, **facts: Any) -> _Family:  # fmt: skip
    return _Family(
        lambda _: Activation(family, fn, family, (), left, right, growth=growth, **facts)
    )


def _hard(fn: Callable[[Any], Any], family: str, bends: tuple[tuple[float, float], ...],
          left: Line, right: Line, growth: Growth, **facts: Any) -> _Family:  # fmt: skip
    return _Family(lambda _: _piecewise(fn, family, bends, left, right, growth, **facts))


def _finite(x: Any) -> bool:
    return x is not None and math.isfinite(x)


def _positive(x: Any) -> bool:
    return _finite(x) and x > 0


_HALF_PI = math.pi / 2
_FAMILIES: dict[str, _Family] = {
    "repu": _Family(_repu, 1, lambda s: isinstance(s, int) and s >= 0, "a whole number >= 0"),
    "leaky_relu": _Family(_leaky("leaky_relu"), 0.01, _finite, "a finite slope"),
    "prelu": _Family(_leaky("prelu"), 0.25, _finite, "a finite slope"),
    "elu": _Family(_elu, 1.0, _positive, "a finite parameter > 0"),
    "celu": _Family(_celu, 1.0, _positive, "a finite parameter > 0"),
    "selu": _Family(_selu),
    "softplus": _Family(_softplus, 1.0, _positive, "a finite parameter > 0"),
    "sigmoid": _smooth(jax.nn.sigmoid, "sigmoid", _ZERO, Line(0.0, 1.0), _UNIT),
    "hard_sigmoid": _hard(
        jax.nn.hard_sigmoid, "hard_sigmoid", ((-3.0, 1 / 6), (3.0, -1 / 6)), _ZERO, Line(0.0, 1.0),
        _UNIT,
    ),
    "tanh": _smooth(jnp.tanh, "tanh", Line(0.0, -1.0), Line(0.0, 1.0), _UNIT, parity="odd"),
    "hard_tanh": _hard(
        jax.nn.hard_tanh, "hard_tanh", ((-1.0, 1.0), (1.0, -1.0)), Line(0.0, -1.0), Line(0.0, 1.0),
        _UNIT, parity="odd",
    ),
    "gelu": _smooth(_gelu_exact, "gelu", _ZERO, _IDENTITY, _LINEAR),
    "gelu_tanh": _Family(
        lambda _: Activation(
            "gelu_tanh", jax.nn.gelu, "gelu", (), _ZERO, _IDENTITY, growth=_LINEAR
        )
    ),
    "silu": _Family(_swish),
    "swish": _Family(_swish, 1.0, _positive, "a finite parameter > 0"),
    "hard_swish": _Family(_hard_swish),
    "mish": _smooth(jax.nn.mish, "mish", _ZERO, _IDENTITY, _LINEAR),
    "softsign": _Family(
        lambda _: Activation(
            "softsign", jax.nn.soft_sign, "softsign", (Kink(0.0, (0.0, 0.0, -4.0, 0.0)),),
            Line(0.0, -1.0), Line(0.0, 1.0), parity="odd", growth=_UNIT,
        )
    ),
    "arctan": _smooth(
        jnp.arctan, "arctan", Line(0.0, -_HALF_PI), Line(0.0, _HALF_PI),
        Growth(math.nextafter(_HALF_PI, 2.0), 0.0, 0), parity="odd",
    ),
    "erf": _smooth(
        jax.scipy.special.erf, "erf", Line(0.0, -1.0), Line(0.0, 1.0), _UNIT, parity="odd"
    ),
    "gaussian": _smooth(_gaussian, "gaussian", _ZERO, _ZERO, _UNIT, parity="even"),
    "log_cosh": _smooth(
        _log_cosh, "log_cosh", Line(-1.0, -math.log(2)), Line(1.0, -math.log(2)), _LINEAR,
        parity="even",
    ),
    "relu6": _hard(
        jax.nn.relu6, "relu6", ((0.0, 1.0), (6.0, -1.0)), _ZERO, Line(0.0, 6.0),
        Growth(6.0, 0.0, 0),
    ),
    "abs": _hard(
        jnp.abs, "abs", ((0.0, 2.0),), Line(-1.0, 0.0), _IDENTITY, _LINEAR, parity="even"
    ),
    "squareplus": _Family(_squareplus, 4.0, _positive, "a finite parameter > 0"),
    "sin": _smooth(jnp.sin, "sin", None, None, _UNIT, parity="odd"),
    "cos": _smooth(jnp.cos, "cos", None, None, _UNIT, parity="even"),
    "identity": _smooth(lambda z: z, "identity", _IDENTITY, _IDENTITY, _LINEAR, parity="odd"),
}  # fmt: skip
