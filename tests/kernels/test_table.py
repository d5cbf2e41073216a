"""Every entry of the shipped table, proved again; and the builder."""

from __future__ import annotations

import dataclasses
import json

import pytest

from jaxbarron.activations import activation, repu
from jaxbarron.certificates import kernel_certificate
from jaxbarron.errors import CertificateFileError
from jaxbarron.kernels import build_table, table
from jaxbarron.kernels.exact_tails import kernel_of_spline
from jaxbarron.kernels.rounding import CUBIC_REACH
from jaxbarron.kernels.splines import spline_kernel


def proved_error(spline, source: str, s: int) -> float:
    reach = CUBIC_REACH if s == 3 else None
    return kernel_certificate(
        kernel_of_spline(spline), activation(source), repu(s), reach=reach
    ).upper


@pytest.mark.parametrize("source", build_table.SOURCES)
def test_every_entry_is_within_its_tolerance(source: str):
    checked = 0
    for (name, s, tol), spline in table.entries().items():
        if name == activation(source).name:
            assert proved_error(spline, name, s) <= tol, (name, s, tol)
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
