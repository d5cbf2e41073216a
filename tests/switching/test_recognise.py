"""Recognition by values: every registered activation, however it is written."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.activations import activation, registered_activations
from jaxbarron.programs import program_of_jaxpr
from jaxbarron.switching.recognise import is_affine, is_elementary, recognise, same_function


def program(fn, dtype=jnp.float32):
    closed = jax.make_jaxpr(fn)(jax.ShapeDtypeStruct((), dtype))
    return program_of_jaxpr(closed.jaxpr, closed.consts)


def name_of(fn, dtype=jnp.float32):
    found = recognise(program(fn, dtype), dtype)
    return None if found is None else found.name


# Two names of one function, and the identity, which is no activation to replace.
OTHER_NAME = {"prelu": "leaky_relu(0.25)", "celu": "elu", "identity": None}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("sigma", registered_activations(), ids=lambda sigma: sigma.name)
def test_registered_activations_are_themselves(sigma, dtype):
    assert name_of(sigma.fn, dtype) == OTHER_NAME.get(sigma.name, sigma.name)


HAND_WRITTEN = {
    "gelu": lambda z: 0.5 * z * (1 + jax.lax.erf(z / np.sqrt(2.0))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + jnp.tanh(0.7978845608 * (z + 0.044715 * z * z * z))),
    "swish(1.702)": lambda z: z * jax.nn.sigmoid(1.702 * z),
    "silu": lambda z: z / (1 + jnp.exp(-z)),
    "relu": lambda z: (z + jnp.abs(z)) / 2,
    "relu6": lambda z: jnp.clip(z, 0, 6),
    "softplus": lambda z: jnp.log(1 + jnp.exp(z)),
    "tanh": lambda z: 2 * jax.nn.sigmoid(2 * z) - 1,
    "sigmoid": lambda z: 1 / (1 + jnp.exp(-z)),
    "mish": lambda z: z * jnp.tanh(jnp.log1p(jnp.exp(z))),
    "leaky_relu(0.3)": lambda z: jnp.maximum(z, 0.3 * z),
    "repu(2)": lambda z: jnp.square(jax.nn.relu(z)),
    "repu(5)": lambda z: jax.nn.relu(z) ** 5,
    "hard_swish": lambda z: z * jnp.minimum(jnp.maximum(z + 3, 0), 6) / 6,
    "heaviside": lambda z: (z > 0).astype(z.dtype) * jnp.ones_like(z),
    "log_cosh": lambda z: jnp.log(jnp.cosh(z)),
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_hand_written_forms(name):
    assert name_of(HAND_WRITTEN[name]) == name


NEARLY = {
    "a ReLU clipped at 20": lambda z: jnp.clip(z, 0, 20),
    "a ReLU with a threshold": lambda z: jnp.where(z > 1e-2, z, 0),
    "a ReLU that is never 0": lambda z: jnp.maximum(z, 1e-3),
    "GELU with a wrong constant": lambda z: 0.5 * z * (1 + jnp.tanh(0.8 * (z + 0.044715 * z**3))),
    "half a GELU": lambda z: 0.25 * z * (1 + jax.lax.erf(z / np.sqrt(2.0))),
    "a shifted tanh": lambda z: jnp.tanh(z) + 1e-4,
}


@pytest.mark.parametrize("name", NEARLY)
def test_near_misses_are_not_recognised(name):
    assert name_of(NEARLY[name]) is None


FAMILIES = {
    "leaky_relu": lambda a: lambda z: jnp.where(z >= 0, z, a * z),
    "elu": lambda a: lambda z: jax.nn.elu(z, a),
    "celu": lambda a: lambda z: jax.nn.celu(z, a),
    "swish": lambda a: lambda z: z * jax.nn.sigmoid(a * z),
    "softplus": lambda a: lambda z: jnp.logaddexp(a * z, 0.0) / a,
    "squareplus": lambda a: lambda z: jax.nn.squareplus(z, a),
}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.decimals("0.02", "6", places=2))
def test_parameters_are_read_from_the_values(family, parameter):
    found = recognise(program(FAMILIES[family](float(parameter))), jnp.float32)
    assert found is not None
    assert same_function(found, activation(f"{family}({parameter})"))


def test_a_parameter_is_the_shortest_decimal_that_rounds_to_the_literal():
    assert name_of(lambda z: jnp.where(z >= 0, z, 0.3 * z), jnp.bfloat16) == "leaky_relu(0.3)"
    assert name_of(lambda z: jnp.where(z >= 0, z, 0.1234567 * z)) == "leaky_relu(0.1234567)"


def test_own_activations_come_first():
    mine = activation(lambda z: jax.nn.gelu(z) + 0.1 * jnp.sin(z), name="mine")
    found = program(lambda z: 0.1 * jnp.sin(z) + jax.nn.gelu(z))
    assert recognise(found, jnp.float32) is None
    assert recognise(found, jnp.float32, (mine,)) is mine


def test_affine():
    assert is_affine(program(lambda z: 3 * (z - 1) + 0.5))
    assert is_affine(program(lambda z: jnp.maximum(z, -jnp.inf)))
    assert is_affine(program(lambda z: jnp.clip(z, -3e38, 3e38)))
    assert not is_affine(program(lambda z: jnp.clip(z, -50, 50)))
    assert not is_affine(program(lambda z: z + 1e-3 * jnp.sin(z)))


ELEMENTARY = [
    jnp.square, jnp.exp, jnp.log, jnp.log1p, jnp.sqrt, jax.lax.rsqrt, lambda z: 1 / z,
    lambda z: z * z * z, lambda z: 1 / jnp.sqrt(z), lambda z: z * jnp.log(z), lambda z: z**2.5,
    lambda z: 1 / (z * z), lambda z: jnp.exp(z) - 1,
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(ELEMENTARY)))
def test_elementary(place):
    assert is_elementary(program(ELEMENTARY[place]))


@pytest.mark.parametrize("sigma", registered_activations(), ids=lambda sigma: sigma.name)
def test_no_registered_activation_is_elementary(sigma):
    assert not is_elementary(program(sigma.fn)) or sigma.name == "identity"
