"""The report of a run: what it says, what it can never do, and which runs end with one."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.review.report.markdown import markdown
from autolog.review.report.plot import sparkline
from autolog.review.report.story import Story, story_of
from tests import programs

WICKED = '<script>alert("x")</script><img src=x onerror=alert(1)> **b** `c` \x1b[31m'


def story(project: str, name: str) -> Story:
    runs = autolog.runs(project)
    return story_of(runs.get(name), list(runs))


def test_it_says_whether_it_is_better_and_what_was_changed(project: str) -> None:
    deep = story(project, "depth=3")
    assert deep.sentence.startswith("DecisionTreeClassifier on 40 rows, 2 columns")
    assert deep.before is not None
    assert deep.before.params_set["max_depth"] == 1
    changed = {(d.section, d.key): d.values for d in deep.changed if d.section not in ("result", "cost")}
    assert changed == {("parameters", "max_depth"): (1, 3)}
    assert deep.verdict is not None
    better = deep.run.result["val/accuracy"] > deep.before.result["val/accuracy"]
    assert deep.verdict.startswith("The best of 2 runs by val/accuracy" if better else "Number 2 of 2 runs")
    assert deep.loading is not None
    model = eval(deep.loading, {"autolog": autolog})
    assert model.get_params()["max_depth"] == 3


def test_of_a_failure_it_says_the_users_own_line_first(project: str) -> None:
    failed = story(project, "depth=-1").failure
    assert failed is not None
    assert failed.error.startswith("InvalidParameterError: The 'max_depth' parameter")
    assert failed.place is not None
    assert "conftest.py, line" in failed.place
    assert failed.line == "DecisionTreeClassifier(max_depth=-1).fit(X, Y)"
    assert "sklearn" in failed.traceback


class _Tags(html.parser.HTMLParser):
    """Every tag of a page, and every address in it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def tags_of(page: str) -> _Tags:
    parser = _Tags()
    parser.feed(page)
    return parser


def test_a_page_stands_by_itself_and_nothing_in_it_runs(tmp_path: Path) -> None:
    program = f"""
    wicked = {WICKED!r}
    try:
        config = {{"params/" + wicked: wicked, wicked: [wicked]}}
        with autolog.run(wicked, config=config, tags=[wicked]) as run:
            for step in range(5):
                run.log({{"train/loss": 1.0 / (step + 1), "val/loss": 2.0, wicked: 1.0}}, step=step)
            run.table("val/per_class", [{{wicked: wicked}}])
            run.report(wicked)
            run.child(wicked).finish()
            raise ValueError(wicked)
    except ValueError:
        pass
    with autolog.run(wicked) as run:
        run.log({{"val/loss": 1.0}})
    """
    programs.run(tmp_path, program)
    runs = autolog.runs("p", at=tmp_path)
    failed = next(run for run in runs if run.status == "failed")
    pages = [autolog.report(failed, tmp_path / "a.html"), autolog.report(runs[:2], tmp_path / "b.html")]
    assert [run.reports for run in runs if run is failed] == [[WICKED]]
    for page in pages:
        text = page.read_text()
        found = tags_of(text)
        assert "script" not in found.tags
        assert found.handlers == []
        assert all(address.startswith("data:") for address in found.addresses), found.addresses
        assert "default-src 'none'" in text
        assert "http" not in re.sub(r"http://www\.w3\.org\S+", "", text.replace("http-equiv", ""))
    assert "<polyline" in pages[0].read_text()
    told = markdown(story_of(failed, list(runs)))
    assert "**b**" not in told
    assert "`c`" not in told


def test_a_study_has_the_best_of_its_trials(tmp_path: Path) -> None:
    program = """
    with autolog.run("study") as run:
        for n in range(30):
            with run.child(f"trial {n}", config={"params/x": n}) as child:
                child.log({"val/loss": abs(n - 7)})
    """
    programs.run(tmp_path, program)
    runs = autolog.runs("p", at=tmp_path)
    told = story_of(runs.get("study"), list(runs))
    assert told.below == 30
    assert [run.name for run in told.leaders[:2]] == ["trial 7", "trial 8"] or told.leaders[
        0
    ].name == "trial 7"
    assert len(told.leaders) == 20
    page = autolog.report(runs.get("study"), tmp_path / "x.html").read_text()
    assert "The best 20 of 30." in page


