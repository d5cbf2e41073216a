"""The command line: exit statuses, messages, files written whole, JSON that is only JSON."""

import json
import sys

import numpy as np
import pytest

from jaxbarron.certificates import load, verify
from jaxbarron.export import load_measure


def test_help_of_every_command_has_examples(run):
    for command in ((), ("switch",), ("kernel",), ("verify",), ("activations",),
                    ("constant",), ("bracket",), ("atlas",)):  # fmt: skip
        status, out, _ = run(*command, "--help")
        assert status == 0
        assert out.count("  jaxbarron ") >= 2, command


def test_version(run):
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("jaxbarron ")


def test_kernel_prints_each_particle_exactly(run):
    status, out, _ = run("kernel", "gelu", "relu", "--tol", "1e-2", "--json", "-")
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "jaxbarron-kernel"
    assert document["level"] == "rigorous"
    assert document["lower"] <= document["upper"] <= 1e-2
    assert document["reach"] is None
    _, table, _ = run("kernel", "gelu", "relu", "--tol", "1e-2")
    for weight, offset in zip(
        document["kernel"]["weights"], document["kernel"]["offsets"], strict=True
    ):
        assert repr(weight) in table
        assert repr(offset) in table
    assert "all of R" in table


def test_direct_distance_of_gelu_and_its_tanh_form(run):
    status, out, _ = run("kernel", "gelu", "gelu_tanh", "--direct", "--json", "-")
    assert status == 0
    assert json.loads(out)["upper"] == pytest.approx(4.732e-4, rel=1e-3)


def test_kernel_with_derivatives_by_s(run):
    status, out, _ = run(
        "kernel", "tanh", "--s", 2, "--particles", 12, "--derivatives", 1, "--json", "-"
    )
    assert status == 0
    document = json.loads(out)
    assert document["target"] == "repu(2)"
    assert [e["derivative"] for e in document["errors"]] == [0, 1]


def test_long_kernels_are_elided_unless_all_is_asked_for(run):
    arguments = "kernel", "tanh", "relu", "--particles", 50
    _, short, _ = run(*arguments)
    _, whole, _ = run(*arguments, "--all")
    assert "not shown" in short
    assert "not shown" not in whole
    assert len(short.splitlines()) < len(whole.splitlines())


def test_saved_certificate_verifies_and_a_changed_number_fails(run, tmp_path):
    file = tmp_path / "tanh.json"
    assert run("kernel", "tanh", "relu", "--tol", "1e-2", "--save", file)[0] == 0
    status, out, _ = run("verify", file)
    assert status == 0
    assert "holds" in out
    text = file.read_text()
    number = json.loads(text)["kernel"]["weights"][0]
    changed = (float.fromhex(number) * 1.5).hex()
    file.write_text(text.replace(number, changed, 1))
    status, out, _ = run("verify", file)
    assert status == 1
    assert "FAILS" in out
    assert "digest" in out


