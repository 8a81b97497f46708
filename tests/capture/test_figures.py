"""Charts become SVG that parses, anywhere, and users' figures become text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from autolog.capture.evaluation import classification, multilabel, regression, with_inputs
from autolog.capture.explanations import Dependence, contributions_of, dependence_chart
from autolog.capture.figures import Chart, render, to_html

SVG = "{http://www.w3.org/2000/svg}"


def confusion(labels):
    k = len(labels)
    counts = (np.eye(k) * 90 + np.arange(k)).astype(int).tolist()
    return Chart("confusion_matrix", "Confusion matrix", {"labels": labels, "counts": counts})


def parsed(svg):
    assert svg.startswith("<svg")
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return root


def charts():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 12, 400)
    p = rng.dirichlet(np.ones(12), 400)
    found = {**classification(y, scores=p).charts}
    found |= {f"binary {k}": c for k, c in classification(y % 2, scores=p[:, 0]).charts.items()}
    found |= {f"decision {k}": c for k, c in classification(y % 2, scores=p[:, 0] - 1).charts.items()}
    found |= {f"labels {k}": c for k, c in multilabel(p > 0.1, scores=p).charts.items()}
    found |= {f"regression {k}": c for k, c in regression(p[:, 0], p[:, 1]).charts.items()}
    images = rng.integers(0, 255, (400, 8, 9, 3)).astype("uint8")
    result = classification(y, scores=p)
    found["images"] = with_inputs(result, images[result.samples]).charts["best_and_worst_images"]
    found["bars"] = Chart("bars", "Importances", {"names": ["a", "b"], "values": [1, -2], "x_label": "Gain"})
    values = rng.normal(size=(50, 3))
    explained = contributions_of(values, ["a", "b", "c"], None, np.where(values > 2, np.nan, values))
    found["swarm"] = explained.chart(with_rows=True)
    found["swarm without rows"] = explained.chart(with_rows=False)
    found["swarm of texts"] = explained._replace(data=np.full((50, 3), "text")).chart(with_rows=True)
    one = Dependence(("a",), (np.arange(4.0),), rng.normal(size=(3, 4)), ["x", "y", "z"])
    texts = Dependence(
        ("b",), (np.array(["one", "two"], dtype=object),), rng.normal(size=(3, 2)), one.outputs
    )
    both = Dependence(("a", "b"), (*one.grid, *texts.grid), rng.normal(size=(1, 4, 2)))
    found["dependence"] = dependence_chart([one, texts], "a unit")
    found["dependence on two"] = dependence_chart([both])
    flat = Dependence(("a",), (np.zeros(1),), np.zeros((1, 1)))
    found["dependence on nothing"] = dependence_chart([flat])
    found["empty"] = Chart("curve", "Nothing", {"series": [], "x_label": "Step", "y_label": "Loss"})
    return found


@pytest.mark.parametrize("chart", charts().values(), ids=charts().keys())
def test_every_chart_survives_the_journal_and_renders(chart):
    kept = Chart(chart.kind, chart.title, json.loads(json.dumps(chart.data)))
    parsed(render(kept))


@pytest.mark.parametrize("k", [1, 2, 10, 30])
def test_a_confusion_matrix_has_a_sensible_size(k):
    root = parsed(render(confusion([f"quite a long name of class {n}" for n in range(k)])))
    width, height = (float(root.get(side).removesuffix("pt")) for side in ("width", "height"))
    assert 150 < height < 1000
    assert 150 < width < 1100


def texts(svg):
    return [element.text for element in parsed(svg).iter(f"{SVG}text")]


def test_a_confusion_matrix_says_what_it_shows():
    said = texts(render(confusion(["cat", "dog"])))
    assert {"cat", "dog", "90", "91", "Predicted class", "True class", "Confusion matrix"} <= {*said}


def test_shortened_names_stay_apart():
    said = texts(render(confusion([f"one of the classes with long names, {n}" for n in range(9)])))
    assert len({text for text in said if "…" in text}) == 9


def test_a_name_is_not_a_formula():
    parsed(render(confusion([r"$\frac$", "$5"])))


def test_text_in_a_cell_contrasts_with_the_cell():
    chart = Chart("confusion_matrix", "", {"labels": ["a", "b"], "counts": [[77, 1], [0, 0]]})
    svg = render(chart)
    style = {text.text: text.get("style") for text in parsed(svg).iter(f"{SVG}text")}
    assert "fill: #ffffff" in style["77"]
    assert "fill: #1f2933" in style["1"]


@settings(max_examples=30, deadline=None)
@pytest.mark.filterwarnings("error")
@given(st.lists(st.text(max_size=40), min_size=2, max_size=3))
def test_any_class_name_renders(names):
    parsed(render(confusion(names)))


def test_signs_that_the_drawing_font_has_not_are_left_to_the_browser():
    said = texts(render(confusion(["犬", "🎉 party"])))
    assert {"犬", "🎉 party"} <= {*said}


def test_nothing_stands_outside_of_the_page():
    root = parsed(render(confusion([f"quite a long name of class {n}" for n in range(4)])))
    left, top, width, height = map(float, root.get("viewBox").split())
    for text in root.iter(f"{SVG}text"):
        assert left <= float(text.get("x", left)) <= left + width
        assert top <= float(text.get("y", top)) <= top + height
    assert left < 0, "this one has names that reach beyond its canvas"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"unknown kind of chart 'pie'.*confusion_matrix"):
        render(Chart("pie", "", {}))


def test_without_matplotlib_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'trackio-autolog[plots]'")):
        render(confusion(["a", "b"]))


def test_rendering_touches_nothing_global():
    code = """
