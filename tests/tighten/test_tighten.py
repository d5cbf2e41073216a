"""Brackets by optax: against linear programs, with faults, checkpoints, and a killed process."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_primal import upper_excess
from jaxbarron.bounds.interval_profile import composed_jets, sample
from jaxbarron.errors import (
    CheckpointError,
    DomainError,
    ToleranceError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.tighten import read_bracket
from jaxbarron.tighten.descent import METHODS, Dual, Function, improve, start
from jaxbarron.tighten.store import BRACKET_FILE

# Linear programs over 8,000 particles (THEORY.md, Theorem Interval norm), to the digits shown.
GELU_RELU = 1.8205
TRACES = []


def counted(z):
    TRACES.append(1)
    return jax.nn.gelu(z, approximate=False)


def test_published_value_and_no_compilation_in_the_loop() -> None:
    mine = jb.activation(counted, name="counted")
    found = jb.tighten(mine, "relu", rel_gap=1e-11, steps=50)
    once = len(TRACES)
    assert found.lower <= found.upper
    assert found.lower == pytest.approx(GELU_RELU, abs=6e-5)
    assert found.met
    assert found.level == "float"
    lowers, uppers = [h.lower for h in found.history], [h.upper for h in found.history]
    assert lowers == sorted(lowers)
    assert uppers == sorted(uppers, reverse=True)
    for spread in (0.5, 3.0):
        found = jb.tighten(mine, "relu", spread=spread, rel_gap=1e-15, steps=200)
        assert found.gap < 1e-11
        assert not found.met
        assert found.steps == 200
    # neither four chunks nor another particle traces or compiles anything
    assert len(TRACES) == once


def prepared(dtype, w, b):
    edges = jnp.linspace(-1, 1, 129, dtype=dtype)  # D = gelu'' changes its sign at +-sqrt(2)
    cuts = jnp.clip((jnp.asarray([-math.sqrt(2), math.sqrt(2)], dtype) - b) / w, -1, 1)
    jets = composed_jets(lambda z: jax.nn.gelu(z, approximate=False), 2, w, b)
    return Function.of(
        GaugeBody(1), sample(jets, jnp.sort(jnp.concatenate([edges, cuts])), kinks=False), jets
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rounds_keep_the_dtype_and_map_over_particles(dtype) -> None:
    body, method = GaugeBody(1), METHODS["momentum"]

    def bracket(w, b):
        function = prepared(dtype, w, b)
        dual, best = start(body, function, method, jax.random.key(1))
        _, best = improve(body, function, method, 5, dual, best)
        return function.density + best.lower, function.density + best.upper

    with jax.enable_x64(dtype == jnp.float64):
        w, b = jnp.asarray([1.0, 0.5, 3.0], dtype), jnp.asarray([0.0, 0.3, 1.0], dtype)
        lower, upper = jax.jit(jax.vmap(bracket))(w, b)
        assert lower.dtype == upper.dtype == dtype
        for k in range(3):
            exact = jb.tighten("gelu", "relu", spread=float(w[k]), offset=float(b[k]))
            slack = 1e-4 if dtype == jnp.float32 else 1e-12
            assert lower[k] <= exact.upper * (1 + slack)
            assert upper[k] >= exact.lower * (1 - slack)


class Doubled(GaugeBody):
    """A planted fault: a particle costs half of what it costs."""

    def prices(self, x):
        return super().prices(x) / 2


@pytest.mark.usefixtures("x64")
def test_bounds_hold_for_any_dual_and_a_fault_is_caught() -> None:
    function, method = prepared(jnp.float64, 1.0, 0.0), METHODS["momentum"]
    exact = jb.tighten("gelu", "relu", rel_gap=1e-11)
    rng = np.random.default_rng(0)

    def brackets(body):
        begun = start(body, function, method, jax.random.key(0))

        @jax.jit
        @jax.vmap
        def run(moments, multipliers, width):
            dual = Dual(moments, multipliers, width, begun[0].optimiser)
            return improve(body, function, method, 1, dual, begun[1])[1]

        shape = (200, begun[0].multipliers.shape[0])
        best = run(
            jnp.asarray(rng.normal(size=(200, 2)) * 3), jnp.asarray(rng.normal(size=shape)),
            jnp.asarray(10.0 ** rng.uniform(-9, 1, 200)),
        )  # fmt: skip
        return float(function.density + best.lower.max()), float(
            function.density + best.upper.min()
        )

    lower, upper = brackets(GaugeBody(1))
    assert lower <= exact.upper * (1 + 1e-12)
    assert upper >= exact.lower * (1 - 1e-12)
    lower, upper = brackets(Doubled(1))
    assert lower > exact.upper or upper < exact.lower


def test_a_network_with_cancellation() -> None:
    arrays = np.array([[1.0], [-1.0]]), np.array([[1.0], [1.0]]), np.array([0.0, 1e-3])
    found = jb.tighten(jb.ParticleMeasure(*arrays), "relu", sigma="gelu")
    one = jb.tighten("gelu", "relu")
    assert found.upper < 0.01 * one.upper
    assert found.gap < 1e-6


def test_infinite_norm_and_bad_input(tmp_path) -> None:
    found = jb.tighten("relu", "repu(2)")
    assert found.lower == found.upper == math.inf
    assert "jumps" in found.reason
    for bad in (0.0, -1.0, math.nan, 1.0):
        with pytest.raises(ToleranceError, match="rel_gap"):
            jb.tighten("gelu", "relu", rel_gap=bad)
    with pytest.raises(UsageError, match="steps"):
        jb.tighten("gelu", "relu", steps=0)
    with pytest.raises(UsageError, match="method"):
        jb.tighten("gelu", "relu", method="guess")
    with pytest.raises(UsageError, match="resume"):
        jb.tighten("gelu", "relu", resume=True)
    for spread in (math.inf, math.nan, 0.0):
        with pytest.raises(DomainError, match="spread"):
            jb.tighten("gelu", "relu", spread=spread)
    with pytest.raises(UnreachableTargetError, match="RePU_s"):
        jb.tighten("gelu", "tanh")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        jb.tighten("gelu", "relu", checkpoint=tmp_path / "none", resume=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="not empty"):
        jb.tighten("gelu", "relu", checkpoint=tmp_path)


def test_a_checkpoint_is_gone_on_from_and_never_mistaken(tmp_path) -> None:
    folder = tmp_path / "run"
    first = jb.tighten("gelu", "relu", spread=3.0, rel_gap=1e-15, steps=50, checkpoint=folder)
    stored = read_bracket(folder)
    assert (stored["lower"], stored["upper"]) == (first.lower, first.upper)  # to the last bit
    again = jb.tighten(
        "gelu", "relu", spread=3.0, rel_gap=1e-15, steps=50, checkpoint=folder, resume=True
    )
    assert again.steps == 100
    assert first.lower <= again.lower <= again.upper <= first.upper
    with pytest.raises(CheckpointError, match="another problem"):
        jb.tighten("gelu", "relu", spread=2.0, checkpoint=folder, resume=True)
    file = folder / BRACKET_FILE
    document = json.loads(file.read_text())
    for change, message in (
        ({"version": 99}, "version 99"),
        ({"lower": 9.0}, "changed"),
        ({"schema": "other"}, "another kind"),
    ):
        file.write_text(json.dumps(document | change))
        with pytest.raises(CheckpointError, match=message):
            jb.tighten("gelu", "relu", spread=3.0, checkpoint=folder, resume=True)
    file.write_text(file.read_text()[:40])
    with pytest.raises(CheckpointError, match="no checkpoint"):
        jb.tighten("gelu", "relu", spread=3.0, checkpoint=folder, resume=True)


CHILD = """
import sys
import jaxbarron as jb
jb.tighten("gelu", "relu", rel_gap=1e-15, steps=10**7, method="momentum", checkpoint=sys.argv[1])
"""


@pytest.mark.usefixtures("x64")
def test_killed_at_any_moment_it_leaves_a_bracket(tmp_path) -> None:
    folder, rng = tmp_path / "run", np.random.default_rng()
    command = [sys.executable, "-W", "error", "-c", CHILD, str(folder)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    begun = time.monotonic()
    while time.monotonic() - begun < 120 and child.poll() is None:
        if (folder / BRACKET_FILE).exists() and read_bracket(folder)["steps"] > 0:
            break
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 0.3))
    child.send_signal(signal.SIGKILL)
    _, stderr = child.communicate()
    assert child.returncode == -signal.SIGKILL, stderr.decode()
    found = read_bracket(folder)  # whole, of this version, with its digest
    assert found["lower"] <= GELU_RELU + 6e-5
    assert found["upper"] >= GELU_RELU - 6e-5
    assert found["steps"] > 0
    # the evidence alone gives the same upper bound again
    evidence = {k: jnp.asarray(v) for k, v in found["evidence"].items()}
    jets = composed_jets(lambda z: jax.nn.gelu(z, approximate=False), 2, 1.0, 0.0)
    profile = sample(jets, evidence["edges"], kinks=False)
    upper = upper_excess(
        GaugeBody(1), profile, evidence["shares"], evidence["nodes"], evidence["particles"]
    )
    assert upper == pytest.approx(float(evidence["upper"]), rel=1e-12)
    # and the state goes on
    resumed = jb.tighten(
        "gelu", "relu", rel_gap=1e-15, steps=50, method="momentum", checkpoint=folder, resume=True
    )
    assert resumed.steps >= found["steps"]
    assert found["lower"] <= resumed.lower <= resumed.upper <= found["upper"]
