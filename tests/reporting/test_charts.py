from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from rectitude.reporting.charts import (
    Axis,
    Change,
    Chart,
    Dot,
    Trade,
    bars,
    dots_with_intervals,
    frontier,
    histogram,
    lines,
    slope,
    small_multiples,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("1")</script> & \x00 \u202e'
ARABIC = "مرحبا بالعالم (1999)"
NDCG = Axis("NDCG@10", better="higher")
NAN = float("nan")


def a_dots(label: str = "SASRec") -> Chart:
    dots = [Dot(label, 0.0712, 0.061, 0.082, chosen=True), Dot("EASE", 0.05, 0.04, 0.06), Dot("Popularity", 0.0311)]
    return dots_with_intervals("SASRec ranks best", "Rods are intervals.", dots, NDCG, of="Model")


def a_multiples(label: str = "1 to 9") -> Chart:
    panels = {
        name: [Dot(label, 0.05 + shift, 0.04, 0.09), Dot("10 and more", 0.06 + shift, 0.05, 0.08)]
        for name, shift in (("SASRec", 0.01), ("EASE", 0.0), ("Popularity", -0.02), ("BPR", 0.005))
    }
    return small_multiples("Few are served worse", "Means.", panels, NDCG, of="History")


def a_lines(label: str = "valid") -> Chart:
    series = {label: [(1, 0.01), (2, 0.05), (3, 0.07), (4, NAN), (5, 0.08)], "train": [(1, 0.02), (5, 0.09)]}
    return lines("It learns", "By epoch.", series, Axis("epoch", whole=True), NDCG, chosen=(3, 0.07))


def a_bars(label: str = "popular") -> Chart:
    series = {"recommended": [53.5, 0.0], "chosen": [41.3, 58.7]}
    return bars("Popular items take more", "Shares.", [label, "rare"], series, Axis("share", "%"), of="Group")


def a_histogram(label: str = "people") -> Chart:
    return histogram("Most are short", "Counts.", [1, 1, 2, 5, 9, 9.5], Axis("length"), n_bins=5, of=label)


def a_slope(label: str = "Women") -> Chart:
    changes = [Change(label, 0.061, 0.07, chosen=True), Change("Men", 0.074, 0.0735), Change("Others", 0.0741, 0.0736)]
    return slope("The gap closes", "Means.", changes, NDCG, of="Group")


def a_frontier(label: str = "λ = 0.4") -> Chart:
    points = [
        Trade("λ = 0", 0.02, 0.074, (0.019, 0.021), (0.073, 0.075)),
        Trade(label, 0.0105, 0.0708, (0.009, 0.012), (0.07, 0.072), chosen=True),
        Trade("λ = 1", 0.005, 0.054),
    ]
    return frontier("Half the gap costs little", "Both.", points, Axis("gap", better="lower"), NDCG, of="Setting")


MAKERS: list[Callable[..., Chart]] = [a_dots, a_multiples, a_lines, a_bars, a_histogram, a_slope, a_frontier]


def drawings(chart: Chart) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in (chart.svg, chart.svg_narrow, chart.standalone())]  # noqa: S314


def words(root: ET.Element) -> list[str]:
    return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


def places(root: ET.Element, class_: str = "mark") -> list[tuple[float, float]]:
    """Positions of markers, in drawing order."""
    found = []
    for node in root.iter(f"{SVG}g"):
        if class_ in node.get("class", "").split():
            x, y = re.findall(r"-?[\d.]+", node.get("transform", ""))
            found.append((float(x), float(y)))
    return found


def ticks(root: ET.Element, direction: str) -> list[tuple[float, float]]:
    """(value, position) of the tick labels below ("middle") or left ("end") of a plot."""
    coordinate, shift = ("x", 0.0) if direction == "middle" else ("y", -4.5)
    return [
        (float(str(node.text).replace(",", "")), float(node.get(coordinate, "nan")) + shift)
        for node in root.iter(f"{SVG}text")
        if node.get("class") == f"tick {direction}"
    ]


def value_at(marks: list[tuple[float, float]], position: float) -> float:
    """Read a position off an axis by its first and last tick."""
    (low, start), (high, end) = marks[0], marks[-1]
    return low + (position - start) / (end - start) * (high - low)