import sys, matplotlib
matplotlib.use("svg")  # reading an unresolved backend is what imports pyplot
before = dict(matplotlib.rcParams)
from autolog.capture.figures import Chart, render
render(Chart("bars", "", {"names": ["a"], "values": [1], "x_label": ""}))
assert dict(matplotlib.rcParams) == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_charts_render_beside_each_other():
    chart, found = confusion(["a", "b"]), []
    threads = [threading.Thread(target=lambda: found.append(render(chart))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(parsed(svg) is not None for svg in found)


def test_a_matplotlib_figure_becomes_svg_and_stays_as_it_was():
    figure = Figure(figsize=(3, 2), dpi=123)
    axes = figure.add_subplot()
    axes.plot([1, 2])
    before = (figure.canvas, figure.dpi, tuple(figure.get_size_inches()))
    for given_ in (figure, axes, figure.add_subfigure(figure.add_gridspec(1, 1)[0])):
        parsed(to_html(given_))
    assert (figure.canvas, figure.dpi, tuple(figure.get_size_inches())) == before


def test_a_plotly_figure_becomes_a_page_that_needs_no_network():
    page = to_html(go.Figure(go.Scatter(y=[1, 2])))
    assert "<html" in page[:100]
    assert not re.search(r"<script[^>]*\ssrc=", page)


@pytest.mark.parametrize("value", [None, "<svg>", 3, object()])
def test_anything_else_is_refused_with_words(value):
    with pytest.raises(TypeError, match=f"matplotlib Figure or Axes.*not .*{type(value).__name__}"):
        to_html(value)


def test_numbers_along_a_logarithmic_axis_do_not_run_into_each_other():
    data = {"x": [1.0, 2.0, 4.0], "y": [0.1, 0.2, 0.3], "colors": [0, 1, 2], "name": "rate"}
    panels = {"panels": [{**data, "log": True}], "y_label": "loss", "color_label": "Trial"}
    svg = render(Chart("panels", "", panels))
    shown = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
    assert shown[:3] == ["1", "2", "4"]
    assert not [text for text in shown if "times" in text]


@pytest.mark.parametrize("count", [2, 6, 7, 22])
def test_each_line_stands_in_the_legend_with_its_colour(count: int) -> None:
    lines = [{"name": f"class {n}", "x": [0.0, 1.0], "y": [0.0, n]} for n in range(count)]
    drawn = render(Chart("curve", "c", {"series": lines, "x_label": "x", "y_label": "y"}))
    _, legend = drawn.split('id="legend_1"')
    keys = re.findall(r'<g id="line2d_\d+">\s*<path (d="M[^"]+")?', legend)
    assert len(keys) == count
    assert all(keys), "matplotlib leaves out what lies beyond the page"


def test_a_legend_below_the_page_has_its_lines() -> None:
    series = [{"name": "trials", "x": [0, 1], "y": [3, 2]}]
    series += [{"name": "best so far", "x": [0, 1], "y": [3, 2], "style": "steps"}]
    drawn = render(Chart("traces", "t", {"series": series, "x_label": "x", "y_label": "y"}))
    _, legend = drawn.split('id="legend_1"')
    assert re.findall(r'<g id="line2d_\d+">\s*<path (d="M)?', legend) == ['d="M']


def test_lines_to_the_end_of_the_world_are_cut_off() -> None:
    series = [{"name": "", "x": [0, 1, 2], "y": [0, 1, 1e300], "style": "line"}]
    drawn = render(Chart("traces", "t", {"series": series, "x_label": "x", "y_label": "y"}))
    places = re.findall(r"[ML] (-?[\d.e+]+) (-?[\d.e+]+)", drawn)
    assert places
    assert max(abs(float(place)) for pair in places for place in pair) < 20_000


@pytest.mark.parametrize("kind", ["confusion_matrix", "parallel"])
def test_a_colour_bar_has_no_gaps(kind: str) -> None:
    axes = [{"name": name, "ticks": [(0, "0"), (1, "1")]} for name in "ab"]
    data = {"labels": ["a", "b"], "counts": [[1, 2], [3, 4]], "axes": axes, "lines": [[0, 1], [1, 0]]}
    drawn = render(Chart(kind, "", {**data, "colors": [0.0, 1.0], "color_label": "value"}))
    bar = drawn.split('id="QuadMesh')[1]
    strips = re.findall(r'<path [^>]*style="fill: (#\w+)([^"]*)"', bar)
    assert len(strips) > 100
    assert all(f"stroke: {colour}" in rest and "opacity" not in rest for colour, rest in strips)
