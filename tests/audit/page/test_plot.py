import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from f2at.audit import run_audit
from f2at.audit.page.plot import Plot, bins, density, distance_plot, iterations_plot, plots, radius_plot
from f2at.audit.page.svg import ATTACK, inline_svg
from f2at.audit.reports.statistics import proportion
from tests.audit.grey import grey_audit


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    # Of twelve images two each are 1, 2, ... 6 levels away from an error.
    audit = grey_audit([1 + i // 2 for i in range(12)], eps="4/255")
    made: dict[str, Any] = audit.report(run_audit(audit))
    return made


def test_radius_plot_falls_to_nothing(report: dict[str, Any]) -> None:
    plot = radius_plot(report)
    assert plot.lead == "Half of 12 correctly classified images fall to a change of 3.5 levels or less (linf norm)."
    table = {row[0]: row[1] for row in plot.rows}
    assert (table["0"], table["1"], table["4"], table["5"]) == ("12 of 12", "10 of 12", "4 of 12", "2 of 12")
    assert plot.rows[-1][1] == "0 of 12"


def test_distance_plot_counts_every_image_in_one_bin(report: dict[str, Any]) -> None:
    plot = distance_plot(report)
    assert plot.rows == tuple((f"above {d} to {d + 1}", "2") for d in range(6))
    assert plot.lead == "8 of 12 correctly classified images have a known error within eps."
    some = [{**entry, "levels": None if i < 5 else entry["levels"]} for i, entry in enumerate(_distances(report))]
    plot = distance_plot({**report, "curve": {**report["curve"], "minimal_perturbations": some}})
    assert sum(int(row[1]) for row in plot.rows) == 7
    assert "Of 5 images no error was found at any radius." in plot.note


def test_no_distances_and_no_iterations_no_plots(report: dict[str, Any]) -> None:
    never = [{**entry, "levels": None} for entry in _distances(report)]
    bare = {**report, "curve": {**report["curve"], "minimal_perturbations": never}, "iterations": None}
    assert [plot.title for plot in plots(bare)] == ["Accuracy against radius", "Confidence in the true class"]


def _distances(report: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report["curve"]["minimal_perturbations"]
    return found


@pytest.mark.parametrize(
    ("counts", "beyond", "lead"),
    [
        (
            [9, 5, 4, 4],
            0,
            "No more images fall after step 2 of 3. None of 10 images fell that the suite had not broken.",
        ),
        (
            [9, 5, 5, 4],
            2,
            "Images still fell between the last two points, up to step 3: more steps may find more. 2 of",
        ),
        ([9, 9, 9, 9], 0, "No image falls after the start, in 3 steps."),
        ([0], 0, "No image falls after the start, in 0 steps."),
    ],
)
def test_iterations_plot_says_whether_the_attack_converged(
    counts: list[int], beyond: int, lead: str, report: dict[str, Any]
) -> None:
    points = [{"iterations": t, **proportion(k, 10)} for t, k in enumerate(counts)]
    iterations = {**report["iterations"], "samples": 10, "broken_beyond_suite": beyond, "points": points}
    plot = iterations_plot({**report, "iterations": iterations})
    assert plot.lead.startswith(lead)
    assert [row[:2] for row in plot.rows] == [(str(t), f"{k} of 10") for t, k in enumerate(counts)]


@given(eps=st.integers(1, 128), largest=st.integers(1, 255))
def test_bins_of_whole_levels(eps: int, largest: int) -> None:
    _check_bins(float(eps), float(largest), whole=True)
    assert all(edge == int(edge) for edge in bins(eps, largest, whole=True))


@given(eps=st.floats(1e-3, 1e4), largest=st.floats(1e-3, 1e4))
def test_bins_of_any_distance(eps: float, largest: float) -> None:
    _check_bins(eps, largest, whole=False)


def _check_bins(eps: float, largest: float, *, whole: bool) -> None:
    edges = bins(eps, largest, whole=whole)
    assert edges[0] == 0
    assert edges[-2] < largest * (1 + 1e-9)
    assert edges[-1] >= largest * (1 - 1e-9)
    assert 2 <= len(edges) <= 42
    assert math.isclose(max(eps / edges[1], edges[1] / eps) % 1, 0)  # eps is an edge, or an edge is a multiple of it


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_density_is_one(values: list[float]) -> None:
    grid = np.linspace(0, 1, 1001)
    curve = density(np.array(values), grid)
    assert (curve >= 0).all()
    assert np.trapezoid(curve, grid) == pytest.approx(1, abs=1e-4)


def test_density_of_one_value_is_the_normal_one() -> None:
    grid = np.array([0.4, 0.5, 0.55])
    np.testing.assert_allclose(
        density(np.array([0.5]), grid), [math.exp(-z * z / 2) / (0.05 * math.sqrt(2 * math.pi)) for z in (2, 0, 1)]
    )


def test_svg_takes_the_page_s_colours_and_escapes_its_words() -> None:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=ATTACK, marker="o")
        axes.set_xlabel("<b> & $x$")

    svg = inline_svg(draw, name="one", label='"<i>')
    assert svg == inline_svg(draw, name="one", label='"<i>')
    assert "var(--accent)" in svg
    assert "#00000" not in svg
    assert 'aria-label="&#34;&lt;i&gt;"' in svg
    assert "&lt;b&gt; &amp; $x$" in svg
    assert "xmlns" not in svg
    identifiers = re.findall(r' id="([^"]*)"', svg)
    assert identifiers
    assert all(identifier.startswith("one-") for identifier in identifiers)


def test_plots_differ_in_name(report: dict[str, Any]) -> None:
    made: list[Plot] = plots(report)
    names = {re.findall(r' id="(\w+)-', plot.svg)[0] for plot in made}
    assert len(names) == len(made) == 4