@pytest.mark.parametrize("make", MAKERS)
def test_every_drawing_is_well_formed_named_and_described(make: Callable[..., Chart]) -> None:
    chart = make()
    for root in drawings(chart):
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root[0].tag == f"{SVG}title"
        assert root[0].text == chart.title
        assert root[1].tag == f"{SVG}desc"
        assert root[1].text == chart.description
    assert chart.rows
    assert all(len(row) == len(chart.columns) for row in chart.rows)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("label", [HOSTILE, ARABIC, "", "x" * 300, "a]]>b"])
def test_any_label_is_text_and_nothing_more(make: Callable[..., Chart], label: str) -> None:
    for root in drawings(make(label)):
        assert not list(root.iter(f"{SVG}script"))
        assert not list(root.iter("script"))
    if label == ARABIC:
        assert any(ARABIC[:5] in said for said in words(drawings(make(label))[0]))


@pytest.mark.parametrize("make", MAKERS)
def test_everything_drawn_stays_inside_the_picture(make: Callable[..., Chart]) -> None:
    for root in drawings(make("A label of quite some length, with more to follow"))[:2]:
        _, _, width, height = (float(number) for number in root.get("viewBox", "").split())
        for x, y in places(root):
            assert 0 <= x <= width
            assert 0 <= y <= height
        for node in root.iter(f"{SVG}text"):
            x, y, room = (
                float(node.get("x", "nan")),
                float(node.get("y", "nan")),
                0.45 * 13 * len("".join(node.itertext())),
            )
            class_ = node.get("class", "").split()
            start = x - room if "end" in class_ else x - room / 2 if "middle" in class_ else x
            assert start >= -1
            assert start + room <= width + 1
            assert 8 <= y <= height


@pytest.mark.parametrize("make", [a_dots, a_multiples, a_lines, a_slope, a_frontier])
def test_the_better_direction_is_written(make: Callable[..., Chart]) -> None:
    for root in drawings(make()):
        assert any("higher is better" in said for said in words(root))


@pytest.mark.parametrize("narrow", [False, True])
def test_dots_and_rods_stand_where_the_axis_says(narrow: bool) -> None:
    root = drawings(a_dots())[narrow]
    axis = ticks(root, "middle")
    assert [value_at(axis, x) for x, _ in places(root)] == pytest.approx([0.0712, 0.05, 0.0311], abs=1e-4)
    rods = [node for node in root.iter(f"{SVG}line") if node.get("class") == "rod" and node.get("y1") == node.get("y2")]
    ends = [value_at(axis, float(rod.get(end, "nan"))) for rod in rods for end in ("x1", "x2")]
    assert ends == pytest.approx([0.061, 0.082, 0.04, 0.06], abs=1e-4)
    assert len([node for node in root.iter(f"{SVG}circle") if node.get("class") == "ring"]) == 1


def test_dots_say_their_numbers_and_the_table_repeats_them() -> None:
    chart = a_dots()
    said = words(drawings(chart)[0])
    assert "0.0712 (0.0610–0.0820)" in said
    assert "0.0311" in said
    assert chart.columns == ("Model", "NDCG@10", "interval from", "to")
    assert chart.rows == (
        ("SASRec", 0.0712, 0.061, 0.082),
        ("EASE", 0.05, 0.04, 0.06),
        ("Popularity", 0.0311, None, None),
    )


def test_a_reference_is_named_and_drawn_to_scale() -> None:
    chart = dots_with_intervals("A", "B", [Dot("a", 1.0), Dot("b", 3.0)], Axis("x"), reference=("chance", 2.0))
    root = drawings(chart)[0]
    (drawn,) = [node for node in root.iter(f"{SVG}line") if node.get("class") == "reference"]
    axis = ticks_without(root, "chance 2")
    assert value_at(axis, float(drawn.get("x1", "nan"))) == pytest.approx(2.0, abs=0.01)
    assert "chance 2" in words(root)


def ticks_without(root: ET.Element, words_of_reference: str) -> list[tuple[float, float]]:
    for parent in list(root.iter()):
        for node in list(parent):
            if node.text == words_of_reference:
                parent.remove(node)
                found = ticks(root, "middle")
                parent.append(node)
                return found
    raise AssertionError(f"no label '{words_of_reference}'")


def test_small_multiples_share_one_scale() -> None:
    chart = a_multiples()
    root = drawings(chart)[1]  # a phone: one panel below the other, so one column of ticks
    axis = sorted(set(ticks(root, "middle")))
    expected = [0.06, 0.07, 0.05, 0.06, 0.03, 0.04, 0.055, 0.065]
    assert [value_at(axis, x) for x, _ in places(root)] == pytest.approx(expected, abs=1e-4)
    assert [row[:2] for row in chart.rows[:2]] == [("SASRec", "1 to 9"), ("SASRec", "10 and more")]
    assert [row[2] for row in chart.rows] == pytest.approx(expected)


