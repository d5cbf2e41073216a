"""Every Python example of the README runs, and its commands are those that exist."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def test_the_readme_has_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what it saves is not left in the repository
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    # "print(...)  # -> text" states what is printed
    for stated in re.findall(r"# -> (.*)$", example, flags=re.MULTILINE):
        assert stated.strip() in printed.getvalue()


def test_the_two_commands_stand_near_the_top():
    commands = re.findall(r"^pip install -e .*$", README, flags=re.MULTILINE)
    assert [c.split("&&")[1].split()[0] for c in commands] == ["jaxbarron", "pytest"]
    assert README.index(commands[1]) < 2500


def test_commands_of_the_readme_parse(monkeypatch, capsys):
    from jaxbarron.cli import main

    named = set(re.findall(r"^jaxbarron (\w+)", README, flags=re.MULTILINE))
    assert named
    for command in named:
        monkeypatch.setattr(sys, "argv", ["jaxbarron", command, "--help"])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 0
        assert "Usage" in capsys.readouterr().out
