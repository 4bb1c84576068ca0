from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.reporting.svg import clean, element, fitted_scale, round_scale, shorten, spread, text, text_width

values = st.lists(st.floats(-1e9, 1e9).map(lambda value: 0.0 if abs(value) < 1e-6 else value), min_size=1, max_size=20)


@settings(deadline=None)
@given(values, st.integers(2, 9), st.booleans(), st.booleans())
def test_a_scale_covers_its_values_with_even_ticks(data: list[float], n_ticks: int, whole: bool, zero: bool) -> None:
    scale = round_scale(data, 50, 450, n_ticks=n_ticks, whole=whole, zero=zero)
    span = scale.high - scale.low
    assert scale.low <= min(data) + 1e-6 * span
    assert scale.high >= max(data) - 1e-6 * span
    assert len(scale.ticks) <= n_ticks + 2
    steps = [after - before for before, after in pairwise(scale.ticks)]
    assert steps == pytest.approx([span / len(steps)] * len(steps), rel=1e-6, abs=1e-9)
    assert scale(scale.low) == pytest.approx(50)
    assert scale(scale.high) == pytest.approx(450)
    if whole:
        assert all(tick == round(tick) for tick in scale.ticks)
    if zero:
        assert scale.low <= 0 <= scale.high


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ([0.021, 0.089], ["0.02", "0.04", "0.06", "0.08", "0.10"]),
        ([0, 9], ["0", "2", "4", "6", "8", "10"]),
        ([1.1, 2.1], ["1.0", "1.2", "1.4", "1.6", "1.8", "2.0", "2.2"]),
        ([0, 0.0125], ["0.0000", "0.0025", "0.0050", "0.0075", "0.0100", "0.0125"]),
        ([0, 12_000], ["0", "2,500", "5,000", "7,500", "10,000", "12,500"]),
    ],
)
def test_ticks_are_the_round_numbers_one_would_choose(data: list[float], labels: list[str]) -> None:
    scale = round_scale(data, 0, 100)
    assert [scale.label(tick) for tick in scale.ticks] == labels


def test_equal_values_get_a_scale_around_them() -> None:
    scale = round_scale([0.3, 0.3], 0, 100)
    assert scale.low < 0.3 < scale.high
    flat = round_scale([0.0], 0, 100, zero=True)
    assert flat.low <= 0 < flat.high


@settings(deadline=None)
@given(values, st.floats(80, 600))
def test_tick_labels_do_not_touch(data: list[float], width: float) -> None:
    scale = fitted_scale(data, 0, width)
    if len(scale.ticks) > 4:  # two or three ticks are the least a scale can have
        half = [text_width(scale.label(tick)) / 2 for tick in scale.ticks]
        for (before, one), (after, other) in pairwise(zip(scale.ticks, half, strict=True)):
            assert scale(before) + one < scale(after) - other


@settings(deadline=None)
@given(st.lists(st.floats(0, 200), max_size=10))
def test_labels_are_moved_apart_in_order(positions: list[float]) -> None:
    placed = spread(positions, 17, 0, 200)
    for (one, moved_one), (other, moved_other) in pairwise(sorted(zip(positions, placed, strict=True))):
        assert moved_other - moved_one >= 17 - 1e-6 or one == other
    assert sorted(abs(a - b) >= 17 - 1e-6 for a, b in pairwise(sorted(placed))) == [True] * max(0, len(placed) - 1)
    assert all(place <= 200 + 1e-6 for place in placed)


def test_labels_that_have_room_stay() -> None:
    assert spread([10, 50, 90], 17, 0, 200) == [10, 50, 90]


@settings(deadline=None)
@given(st.text())
def test_any_text_becomes_well_formed_and_comes_back(content: str) -> None:
    parsed = ET.fromstring(element("g", text(1, 2, content), content, says=content))  # noqa: S314
    expected = clean(content).replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(parsed.itertext()) == expected * 2
    assert parsed.get("says") == expected.replace("\n", " ").replace("\t", " ")


def test_text_is_cut_to_a_width() -> None:
    assert shorten("Short", 100) == "Short"
    cut = shorten("A very long label that does not fit", 100)
    assert cut.endswith("…")
    assert text_width(cut) <= 100
    assert text_width("千と千尋") == pytest.approx(4 * 13)
    assert text_width("e\u0301") == text_width("e")