def test_small_multiples_refuse_panels_of_different_groups() -> None:
    with pytest.raises(ValueError, match="Panel 'b' has other groups"):
        small_multiples("A", "B", {"a": [Dot("x", 1)], "b": [Dot("y", 1)]}, NDCG)


@pytest.mark.parametrize("narrow", [False, True])
def test_lines_follow_their_points_and_break_at_gaps(narrow: bool) -> None:
    root = drawings(a_lines())[narrow]
    across, up = ticks(root, "middle"), ticks(root, "end")
    drawn = [
        [tuple(map(float, pair.split(","))) for pair in str(node.get("points")).split()]
        for node in root.iter(f"{SVG}polyline")
    ]
    read = [[(value_at(across, x), value_at(up, y)) for x, y in piece] for piece in drawn]
    expected = [[(1, 0.01), (2, 0.05), (3, 0.07)], [(5, 0.08)], [(1, 0.02), (5, 0.09)]]
    assert [len(piece) for piece in read] == [3, 1, 2]
    for piece, wanted in zip(read, expected, strict=True):
        assert np.allclose(piece, wanted, atol=2e-2 * np.array([1, 0.02]))


def test_lines_tell_series_apart_without_colour() -> None:
    root = drawings(a_lines())[0]
    classes = [str(node.get("class")) for node in root.iter(f"{SVG}polyline")]
    assert len({re.findall(r"dash\d", class_)[0] for class_ in classes}) == 2
    shapes = {node.find(f"{SVG}path").get("d") for node in root.iter(f"{SVG}g") if "mark" in node.get("class", "")}  # type: ignore[union-attr]
    assert len(shapes) == 2
    assert {"valid", "train"} <= set(words(root))


def test_lines_put_every_measured_number_in_the_table() -> None:
    rows = a_lines().rows
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[4] == (5, 0.08, 0.09)
    assert rows[1] == (2, 0.05, None)
    assert math.isnan(float(str(rows[3][1])))


@pytest.mark.parametrize("narrow", [False, True])
def test_bars_start_at_zero_and_are_as_long_as_their_values(narrow: bool) -> None:
    root = drawings(a_bars())[narrow]
    axis = ticks(root, "middle")
    assert axis[0][0] == 0
    read = []
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is not None and group.find(f"{SVG}title") is not None:
            start = float(rect.get("x", "nan"))
            assert start == pytest.approx(axis[0][1], abs=0.01)
            read.append(value_at(axis, start + float(rect.get("width", "nan"))))
    assert read == pytest.approx([53.5, 41.3, 0.0, 58.7], abs=0.1)


def test_histogram_counts_every_value_once() -> None:
    values = np.random.default_rng(0).normal(size=500)
    chart = histogram("A", "B", list(values), Axis("difference"), n_bins=12, of="people")
    counts = [int(str(row[1])) for row in chart.rows]
    assert sum(counts) == 500
    edges = [float(str(row[0]).split(" to ")[0]) for row in chart.rows]
    step = edges[1] - edges[0]
    assert counts == [int(((values >= edge) & (values < edge + step)).sum()) for edge in edges]


def test_histogram_keeps_the_largest_value_and_shows_few_values_one_by_one() -> None:
    chart = a_histogram()
    assert sum(int(str(row[1])) for row in chart.rows) == 6
    root = drawings(chart)[0]
    assert len([node for node in root.iter(f"{SVG}line") if node.get("class") == "stroke"]) == 6


def test_slope_keeps_the_order_of_labels_and_parts_them() -> None:
    root = drawings(a_slope())[0]
    after = {
        "".join(node.itertext()).split("  ")[1]: float(node.get("y", "nan"))
        for node in root.iter(f"{SVG}text")
        if "  " in "".join(node.itertext())
    }
    assert after["Others"] < after["Men"] < after["Women"]
    assert after["Men"] - after["Others"] >= 15
    heights = [y for _, y in places(root)]
    low, high = max(heights), min(heights)
    values = [0.061, 0.07, 0.074, 0.0735, 0.0741, 0.0736]
    expected = [low + (value - 0.061) / (0.0741 - 0.061) * (high - low) for value in values]
    assert heights == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("narrow", [False, True])
