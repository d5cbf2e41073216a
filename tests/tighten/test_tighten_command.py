"""``jaxbarron tighten`` and ``kernel --minimise norm`` as a user meets them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from jaxbarron.cli import app
from jaxbarron.errors import JaxbarronError
from jaxbarron.tighten import read_bracket

MAIN = "from jaxbarron.cli import main; main()"


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_tighten_prints_a_bracket_and_goes_on(tmp_path) -> None:
    folder, file = str(tmp_path / "run"), tmp_path / "found.json"
    done = run("tighten", "gelu", "relu", "--checkpoint", folder, "--json", str(file))
    assert done.exit_code == 0, done.output
    assert "relative gap" in done.output
    document = json.loads(file.read_text())
    assert document["schema"] == "jaxbarron-tighten-result"
    assert document["lower"] <= document["upper"] <= document["lower"] * (1 + 1e-9)
    assert document["met"]
    assert read_bracket(tmp_path / "run")["lower"] == document["lower"]
    assert run("tighten", "gelu", "relu", "--checkpoint", folder, "--resume").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rel-gap", "0"), ("--steps", "0"), ("--spread", "inf"), ("--spread", "0"),
        ("--weight", "heavy"), ("--method", "guess"), ("--resume",),
        ("--checkpoint", "/nowhere/at/all", "--resume"),
    ],
)  # fmt: skip
def test_bad_input_is_one_typed_error(arguments) -> None:
    assert isinstance(run("tighten", "gelu", "relu", *arguments).exception, JaxbarronError)


def test_a_rough_source_is_infinite() -> None:
    done = run("tighten", "relu", "--s", "2")
    assert done.exit_code == 0
    assert "infinite" in done.output


def test_stopped_by_hand_it_prints_and_keeps_the_bracket(tmp_path) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable, "-W", "error", "-c", MAIN, "tighten", "gelu", "relu",
        "--rel-gap", "1e-15", "--steps", "100000000", "--method", "momentum", "--checkpoint",
        str(folder),
    ]  # fmt: skip
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    begun = time.monotonic()
    while time.monotonic() - begun < 120 and child.poll() is None:
        if (folder / "bracket.json").exists() and read_bracket(folder)["steps"] > 0:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, stderr = child.communicate(timeout=60)
    assert child.returncode == 0, stderr
    assert "stopped by hand" in out
    assert "Traceback" not in stderr
    found = read_bracket(folder)
    assert found["lower"] <= 1.8206 <= found["upper"] * 1.001


def test_bad_usage_exits_with_2() -> None:
    command = [sys.executable, "-c", MAIN, "tighten", "gelu", "relu", "--rel-gap", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("jaxbarron: error: given: rel_gap=-1.0")
    assert len(done.stderr.splitlines()) == 1


def test_kernel_of_least_norm(tmp_path) -> None:
    file = tmp_path / "kernel.json"
    done = run(
        "kernel", "tanh", "relu", "--minimise", "norm", "--reach", "2", "--particles", "12",
        "--json", str(file),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "of the least representation" in done.output
    document = json.loads(file.read_text())
    norms = document["norm"]
    assert norms["lower"] * (1 - 1e-9) <= norms["kernel"] <= norms["upper"] * (1 + 1e-2)
    assert document["level"] == "rigorous"
    assert [p["norm"] for p in document["curve"]] == sorted(p["norm"] for p in document["curve"])
    missing = run("kernel", "tanh", "relu", "--minimise", "norm")
    assert isinstance(missing.exception, JaxbarronError)
