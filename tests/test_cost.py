"""What a switched model costs, read off the compiled program: no clock, and so no noise.

The seconds are measured by ``python -m benchmarks --only cost --check``.
"""

from __future__ import annotations

import dataclasses
import math
import re
import sys

import jax
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import cost
from benchmarks.parts import PARTS
from jaxbarron.devices import on_cpu

BATCH, NEURONS = 4096, 1024
WORK = {"forward": cost._forward, "forward+backward": cost._backward}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Of a program: work, traffic, memory, its loops over all neurons, and its largest array."""

    flops: float
    transcendentals: float
    traffic: float
    temporary: float
    loops: int
    largest: int


def compiled(fn, *args):
    with on_cpu():  # what is counted, and how, is the compiler's of this platform
        program = fn.lower(*args).compile()
    text = program.as_text()
    work, memory = program.cost_analysis(), program.memory_analysis()
    sizes = [math.prod(map(int, x.split(","))) for x in re.findall(r"f32\[([\d,]+)\]", text)]
    return Compiled(
        flops=work["flops"],
        transcendentals=work.get("transcendentals", 0.0),
        traffic=work["bytes accessed"],
        temporary=memory.temp_size_in_bytes,
        loops=len(re.findall(rf"= .*f32\[{BATCH},{NEURONS}\].* fusion\(", text)),
        largest=max(sizes),
    )


@pytest.fixture(scope="module")
def models():
    with on_cpu():
        return cost._network(BATCH)


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("source", cost._SOURCES)
def test_a_switched_model_passes_over_memory_as_often_as_the_model(models, source, work):
    """With 16 particles: the same passes over memory, the same arrays, a few flops an element."""
    forms = cost._forms(source, models[0])
    old, new = (compiled(WORK[work](forms[x]), *models) for x in ("original", "switched"))
    assert new.traffic <= 1.001 * old.traffic
    assert new.temporary <= 1.01 * old.temporary
    assert new.loops <= old.loops + 1  # compilers differ in what they fuse backward
    assert new.largest == old.largest == BATCH * NEURONS  # none of batch x neurons x particles
    # it has no tanh or erf, and for it comparisons and selections: 4 a piece, forward
    assert new.transcendentals == 0
    assert new.flops <= 1.15 * old.flops
    assert new.flops - old.flops <= 4 * (16 + 1 + 16 * (work != "forward")) * BATCH * NEURONS


def test_the_flat_form_is_seen(models):
    """A planted fault: the flat form fails each of these bounds by about 16 times."""
    forms = cost._forms("gelu_tanh", models[0])
    old, flat = (compiled(cost._forward(forms[x]), *models) for x in ("original", "flat"))
    assert flat.largest == 16 * BATCH * NEURONS
    assert 14 < flat.flops / old.flops < 18
    assert flat.traffic / old.traffic > 10
    assert flat.temporary / old.temporary > 10


def test_the_benchmark_says_where_a_model_is_too_dear(monkeypatch, capsys):
    row = cost.Cost("gelu", "switched", "forward", 1e-3, 1.05, 1.0, 1.2)
    dear = dataclasses.replace(row, ratio=1.11)
    unknown = dataclasses.replace(row, ratio=math.nan)
    flat = dataclasses.replace(dear, form="flat", ratio=14.0)
    assert cost.too_dear([row, flat]) == []
    assert len(cost.too_dear([dear, unknown])) == 2
    busy = dataclasses.replace(row, form="original", ratio=0.9)
    assert ["too busy" in x for x in cost.too_dear([busy, row, dear])] == [True, True]
    assert cost.too_dear([dataclasses.replace(busy, ratio=1.04), row]) == []
    for figures, options, status in [
        ([row, flat], ["--check"], 0), ([row, dear], ["--check"], 1), ([row, dear], [], 0)
    ]:  # fmt: skip
        part = dataclasses.replace(PARTS["cost"], figures=lambda *_, x=figures: x)
        monkeypatch.setitem(PARTS, "cost", part)
        monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "cost", *options])
        assert benchmarks.main() == status
        assert ("costs 1.110 of the original (forward)" in capsys.readouterr().err) == bool(status)


def test_the_cost_is_that_of_a_model_that_is_used(models):
    """Both models give the same numbers to within the kernel's error."""
    forms = cost._forms("gelu", models[0])
    x = models[1][:64]
    old, new = (jax.jit(forms[name])(models[0], x) for name in ("original", "switched"))
    assert float(abs(old - new).max()) < 0.01
