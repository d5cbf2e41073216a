"""The benchmarks run as the README says, and their figures have the right size."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_quick_form_gives_figures_of_all_parts(tmp_path):
    file = tmp_path / "figures.json"
    command = [sys.executable, "-W", "error", "-m", "benchmarks", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert figures["machine"]["versions"]["jax"] in done.stdout
    forms = {(row["form"], row["work"]): row["ratio"] for row in figures["cost"]}
    for work in ("forward", "forward+backward"):
        assert forms["flat", work] > 3 * forms["switched", work]
    for row in figures["arithmetic"]:  # what float32_error assumes of this machine holds
        assert 0 < row["worst"] <= 1, row
    for row in figures["kernels"]:
        assert row["level"] == "rigorous"
        # free knots and coefficients are never worse than the interpolant; the limit is one for
        # K -> infinity: 8 knots may be a little better than it
        assert 0.5 < row["ratio"] < row["scipy_ratio"]
    for row in figures["constants"]:
        assert row["lower"] <= row["upper"] <= row["lower"] * (1 + 1e-12)
        assert row["ratio"] > 1
    tanh = next(row for row in figures["constants"] if row["source"] == "tanh")
    assert tanh["lower"] * (1 - 1e-12) <= tanh["peer"] <= tanh["upper"] * (1 + 1e-12)
    for row in figures["norms"]:
        assert row["largest_gap"] <= row["gap"] * (1 + 1e-9)
        assert row["ratio"] > 1
    for row in figures["tighten"]:
        assert row["gap"] < (1e-10 if row["method"] == "lbfgs" else 1)
    assert figures["constants_table"]["entries"] >= 24 * 5
    assert len(figures["finetune"]) == 1
    for row in figures["finetune"]:
        assert row["kind"] in ("extrapolated", "not in sight")
        assert row["short_steps"] <= row["lower"]
    for row in figures["networks"]:
        assert 0 < row["attack"] <= row["bound"]
    assert figures["networks_absent"] or figures["networks"][0]["crown"] > 0
    asked, direct = figures["report"][:2]
    assert asked["failures"] == 0
    assert asked["certified"] <= 1e-3 < direct["certified"]
    assert asked["change"] < direct["change"]
    switched = next(row for row in figures["transformer"] if row["form"] == "switch, K = 16")
    direct = next(row for row in figures["transformer"] if row["form"] == "one for one")
    assert switched["sites"] == 2
    assert switched["least_cosine"] > 0.9999 > direct["least_cosine"]