def test_verify_tells_a_false_claim_from_what_is_no_certificate(run, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    run("kernel", "tanh", "relu", "--tol", "1e-2", "--save", good)
    bad.write_bytes(good.read_bytes()[:-40])
    status, out, err = run("verify", good, bad, tmp_path / "none.json", tmp_path)
    assert status == 2
    assert out.count("holds") == 1
    assert len(err.splitlines()) == 3
    status, out, _ = run("verify", good, bad, "--json", "-")
    assert status == 2
    assert [r["holds"] for r in json.loads(out)["results"]] == [True, None]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("kernel", "gelu", "relo", "--tol", "1e-3"), "relu"),
        (("kernel", "gelu", "relu", "--tol", "-1"), "tol=-1"),
        (("kernel", "gelu", "relu", "--tol", "nan"), "tol=nan"),
        (("kernel", "gelu", "relu", "--tol", "inf"), "tol=inf"),
        (("kernel", "gelu", "relu", "--tol", "1e-300"), "tol"),
        (("kernel", "gelu", "relu", "--tol", "wide"), "--tol"),
        (("kernel", "gelu", "relu"), "tol"),
        (("kernel", "gelu", "relu", "--tol", "1e-3", "--particles", "9"), "particles"),
        (("kernel", "gelu", "relu", "--particles", "0"), "particles=0"),
        (("kernel", "gelu", "relu", "--tol", "1e-3", "--reach", "-2"), "reach"),
        (("kernel", "gelu"), "--s"),
        (("kernel", "gelu", "tanh", "--s", "2", "--tol", "1e-2"), "--s 2"),
        (("kernel", "gelu", "--s", "-1", "--tol", "1e-2"), "repu(-1)"),
        (("kernel", "gelu", "heaviside", "--tol", "1e-2"), "heaviside"),
        (("kernel", "gelu", "relu", "--tol", "1e-2", "--plot", "x.gif"), ".svg"),
        (("kernel", "gelu", "relu", "--tol", "1e-2", "--save", "no/such/x.json"), "folder"),
        (("switch",), "--demo digits"),
        (("switch", "--demo", "faces", "--to", "relu"), "faces"),
        (("switch", "--demo", "digits"), "--to"),
        (("switch", "--demo", "digits", "--to", "gello"), "gello"),
        (("switch", "--demo", "digits", "--to", "relu", "--tol", "0"), "tol=0"),
        (("switch", "--demo", "digits", "--to", "relu,heaviside"), "heaviside"),
        (("switch", "--demo", "digits", "--to", "relu", "--tol", "1", "--particles", "9"), "one"),
        (("switch", "--demo", "digits", "--to", "relu", "--seed", "-1"), "--seed -1"),
        (("switch", "--demo", "digits", "--to", "relu", "--save", __file__), "no folder"),
        (("switch", "--demo", "digits", "--to", "relu", "--save", f"{__file__}/x"), "no folder"),
        (("switch", "--demo", "digits", "--to", "relu", "--json", "/"), "a file name"),
        (("kernel", "gelu", "relu", "--particles", "100000"), "at most 1024"),
        (("kernel", "gelu", "relu", "--particles", "3.5"), "--particles"),
        (("kernel", "tanh", "--s", "2", "--tol", "1e-2", "--derivatives", "2"), "s - 1"),
        (("kernel", "tanh", "--s", "2", "--tol", "1e-2", "--derivatives", "-1"), "from 0"),
        (("kernel", "sin", "relu", "--tol", "1e-2"), "reach"),
        (("kernel", "heaviside", "relu", "--tol", "1e-2"), "jumps"),
        (("kernel", "gelu", "relu", "--tol", "1e-9"), "knots"),
        (("kernel", "leaky_relu(nan)", "relu", "--tol", "1e-2"), "finite slope"),
        (("verify", "/"), "Is a directory"),
        (("verify",), "verify"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_bad_input_is_one_message_and_status_2(run, arguments, says):
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_a_folder_that_may_not_be_written_is_said_before_the_work(run, monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda *_: False)
    for option in ("--json", "--save"):
        place = tmp_path / "new"
        status, out, err = run("switch", "--demo", "digits", "--to", "relu", option, place)
        assert (status, out) == (2, "")
        assert "may not be written to" in err
        assert str(tmp_path) in err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_is_stopped_while_it_writes_leaves_nothing(run, monkeypatch, tmp_path, stop):
    """Ctrl-C, or a full disk: no half file, no temporary one, and the old file still whole."""
    file = tmp_path / "gelu.json"
    file.write_text("old")

    def interrupted(_):
        raise stop

    monkeypatch.setattr("os.fsync", interrupted)
    status, out, err = run("kernel", "gelu", "relu", "--tol", "1e-2", "--save", file)
    assert status != 0
    assert "Traceback" not in out + err
    assert [x.name for x in tmp_path.iterdir()] == ["gelu.json"]
    assert file.read_text() == "old"
    if isinstance(stop, OSError):
        assert f"the file {file}: No space left" in err
        assert status == 2


def test_missing_scikit_learn_is_said_with_the_command_that_installs_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, _, err = run("switch", "--demo", "digits", "--to", "relu")
    assert status == 2
    assert "pip install" in err


def test_missing_matplotlib_is_said_before_the_work(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = "kernel", "gelu", "relu", "--tol", "1e-2", "--plot", tmp_path / "k.svg"
    status, _, err = run(*arguments)
    assert status == 2
    assert "[plot]" in err
    assert list(tmp_path.iterdir()) == []


def test_switch_to_several_targets_saves_what_verifies(run, tmp_path):
    saved, report = tmp_path / "saved", tmp_path / "report.json"
    status, out, err = run(
        "switch", "--demo", "digits", "--to", "relu,repu2", "--to", "repu3",
        "--json", report, "--save", saved,
    )  # fmt: skip
    assert status == 0
    assert err == ""
    for words in ("2 activation sites found", "all of R", "rigorous", "verdict: ", "rule: "):
        assert words in out
    document = json.loads(report.read_text())
    assert document["schema"] == "jaxbarron-switch"
    assert [t["target"] for t in document["targets"]] == ["relu", "repu(2)", "repu(3)"]
    for target in document["targets"]:
        validation = target["validation"]
        assert validation["accuracy_before"] > 0.95
        assert abs(validation["accuracy_after"] - validation["accuracy_before"]) < 0.01
        assert all(site["kernel"]["upper"] <= 1e-3 for site in target["sites"])
        assert target["latency"]["ratio"] > 0
    certificates = sorted(saved.glob("*.json"))
    assert len(certificates) == 3
    assert len(list(saved.iterdir())) == 6
    assert run("verify", *certificates)[0] == 0
    for file in certificates:
        certificate = load(file)
        assert verify(certificate)
        kernel = load_measure(file.with_suffix(".safetensors"))
        np.testing.assert_array_equal(kernel.weights, certificate.kernel.weights)
        np.testing.assert_array_equal(kernel.offsets, certificate.kernel.offsets)


def test_activations_lists_every_family(run):
    status, out, _ = run("activations", "--json", "-")
    assert status == 0
    names = {entry["name"] for entry in json.loads(out)["activations"]}
    assert {"relu", "gelu", "gelu_tanh", "silu", "tanh", "softplus"} <= names
    assert len(names) >= 24
    assert "gelu_tanh" in run("activations")[1]
