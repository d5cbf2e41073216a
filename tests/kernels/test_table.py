"""Every entry of the shipped table, proved again; and the builder."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from jaxbarron.activations import activation, repu
from jaxbarron.certificates import kernel_certificate
from jaxbarron.errors import CertificateFileError
from jaxbarron.kernels import build_table, table
from jaxbarron.kernels.exact_tails import kernel_of_spline
from jaxbarron.kernels.rounding import CUBIC_REACH
from jaxbarron.kernels.splines import spline_kernel
from jaxbarron.programs import evaluate_program


def observed_error(spline, source: str, rng) -> float:
    """The largest error at 10,000 random points, then by ascent from each of the worst."""
    program = activation(source).program
    far = 2.0 ** rng.uniform(0, 20, 2000) * rng.choice([-1, 1], 2000)
    low, high = spline.knots[0] - 3, spline.knots[-1] + 3
    # beside a kink the pieces are narrow: points at all distances from the knots
    near = rng.choice(spline.knots, 3000) + rng.normal(size=3000) * 10 ** rng.uniform(-6, 0, 3000)
    z = np.concatenate([rng.uniform(low, high, 5000), near, far])

    def error(z):
        return np.abs(evaluate_program(program, z) - spline.value(z))

    best = z[np.argsort(error(z))[-400:]]
    step = 1e-3 * np.min(np.abs(best[:, None] - spline.knots), axis=1) + 1e-12
    for _ in range(50):
        trials = np.stack([best, best - step, best + step])
        trials = np.clip(trials, -CUBIC_REACH, CUBIC_REACH)
        seen = error(trials)
        chosen = np.argmax(seen, axis=0)
        step = np.where(chosen == 0, step / 2, 1.5 * step)
        best = np.take_along_axis(trials, chosen[None], 0)[0]
    return float(np.max(error(best)))


def proved_error(spline, source: str, s: int) -> float:
    reach = CUBIC_REACH if s == 3 else None
    return kernel_certificate(
        kernel_of_spline(spline), activation(source), repu(s), reach=reach
    ).upper


@pytest.mark.parametrize("source", build_table.SOURCES)
def test_every_entry_is_within_its_tolerance_and_tight(source: str):
    checked = 0
    for (name, s, tol), spline in table.entries().items():
        if name == activation(source).name:
            proved = proved_error(spline, name, s)
            assert proved <= tol, (name, s, tol)
            observed = observed_error(spline, name, np.random.default_rng(checked))
            assert observed <= proved * (1 + 1e-9), (name, s, tol)
            assert proved <= 1.01 * observed, (name, s, tol)  # tight, not merely true
            checked += 1
    assert checked >= 7


@pytest.mark.parametrize("key", [("gelu", 1, 1e-2), ("tanh", 2, 1e-2), ("silu", 3, 1e-3)])
def test_a_changed_number_is_caught(key):
    """Falsification: one coefficient off by a thousandth breaks the proof."""
    spline = table.entries()[key]
    middle = len(spline.n) // 2
    changed = list(spline.n)
    changed[middle] += abs(changed[middle]) // 1000 + 1
    broken = dataclasses.replace(spline, n=tuple(changed))
    assert not proved_error(broken, key[0], key[1]) <= key[2]


def test_entries_are_small_exact_and_ascending():
    for spline in table.entries().values():
        assert len(spline.n) == len(spline.tau) <= 128
        assert max(map(abs, spline.n)) < 2**53
        assert max(map(abs, spline.tau)) < 2**53
        assert all(x < y for x, y in zip(spline.tau, spline.tau[1:], strict=False))
        assert all(x == 0 for x in spline.right_tail()[2:])


def test_lookup_matches_only_what_was_built():
    assert table.lookup("gelu", 1, 1e-3) is not None
    assert table.lookup("gelu", 1, 1.1e-3) is None
    assert table.lookup("sin", 1, 1e-3) is None


def test_spline_kernel_uses_the_table():
    kernel, stored = spline_kernel("gelu", 2, tol=1e-3), table.lookup("gelu", 2, 1e-3)
    assert stored is not None
    assert kernel.weights.tolist() == stored.weights.tolist()


def test_json_round_trip():
    for (source, _, tol), spline in list(table.entries().items())[:20]:
        data = json.loads(json.dumps(table.entry_to_json(source, tol, spline)))
        assert table.entry_from_json(data) == spline


def test_the_builder_resumes_and_repeats_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_table, "SOURCES", ("celu",))
    monkeypatch.setattr(build_table, "TOLERANCES", (1e-2,))
    path = tmp_path / "table.json"
    assert build_table.main([], path) == 0
    first = path.read_text()
    data = json.loads(first)
    assert [entry["s"] for entry in data["entries"]] == [1, 2, 3]
    # an interrupted build: the last entry is missing
    data["entries"].pop()
    path.write_text(json.dumps(data))
    assert build_table.main([], path) == 0
    assert path.read_text() == first
    assert [item.name for item in tmp_path.iterdir()] == ["table.json"]
    assert "celu" in capsys.readouterr().err


def test_a_table_of_another_format_is_refused(monkeypatch):
    monkeypatch.setattr(table, "TABLE_FORMAT", 99)
    table.entries.cache_clear()
    try:
        with pytest.raises(CertificateFileError, match="format"):
            table.entries()
    finally:
        monkeypatch.undo()
        table.entries.cache_clear()
    assert table.entries()
