"""What the atlas page draws: numbers on the safe side, no wrong arrow, boxes that are apart."""

import itertools
import math
import random
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbarron.atlas.hierarchy import Link, hierarchy
from jaxbarron.atlas.layout import draw
from jaxbarron.balls.notation import all_digits, bracket, rounded_down, rounded_up

# ------------------------------------------------------------------ numbers


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_bounds_keep_their_side(value):
    exact = Fraction(value)
    low, high = rounded_down(value), rounded_up(value)
    assert Fraction(Decimal(low)) <= exact <= Fraction(Decimal(high))
    assert Fraction(Decimal(high)) - Fraction(Decimal(low)) <= abs(exact) / 1000
    for text in (low, high):
        assert len(Decimal(text).normalize().as_tuple().digits) <= 4
    assert float(all_digits(value)) == value


def test_brackets_say_only_what_is_known():
    assert bracket(None, None) == bracket(-math.inf, math.inf) == ""
    assert bracket(1.0, math.inf) == "≥ 1"
    assert bracket(2.0, 2.0) == "= 2"
    # both are 0.1 to four digits, and neither is that number
    assert bracket(0.1, 0.1) == "[0.1, 0.1001]"
    assert rounded_up(math.inf) == "∞"


# ------------------------------------------------------------------ hierarchy and layout


def closure(names, arrows):
    """Reachability by walking, independent of the matrices of the library."""
    onward = {n: [t for s, t in arrows if s == n] for n in names}
    found = set()
    for name in names:
        stack, seen = list(onward[name]), set()
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(onward[node])
        found |= {(name, node) for node in seen}
    return found


def expanded(made, arcs):
    """The arrows between names that groups and arcs stand for."""
    inside = {(a, b) for group in made.groups for a in group for b in group if a != b}
    return inside | {
        (a, b) for x in arcs for a in made.groups[x.source] for b in made.groups[x.target]
    }


@pytest.mark.parametrize("seed", range(12))
def test_groups_and_arcs_imply_what_was_given_and_no_more(seed):
    source = random.Random(seed)
    names = [f"n{i}" for i in range(14)]
    arrows = {tuple(source.sample(names, 2)) for _ in range(10 + 3 * seed)}
    made = hierarchy(names, [Link(s, t, 3, 1.0) for s, t in arrows])
    given_arrows = closure(names, arrows)
    assert sorted(n for g in made.groups for n in g) == sorted(names)
    assert {(a, b) for a, b in closure(names, expanded(made, made.arcs)) if a != b} == {
        (a, b) for a, b in given_arrows if a != b
    }
    for left_out in made.arcs:
        rest = [arc for arc in made.arcs if arc != left_out]
        assert closure(names, expanded(made, rest)) != given_arrows
    for a, b in itertools.permutations(names, 2):
        together = any(a in g and b in g for g in made.groups)
        assert together == ((a, b) in given_arrows and (b, a) in given_arrows)


def test_arcs_of_different_orders_imply_nothing():
    links = [Link("tanh", "relu", 1, 3.0), Link("repu(2)", "relu", 1, 1.0)]
    across = Link("tanh", "repu(2)", 2, 1.0)
    made = hierarchy(["tanh", "relu", "repu(2)"], [*links, across])
    assert {(a.link.source, a.link.target) for a in made.arcs} == {
        ("tanh", "relu"), ("repu(2)", "relu"), ("tanh", "repu(2)")
    }  # fmt: skip
    # nor do two arrows back and forth at two orders make spaces equivalent
    made = hierarchy(["a", "b"], [Link("a", "b", 1, 1.0), Link("b", "a", 2, 1.0)])
    assert made.groups == (("a",), ("b",))
    assert len(draw(made).curves) == 2


def test_the_least_constant_stands_for_an_arc():
    links = [Link("a", "b", 1, 1.0), Link("b", "a", 1, 1.0)]
    made = hierarchy("abc", [*links, Link("a", "c", 1, 5.0), Link("b", "c", 1, 4.0)])
    assert [arc.link.source for arc in made.arcs] == ["b"]


@pytest.mark.parametrize("seed", range(8))
def test_boxes_are_apart_and_arrows_pass_between_them(seed):
    source = random.Random(seed)
    names = [f"name{'x' * source.randrange(9)}{i}" for i in range(4 + 4 * seed)]
    links = [
        Link(*source.sample(names[: len(names) - 2], 2), source.choice([1, 1, 1, 2]), 1.0)
        for _ in range(2 * len(names) - 6)
    ]
    made = hierarchy(names, links)
    drawing = draw(made)
    assert sorted(drawing.reading_order) == sorted(names)
    assert [[n for n, _, _ in box.names] for box in drawing.boxes] == list(map(list, made.groups))
    for a, b in itertools.combinations(drawing.boxes, 2):
        assert (
            a.x + a.width <= b.x or b.x + b.width <= a.x
            or a.y + a.height <= b.y or b.y + b.height <= a.y
        )  # fmt: skip
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height
    for curve in drawing.curves:
        start, end = drawing.boxes[curve.arc.source], drawing.boxes[curve.arc.target]
        if curve.arc.link.order == made.order:  # those of other orders may close cycles
            assert start.x + start.width < end.x
        points = re.findall(r"([\d.]+) ([\d.]+)H([\d.]+)", curve.path)
        for x, y, end in (map(float, p) for p in points):
            assert not [
                b for b in drawing.boxes
                if b.x < end and x < b.x + b.width and b.y < y < b.y + b.height
            ]  # fmt: skip


def test_nothing_known_is_drawn_too():
    names = [f"n{i}" for i in range(31)]
    drawing = draw(hierarchy(names, []))
    assert drawing.curves == ()
    assert sorted(drawing.reading_order) == sorted(names)
    assert len({(box.x, box.y) for box in drawing.boxes}) == len(names)
    assert draw(hierarchy([], [])).boxes == ()
