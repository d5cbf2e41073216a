"""Every theorem named in the code exists in THEORY.md, and every documented example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import jaxbarron

PACKAGE = Path(jaxbarron.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEADINGS = re.findall(r"^#+ (.+)$", (PACKAGE / "THEORY.md").read_text("utf-8"), re.MULTILINE)


def cited(text: str) -> set[str]:
    flat = re.sub(r"\s+", " ", re.sub(r'\n\s*#?\s*|"\s*\n\s*f?"', " ", text))
    found = set(re.findall(r"Theorem [A-Z][a-z]+(?:[ -][a-z]+)*", flat))
    found |= {m.strip() for m in re.findall(r"THEORY\.md, ([A-Z][A-Za-z -]+)", flat)}
    return found


def test_every_theorem_named_in_code_exists() -> None:
    known = [heading.lower() for heading in HEADINGS]
    missing = []
    for path in SOURCES:
        for name in cited(path.read_text("utf-8")):
            # a sentence may run on after the name: some heading must be a prefix of it
            if not any(name.lower().startswith(heading) for heading in known):
                missing.append((path.name, name))
    assert not missing


def test_an_unknown_theorem_would_be_found() -> None:
    names = cited('"""Nothing (THEORY.md, Theorem Wishful thinking)."""')
    assert names
    assert not any(n.lower().startswith(h.lower()) for n in names for h in HEADINGS)


def test_every_theorem_is_used() -> None:
    text = " ".join(cited(" ".join(path.read_text("utf-8") for path in SOURCES))).lower()
    theorems = [h for h in HEADINGS if h.startswith("Theorem")]
    assert len(theorems) >= 15
    assert not [h for h in theorems if h.lower() not in text]


MODULES = [
    m.name
    for m in pkgutil.walk_packages(jaxbarron.__path__, "jaxbarron.")
    if not m.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_documented_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_every_public_name_says_what_it_is() -> None:
    """A function has an example, which the test above runs; a class names all of its fields."""
    for name in jaxbarron.__all__:
        public = getattr(jaxbarron, name)
        text = inspect.getdoc(public) or ""
        assert text, name
        if not inspect.isclass(public):
            assert not callable(public) or ">>> " in text, name
            continue
        fields = getattr(public, "__dataclass_fields__", getattr(public, "_fields", ()))
        shown = {field for field in fields if not field.startswith("_")} - {"level", "theorem"}
        assert not [x for x in shown if not re.search(rf"\b{x}\b", text)] or name in SAID, name


SAID = {"Verification"}  # in its sentence: truthy where the claim holds


PRIVATE = re.compile(r"jax\._src|from jax import _src|jaxlib")


def test_no_private_part_of_jax_is_touched() -> None:
    assert not [path.name for path in SOURCES if PRIVATE.search(path.read_text("utf-8"))]


FLOORS = [
    ("errors",), ("devices",), ("table_files",), ("programs",), ("activations",), ("domains",),
    ("measures",), ("norms",),
    ("kernels",), ("balls",), ("bounds",), ("certificates",), ("certify",), ("trade_off",),
    ("atlas",), ("tighten",),
    ("switching",), ("plots",), ("report",),
    ("demo", "export", "nn"), ("cli",),
]  # fmt: skip


def test_imports_run_downwards_only() -> None:
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    upwards = []
    for path in SOURCES:
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for target in re.findall(r"(?:from|import) jaxbarron\.(\w+)", path.read_text("utf-8")):
            if floor[target] > floor[room]:
                upwards.append((path.name, target))
    assert not upwards