def reports(directory: Path) -> list[str]:
    """The names of the runs that have a report: as Markdown in Trackio, and as a page."""
    runs = autolog.runs("p", at=directory)
    having = [run for run in runs if "autolog/report" in run.texts]
    pages = {path.stem for path in (directory / "autolog-data" / "reports" / "p").glob("*.html")}
    assert {run.id for run in having} == pages
    return sorted(run.name for run in having)


SEVERAL = """
for name, loss in ("first", 3.0), ("best", 1.0), ("middle", 2.0), ("last", 4.0):
    with autolog.run(name) as run:
        run.log({"val/loss": loss})
        run.child("below").finish()
        if name == "first" and "ask" in sys.argv:
            run.report()
"""


def test_the_last_and_the_best_of_a_program_end_with_one(tmp_path: Path) -> None:
    programs.run(tmp_path, SEVERAL, AUTOLOG_REPORT="1")
    assert reports(tmp_path) == ["best", "last"]
    run = autolog.runs("p", at=tmp_path).get("best")
    assert "The best of 4 runs by val/loss" in run.texts["autolog/report"]
    assert run.reports == []


def test_those_that_are_asked_for_and_those_that_took_long_have_one_too(tmp_path: Path) -> None:
    program = f"from autolog.core import reports\nreports.LEAST_SECONDS = 0.0\n{SEVERAL}"
    programs.run(tmp_path, program, AUTOLOG_REPORT="1")
    assert reports(tmp_path) == ["best", "first", "last", "middle"]


def test_none_is_made_where_none_is_wanted_but_of_what_is_asked_for(tmp_path: Path) -> None:
    program = SEVERAL.replace('"ask" in sys.argv', "True")
    programs.run(tmp_path, program, AUTOLOG_REPORT="0")
    assert reports(tmp_path) == ["first"]


def test_it_is_made_of_what_came_last_the_model_too(tmp_path: Path) -> None:
    program = """
    import numpy as np
    autolog.enable("sklearn")
    from sklearn.linear_model import LogisticRegression
    X = np.arange(40.0)[:, None]; y = (X[:, 0] > 19).astype(int)
    LogisticRegression().fit(X, y).score(X + 0.5, y)
    """
    programs.run(tmp_path, program, AUTOLOG_REPORT="1", warm=True)
    (run,) = autolog.runs("p", at=tmp_path)
    assert "load_model()" in run.texts["autolog/report"]
    assert "val/accuracy" in run.texts["autolog/report"]
    assert "autolog/pending" not in run.config
    (page,) = (tmp_path / "autolog-data" / "reports").rglob("*.html")
    assert "load_model()" in page.read_text()


def test_a_report_for_a_server_holds_what_the_server_was_sent(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    program = """
    import numpy as np
    autolog.enable("sklearn")
    from sklearn.linear_model import LogisticRegression
    X = np.arange(40.0)[:, None]; y = (X[:, 0] > 19).astype(int)
    try:
        LogisticRegression(C=-1).fit(X, y)  # PRIVATE_WORDS
    except ValueError:
        pass
    """
    with programs.trackio_server(there, "secret") as url:
        variables = {"AUTOLOG_SERVER_URL": url, "AUTOLOG_WRITE_TOKEN": "secret", "AUTOLOG_REPORT": "1"}
        programs.run(here, program, warm=True, **variables)
        (run,) = autolog.runs("p", at=url)
        told = run.texts["autolog/report"]
    assert "failed" in told
    assert "PRIVATE_WORDS" not in told
    (page,) = (here / "autolog-data" / "reports").rglob("*.html")
    assert "PRIVATE_WORDS" not in page.read_text()
    assert "secret" not in page.read_text()


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([1.0, 2.0, 3.0], "▁▅█"),
        ([1.0, 1.0], "▄▄"),
        ([float("nan")], ""),
        ([0.0, float("nan"), 1.0], "▁ █"),
        ([float(n) for n in range(8)], "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_curve_is_a_line_of_text(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn
    assert len(sparkline(values * 50)) in (0, 24)


def test_what_is_no_run_is_refused(tmp_path: Path, project: str) -> None:
    anything: Any = 3
    with pytest.raises(TypeError):
        autolog.report(anything, tmp_path / "x.html")
    with pytest.raises(TypeError, match="no run that was read back"):
        autolog.report([anything], tmp_path / "x.html")
    with pytest.raises(ValueError, match="report: no run was given"):
        autolog.report([], tmp_path / "x.html")
    with (
        autolog.enabled(sink=autolog.MemorySink()),
        autolog.run("r") as run,
        pytest.raises(TypeError, match="report: expected a text, got int"),
    ):
        run.report(anything)
