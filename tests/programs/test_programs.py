"""Scalar programs: traced once, run by NumPy and JAX, stored bit by bit."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.errors import CertificateFileError, TraceError, UnsupportedPrimitiveError
from jaxbarron.programs import ARITY, Operation, Program, Register, evaluate_program, trace

Z = np.linspace(0.1, 0.9, 41)

# one function for each primitive that a program knows
FUNCTIONS = {
    "add": lambda z: z + 0.3, "sub": lambda z: z - 0.3, "mul": lambda z: 1.7 * z,
    "div": lambda z: 2.0 / z, "max": lambda z: jnp.maximum(z, 0.5),
    "min": lambda z: jnp.minimum(z, 0.5), "pow": lambda z: jax.lax.pow(z, 1.3 * z),
    "logaddexp": lambda z: jnp.logaddexp(z, 0.2), "neg": lambda z: -z,
    "abs": lambda z: abs(z - 0.4),
    "gt": lambda z: jnp.where(z > 0.5, z, 2.0), "ge": lambda z: jnp.where(z >= 0.5, z, 2.0),
    "lt": lambda z: jnp.where(z < 0.5, z, 2.0), "le": lambda z: jnp.where(z <= 0.5, z, 2.0),
    "eq": lambda z: jnp.where(z == 0.5, z, 2.0), "ne": lambda z: jnp.where(z != 0.5, z, 2.0),
    "and": lambda z: jnp.where((z > 0.2) & (z < 0.6), z, 2.0),
    "or": lambda z: jnp.where((z < 0.2) | (z > 0.6), z, 2.0),
    "xor": lambda z: jnp.where((z < 0.4) ^ (z > 0.6), z, 2.0),
    "not": lambda z: jnp.where(~(z < 0.4), z, 2.0), "sign": lambda z: jnp.sign(z - 0.5),
    "square": lambda z: jnp.square(z), "sqrt": jnp.sqrt, "rsqrt": jax.lax.rsqrt, "cbrt": jnp.cbrt,
    "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p,
    "logistic": jax.nn.sigmoid, "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan, "asin": jnp.arcsin,
    "acos": jnp.arccos, "atan": jnp.arctan, "sinh": jnp.sinh, "cosh": jnp.cosh, "tanh": jnp.tanh,
    "asinh": jnp.arcsinh, "acosh": lambda z: jnp.arccosh(1 + z), "atanh": jnp.arctanh,
    "erf": jax.lax.erf, "erfc": jax.lax.erfc, "integer_pow": lambda z: z**-3,
    "select_n": lambda z: jax.lax.select(z > 0.5, z, -z),
    "clamp": lambda z: jax.lax.clamp(0.3, z, 0.7),
}  # fmt: skip


def test_every_primitive_has_its_case() -> None:
    # is_finite is decided when a program is traced: a real number is finite
    assert set(FUNCTIONS) == set(ARITY) - {"is_finite"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_and_jax_run_the_same_program(name: str, x64) -> None:
    program = trace(FUNCTIONS[name])
    assert name in [operation.name for operation in program.operations]
    expected = jax.vmap(FUNCTIONS[name])(jnp.asarray(Z))
    np.testing.assert_allclose(evaluate_program(program, Z), expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(
        evaluate_program(program, jnp.asarray(Z)), expected, rtol=1e-13, atol=1e-15
    )
    assert Program.from_json(program.to_json()) == program


def test_calls_are_inlined_and_dead_code_dropped() -> None:
    @jax.jit
    def inner(z):
        unused = jnp.sin(z)
        del unused
        return z + 1

    program = trace(jax.checkpoint(lambda z: inner(inner(z))))
    assert [operation.name for operation in program.operations] == ["add", "add"]


def test_guards_against_nan_and_infinity_are_decided() -> None:
    program = trace(lambda z: jnp.where(jnp.isnan(z) | jnp.isinf(z), 0.0, z))
    assert evaluate_program(program, Z) == pytest.approx(Z)
    assert not [op for op in trace(jax.nn.softplus).operations if op.name != "logaddexp"]


def test_a_stable_softplus_written_by_hand_is_logaddexp() -> None:
    program = trace(lambda z: jnp.log1p(jnp.exp(-jnp.abs(z))) + jnp.maximum(0.0, z))
    # |z| instead of |z - 0|: the pattern needs the difference of the two arguments
    np.testing.assert_allclose(evaluate_program(program, Z), np.log1p(np.exp(Z)), rtol=1e-13)


def test_truth_values_may_be_factors() -> None:
    program = trace(lambda z: z * (z > 0.5))
    np.testing.assert_array_equal(evaluate_program(program, Z), Z * (Z > 0.5))


def test_dtype_and_shape_are_kept() -> None:
    program = trace(lambda z: 2.0 * z + 1.0)
    assert evaluate_program(program, np.ones((2, 3), np.float32)).dtype == np.float32
    assert evaluate_program(program, jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.bfloat16
    constant = trace(lambda z: jnp.float64(3.0) + 0.0 * jnp.sin(1.0))
    assert evaluate_program(constant, np.ones((2, 3))).shape == (2, 3)


def test_unsupported_primitives_are_named() -> None:
    for fn, name in [
        (jnp.floor, "floor"),
        (lambda z: jax.lax.cond(z > 0, lambda u: u, lambda u: -u, z), "cond"),
        (jax.scipy.special.gammaln, "lgamma"),
        (lambda z: jnp.array([1.0, 2.0])[0] * z, "slice"),
    ]:
        with pytest.raises(UnsupportedPrimitiveError, match=f"{name}|array"):
            trace(fn)
    integers = [
        lambda z: z * jax.lax.div(jnp.int32(7), jnp.int32(2)),
        lambda z: z * (jnp.uint8(200) + jnp.uint8(100)),
        lambda z: z * (jnp.int32(6) & jnp.int32(3)),
        lambda z: z * ~(z > 0).astype(jnp.int32),
        lambda z: jax.lax.select_n(jnp.int32(0), z, 2 * z),
    ]
    for fn in integers:
        with pytest.raises(UnsupportedPrimitiveError, match="int"):
            trace(fn)
    with pytest.raises(UnsupportedPrimitiveError, match="int"):
        trace(lambda z: z.astype(jnp.int32).astype(jnp.float64))


def test_functions_that_do_not_trace() -> None:
    def branches(z):
        return z if z > 0 else -z

    for fn in (branches, lambda z: (z, z), lambda z: jnp.stack([z, z]), lambda z: z + undefined):  # noqa: F821
        with pytest.raises(TraceError, match="expected"):
            trace(fn)


@pytest.mark.parametrize(
    "data",
    [None, {}, {"operations": [], "output": 3}, {"operations": [["add", "r0"]], "output": "r1"},
     {"operations": [["add", "r0", "r9"]], "output": "r1"}, {"operations": [], "output": "r1"},
     {"operations": [["not", "r0"]], "output": "r1"},
     {"operations": [["gt", "r0", "0x0p+0"]], "output": "r1"},
     {"operations": [["unheard_of", "r0"]], "output": "r1"},
     {"operations": [["integer_pow", "r0", "r0"]], "output": "r1"},
     {"operations": [["integer_pow", "r0", "0x1.8p+0"]], "output": "r1"}],
)  # fmt: skip
def test_broken_programs_are_refused(data) -> None:
    with pytest.raises(CertificateFileError, match="expected"):
        Program.from_json(data)


def test_infinite_constants_survive_json() -> None:
    program = Program((Operation("min", (Register(0), math.inf)),), Register(1))
    assert Program.from_json(program.to_json()) == program
