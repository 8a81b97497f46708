"""The project itself: what the README shows works, the examples run, the versions agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import autolog
from autolog.core.catalogue import TABLE
from autolog.core.settings import Settings
from autolog.sinks import UNSHOWN_TABLE
from tests.packages import making
from tests.programs import journals, read, run, values

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.slow
def test_the_quickstart_records_what_it_promises(tmp_path: Path) -> None:
    example = ROOT / "examples" / "quickstart.py"
    program = f"import runpy; runpy.run_path({str(example)!r}, run_name='__main__')"
    out = run(tmp_path, program, AUTOLOG_BUDGET="1000")  # what is recorded, not what this machine can afford
    command = out.split("Look at it:  ")[1].split(" show --project quickstart")[0]
    assert (Path.cwd() / command).is_file(), "what is printed can be copied"
    (kept,) = read(tmp_path, "quickstart")
    assert kept["config"]["status"] == "finished"
    assert kept["config"]["model"] == "LogisticRegression"
    assert kept["config"]["model/pipeline"].startswith("GridSearchCV > ")
    assert kept["config"]["best/classify__C"] in (0.01, 0.1, 1, 10)
    assert "autolog/faults" not in kept["config"]
    assert "autolog/lost" not in kept["config"]
    for metric in ("val/accuracy", "val/roc_auc", "train/accuracy", "cv/best_score"):
        assert 0.9 < values(kept, metric)[0] <= 1
    for table in ("val/per_class", "search/cv_results", "data/head"):
        assert values(kept, table)[0]["_type"] == "trackio.table"
    assert values(kept, "val/confusion_matrix_counts")[0]["_type"] == UNSHOWN_TABLE  # a picture shows it
    for picture in ("val/confusion_matrix", "val/roc", "val/precision_recall", "val/calibration"):
        page = tmp_path / "media" / values(kept, picture)[0]["file_path"]
        assert "<svg" in page.read_text()
    shown = f"test ROC AUC    {values(kept, 'val/roc_auc')[0]:.3f}"
    assert shown in out, "what the user computes is what is recorded"
    assert journals(tmp_path) == []


@pytest.mark.slow
def test_the_quickstarts_code_is_kept(tmp_path: Path) -> None:
    example = ROOT / "examples" / "quickstart.py"
    program = (
        "autolog.disable()\nimport runpy, sys\n"
        f"sys.argv = [{str(example)!r}]\nrunpy.run_path({str(example)!r}, run_name='__main__')"
    )
    run(tmp_path, program)
    (kept,) = read(tmp_path, "quickstart")
    artifacts = {a["name"]: a for group in kept["artifacts"].values() for a in group}
    assert {"model-GridSearchCV", "environment"} <= set(artifacts)
    assert re.fullmatch("[0-9a-f]{40}", kept["config"].get("git/commit", "0" * 40))


def test_every_setting_stands_on_its_page_and_no_other() -> None:
    section = (ROOT / "docs" / "settings.md").read_text().split("## Other variables")[0]
    named = set(
        re.findall(
            r"`([a-z_]+)`",
            " ".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `")),
        )
    )
    assert named == set(Settings.__dataclass_fields__)


def test_every_setting_has_its_docstring() -> None:
    source = (ROOT / "autolog" / "core" / "settings.py").read_text()
    for name in Settings.__dataclass_fields__:
        assert re.search(rf'^    {name}: .*\n    """', source, re.MULTILINE), name


def test_the_catalogue_and_the_extras_agree() -> None:
    for name, framework in TABLE.items():
        requirement, *more = PROJECT["optional-dependencies"][name]
        assert more in ([], ["matplotlib>=3.8"])  # what draws
        plain = re.sub(r"\[\w+\]", "", requirement)  # transformers[torch]: its Trainer needs accelerate
        assert plain == f"{framework.distribution}{framework.requires}"


def test_the_keywords_name_every_framework() -> None:
    named = {word.replace("-", "_") for word in PROJECT["keywords"]}
    assert named >= {framework.distribution.replace("-", "_") for framework in TABLE.values()}


def test_a_packages_description_has_links_that_lead_somewhere() -> None:
    readme = "![a page](docs/images/a.png) [b](docs/b.md) [docs/c.md](docs/c.md) [d](https://d.org) [e](#e)"
    known = making().description(readme, "https://host/us/it")
    assert known.split() == [
        "![a",
        "page](https://host/us/it/raw/HEAD/docs/images/a.png)",
        "[b](https://host/us/it/blob/HEAD/docs/b.md)",
        "[docs/c.md](https://host/us/it/blob/HEAD/docs/c.md)",
        "[d](https://d.org)",
        "[e](#e)",
    ]
    unknown = "*a page* b (`docs/b.md`) `docs/c.md` [d](https://d.org) [e](#e)"
    assert making().description(readme, "") == unknown
    assert making().addresses("") == {}
    assert making().addresses("https://host/us/it")["Issues"] == "https://host/us/it/issues"


def test_the_readmes_own_links_lead_somewhere() -> None:
    paths = [link["path"].partition("#")[0] for link in making().LINK.finditer(README)]
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 6_144


def test_the_version_stands_in_one_way() -> None:
    assert PROJECT["version"] == autolog.__version__
    assert f"## {autolog.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", autolog.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert (getattr(autolog, name).__doc__ or "").strip()


def test_ci_runs_the_readmes_commands() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    for mark in ("run", "test"):
        assert f"<!-- {mark} -->\n```bash\n" in README
        assert f"readme_command {mark}" in ci