def test_frontier_joins_points_in_order_and_rings_the_chosen(narrow: bool) -> None:
    root = drawings(a_frontier())[narrow]
    across, up = ticks(root, "middle"), ticks(root, "end")
    read = [(value_at(across, x), value_at(up, y)) for x, y in places(root)]
    assert np.allclose(read, [(0.02, 0.074), (0.0105, 0.0708), (0.005, 0.054)], atol=1e-4)
    (path,) = root.iter(f"{SVG}polyline")
    joined = [tuple(map(float, pair.split(","))) for pair in str(path.get("points")).split()]
    assert np.allclose(joined, places(root), atol=0.02)
    (ring,) = [node for node in root.iter(f"{SVG}circle") if node.get("class") == "ring"]
    assert (float(ring.get("cx", "nan")), float(ring.get("cy", "nan"))) == pytest.approx(places(root)[1], abs=0.02)


def test_crowded_frontier_labels_keep_off_each_other() -> None:
    points = [Trade(f"setting {index}", 1 + index / 40, 1 + index / 60, chosen=index == 2) for index in range(5)] + [
        Trade("far", 9, 9)
    ]
    root = drawings(frontier("A", "B", points, Axis("x"), Axis("y")))[0]
    boxes = []
    for node in root.iter(f"{SVG}text"):
        if "halo" in node.get("class", ""):
            x, y = float(node.get("x", "nan")), float(node.get("y", "nan"))
            boxes.append((x, y - 10, x + 7 * len("".join(node.itertext())), y))
    clashes = [
        (one, other)
        for index, one in enumerate(boxes)
        for other in boxes[:index]
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]
    assert len(boxes) >= 3
    assert not clashes
    said = " ".join(words(root))
    assert "far" in said
    assert "setting 2" in said


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: dots_with_intervals("T", "", [], NDCG), "'T' has nothing to draw"),
        (lambda: dots_with_intervals("T", "", [Dot("EASE", NAN)], NDCG), "The value of 'EASE' is nan"),
        (lambda: dots_with_intervals("T", "", [Dot("EASE", 1, 0, math.inf)], NDCG), "The high end of 'EASE' is inf"),
        (lambda: small_multiples("T", "", {}, NDCG), "'T' has nothing to draw"),
        (lambda: small_multiples("T", "", {"a": []}, NDCG), "'T' has nothing to draw"),
        (lambda: lines("T", "", {}, NDCG, NDCG), "'T' has nothing to draw"),
        (lambda: lines("T", "", {"loss": [(1, NAN)]}, NDCG, NDCG), "'loss' has no finite value"),
        (lambda: lines("T", "", {"loss": [(NAN, 1)]}, NDCG, NDCG), "An x of 'loss' is nan"),
        (lambda: bars("T", "", [], {"a": []}, NDCG), "'T' has nothing to draw"),
        (lambda: bars("T", "", ["g"], {"a": [1, 2]}, NDCG), "'a' has 2 values for 1 groups"),
        (lambda: bars("T", "", ["g"], {"a": [-1]}, NDCG), "'a' of 'g' is negative"),
        (lambda: histogram("T", "", [], NDCG, of="people"), "'T' has nothing to draw"),
        (lambda: histogram("T", "", [1, NAN], NDCG, of="people"), "A value is nan"),
        (lambda: slope("T", "", [], NDCG), "'T' has nothing to draw"),
        (lambda: slope("T", "", [Change("a", 1, NAN)], NDCG), "'a' after is nan"),
        (lambda: frontier("T", "", [], NDCG, NDCG), "'T' has nothing to draw"),
        (lambda: frontier("T", "", [Trade("a", 1, NAN)], NDCG, NDCG), "A y of 'a' is nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(draw: Callable[[], Chart], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        draw()


def test_an_unknown_interval_leaves_the_dot_alone() -> None:
    root = drawings(dots_with_intervals("T", "", [Dot("a", 1, NAN, NAN), Dot("b", 2, None, None)], NDCG))[0]
    assert len(places(root)) == 2
    assert not [node for node in root.iter(f"{SVG}line") if node.get("class") == "rod"]


@pytest.mark.parametrize("value", [0.0, -3.0, 1e6, 1e-5])
def test_a_single_value_can_be_drawn(value: float) -> None:
    root = drawings(dots_with_intervals("T", "", [Dot("a", value)], NDCG))[0]
    assert value_at(ticks(root, "middle"), places(root)[0][0]) == pytest.approx(value, rel=1e-2, abs=1e-6)
