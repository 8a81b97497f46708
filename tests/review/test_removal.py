"""What is removed is that run and nothing else: rows, artifacts and pictures of the others stay whole."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import orjson
import pytest

import autolog
from autolog.review.listing import Runs
from autolog.review.removal import prunable, removal_of
from autolog.review.source import SourceError
from tests import programs

PROGRAM = """
import pathlib
os.chdir(os.environ["TRACKIO_DIR"])
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
X = [[(n * 0.61803) % 1, (n * 0.41421) % 1] for n in range(60)]
y = [int(a + b > 1) for a, b in X]
autolog.enable(project="p", log_code=False, budget=1e9)
for depth in (1, 2, 3):
    with autolog.run(f"tree {depth}") as run:
        DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X[:40], y[:40]).score(X[40:], y[40:])
        path = pathlib.Path(f"of-{max(depth, 2)}") / "weights"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"same" * 1000 if depth < 3 else b"other" * 1000)
        run.artifact(path, "weights", type="model")
with autolog.run("study") as study:
    study.log({"val/loss": 1.0})
    for n in range(2):
        with study.child(f"trial {n}") as child:
            child.log({"val/loss": float(n)})
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, two of which have kept the same file, and a study with two trials."""
    folder = tmp_path_factory.mktemp("recorded")
    programs.run(folder, PROGRAM, AUTOLOG_DETACH="0")
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it to remove from."""
    return Path(shutil.copytree(recorded, tmp_path / "trackio"))


def files(folder: Path) -> set[str]:
    below = [*(folder / "artifacts").rglob("*"), *(folder / "media").rglob("*")]
    return {str(path.relative_to(folder)) for path in below if path.is_file()}


def whole(run: autolog.review.recorded.RecordedRun) -> dict[str, object]:  # type: ignore[name-defined]
    artifacts = {a.name: [a.path(name).read_bytes() for name in a.files] for a in run.artifacts}
    pictures = {key: path.read_bytes() for key, path in run.figures.items()}
    config = {k: v for k, v in run.config.items() if k != "autolog/notes"}
    metrics = {key: (series.steps, series.values) for key, series in run.metrics.items()}
    return {"artifacts": artifacts, "pictures": pictures, "config": config, "metrics": metrics}


@pytest.mark.slow
def test_a_run_goes_with_all_that_is_only_its_own(folder: Path) -> None:
    runs = autolog.runs("p", at=folder)
    first, second = runs.get("tree 1"), runs.get("tree 2")
    before = {run.id: whole(run) for run in runs if run.id != first.id}
    kept_before, pictures = files(folder), {path.name for path in first.figures.values()}
    assert pictures
    removal = removal_of([first])
    assert "weights" not in {a.name for a, _ in removal.artifacts}, "another run has kept the same"
    assert files(folder) == kept_before
    size_before = sum((folder / name).stat().st_size for name in kept_before)
    removal.carry_out()
    assert size_before - sum((folder / name).stat().st_size for name in files(folder)) == removal.bytes > 0
    assert not pictures & {Path(name).name for name in files(folder)}
    left = autolog.runs("p", at=folder)
    assert {run.id: whole(run) for run in left} == before
    removal_of([left.get("tree 2")]).carry_out()
    digest = {name for name in kept_before if "blobs" in name} - files(folder)
    assert (
        len(digest) == len([a for a in (*first.artifacts, *second.artifacts) if a.type != "environment"]) - 1
    )
    with sqlite3.connect(folder / "p.db") as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                assert first.id not in row, table
                assert second.id not in row, table


def test_the_newest_that_stays_is_the_latest(folder: Path) -> None:
    removal_of([autolog.runs("p", at=folder).get("tree 3")]).carry_out()
    weights = [a for a in autolog.runs("p", at=folder).get("tree 2").artifacts if a.name == "weights"]
    assert [(a.version, a.aliases) for a in weights] == [(0, ("latest",))]


def test_pruning_spares_the_best_and_the_last_and_what_has_a_name(folder: Path) -> None:
    def pruned(**asked: object) -> set[tuple[str, int]]:
        found = prunable(autolog.runs("p", at=folder), **asked)  # type: ignore[arg-type]
        return {(a.name, a.version) for a, _ in found.artifacts if a.name == "weights"}

    runs = autolog.runs("p", at=folder)
    assert runs.get("last").name == "study"
    trees = Runs([run for run in runs if run.name.startswith("tree")], runs.where)
    best = trees.best
    expected = {("weights", 0), ("weights", 1)} - {
        (a.name, a.version) for a in best.artifacts if a.name == "weights"
    }
    assert {
        (a.name, a.version) for a, _ in prunable(trees, ["best"]).artifacts if a.name == "weights"
    } == expected
    assert pruned(keep=[]) == {("weights", 0), ("weights", 1)}
    assert pruned(keep=[], older=3600) == set()
    assert pruned(keep=[], types=["code"]) == set()
    with sqlite3.connect(folder / "p.db") as connection:
        connection.execute(
            "INSERT INTO artifact_aliases SELECT artifact_id, 'production', id FROM artifact_versions "
            "WHERE version = 0 AND artifact_id = (SELECT id FROM artifacts WHERE name = 'weights')"
        )
    assert pruned(keep=[]) == {("weights", 1)}
    with pytest.raises(ValueError, match="keep=newest: expected best or last"):
        pruned(keep=["newest"])


def test_what_was_pruned_is_said_in_the_run(folder: Path) -> None:
    removal = prunable(autolog.runs("p", at=folder), keep=[])
    removal.carry_out()
    run = autolog.runs("p", at=folder).get("tree 3")
    assert "was removed by autolog prune on" in run.notes["artifact/weights"]
    assert run.metrics["val/accuracy"].last == run.result["val/accuracy"]
    assert {a.type for a in run.artifacts} & {"model", "checkpoint"} == set()
    with pytest.raises(LookupError, match="has no model to load: .*removed by autolog prune"):
        run.load_model()


def test_what_another_run_or_a_registry_uses_stays(folder: Path) -> None:
    programs.run(
        folder,
        """
        import trackio
        run = trackio.init(project="p", name="user")
        run.use_artifact("weights:v1")
        trackio.log({"m": 1.0})
        trackio.finish()
        """,
    )
    runs = autolog.runs("p", at=folder)
    third = runs.get("tree 3")
    assert "weights" not in {a.name for a, _ in removal_of([third]).artifacts}
    removal_of([third]).carry_out()
    (used,) = autolog.runs("p", at=folder).get("user").artifacts
    assert used.path(used.files[0]).read_bytes() == b"other" * 1000
    programs.run(
        folder,
        """
        import trackio
        trackio.Api().create_registry("models")
        run = trackio.init(project="p", name="publishes")
        run.link_artifact(run.use_artifact("weights:v0"), "registry-models/best-of-all")
        trackio.log({"m": 1.0})
        trackio.finish()
        """,
    )
    # The registry alone holds it: the run that has published it is gone.
    removal_of([autolog.runs("p", at=folder).get("publishes")]).carry_out()
    runs = autolog.runs("p", at=folder)
    assert "weights" not in {
        a.name for a, _ in removal_of([runs.get("tree 1"), runs.get("tree 2")]).artifacts
    }
    assert "weights" not in {a.name for a, _ in prunable(runs, keep=[]).artifacts}
    whole_registry = (folder / "registry-models.db").read_bytes()
    (folder / "registry-models.db").write_bytes(whole_registry[:100] + b"x" * 8000)
    with pytest.raises(SourceError, match="registry-models.db cannot be read, and may name"):
        removal_of([runs.get("tree 1"), runs.get("tree 2")])


def test_what_bears_a_name_stays_though_its_run_goes(folder: Path) -> None:
    runs = autolog.runs("p", at=folder)
    both = [runs.get("tree 1"), runs.get("tree 2")]
    removal = removal_of(both)
    assert "weights" in {a.name for a, _ in removal.artifacts}
    with sqlite3.connect(folder / "p.db") as connection:  # somebody names it while we ask
        connection.execute(
            "INSERT INTO artifact_aliases SELECT artifact_id, 'production', id FROM artifact_versions "
            "WHERE version = 0 AND artifact_id = (SELECT id FROM artifacts WHERE name = 'weights')"
        )
    size_before = sum((folder / name).stat().st_size for name in files(folder))
    removal.carry_out()
    assert size_before - sum((folder / name).stat().st_size for name in files(folder)) == removal.bytes > 0
    assert "weights" not in {a.name for a, _ in removal.artifacts}
    with sqlite3.connect(folder / "p.db") as connection:
        rows = connection.execute(
            "SELECT manifest, producer_run_id, producer_run_name FROM artifact_versions AS v "
            "JOIN artifact_aliases AS s ON s.artifact_version_id = v.id WHERE alias = 'production'"
        ).fetchall()
    ((manifest, *producer),) = rows
    assert producer == [None, None], "the run that has made it is not there any more"
    assert {orjson.loads(manifest)[0]["digest"]} <= {Path(name).name for name in files(folder)}


def test_two_who_remove_at_once(folder: Path) -> None:
    runs = autolog.runs("p", at=folder)
    one, other = removal_of([runs.get("tree 3")]), removal_of([runs.get("tree 3")])
    later = prunable(runs, keep=[])
    one.carry_out()
    other.carry_out()
    assert (other.artifacts, other.bytes) == ([], 0)
    later.carry_out()
    assert {a.version for a, _ in later.artifacts if a.name == "weights"} == {0}


def test_the_latest_stays_named_though_another_removal_has_moved_the_name(folder: Path) -> None:
    programs.run(
        folder,
        """
        for n in range(2):
            with autolog.run(f"more {n}") as run:
                path = os.path.join(os.environ["TRACKIO_DIR"], f"weights-{n}")
                open(path, "w").write(str(n))
                run.artifact(path, "weights", type="model")
        """,
        AUTOLOG_DETACH="0",
    )
    runs = autolog.runs("p", at=folder)
    newest, second = removal_of([runs.get("more 1")]), removal_of([runs.get("more 0")])
    newest.carry_out()
    second.carry_out()
    weights = [a for a in autolog.runs("p", at=folder).get("tree 3").artifacts if a.name == "weights"]
    assert [(a.version, a.aliases) for a in weights] == [(1, ("latest",))]


def test_a_picture_that_another_project_or_a_trace_shows_stays(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        """
        import trackio
        page = trackio.Html("<p>page</p>")
        other = trackio.Html("<p>other</p>")
        for project, name, shown in (("p", "one", [page, other]), ("q", "two", [page])):
            trackio.init(project=project, name=name)
            for n, of in enumerate(shown):
                trackio.log({f"page{n}": of})
            trackio.finish()
        """,
    )
    ours, theirs = autolog.runs("p", at=tmp_path).get("one"), autolog.runs("q", at=tmp_path).get("two")
    removal = removal_of([ours])
    assert removal.bytes == ours.figures["page1"].stat().st_size
    removal.carry_out()
    assert theirs.figures["page0"].is_file()
    assert len(files(tmp_path)) == 1


def test_folders_that_are_links_stay(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk" / "media"
    elsewhere.parent.mkdir()
    shutil.move(folder / "media", elsewhere)
    (folder / "media").symlink_to(elsewhere)
    every = list(autolog.runs("p", at=folder))
    removal_of(every).carry_out()
    assert files(folder) == set()
    assert elsewhere.is_dir()


def test_what_cannot_be_removed_is_said_and_the_rest_goes(folder: Path) -> None:
    every = list(autolog.runs("p", at=folder))
    removal = removal_of(every)
    first = sorted(path for path in (folder / "artifacts").rglob("*") if path.is_file())[0]
    first.unlink()
    (first / "in the way").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"1 file\(s\) cannot be removed"):
        removal.carry_out()
    assert files(folder) == set()
    assert not autolog.runs("p", at=folder)


def test_the_same_id_in_another_project_is_another_run(folder: Path) -> None:
    with sqlite3.connect(folder / "p.db") as connection:
        connection.execute("VACUUM INTO ?", (os.fspath(folder / "q.db"),))
    shutil.copytree(folder / "artifacts" / "p", folder / "artifacts" / "q")
    mixed = [autolog.runs("p", at=folder).get("tree 1"), autolog.runs("q", at=folder).get("tree 2")]
    assert "weights" not in {a.name for a, _ in removal_of(mixed).artifacts}


def test_what_trackio_has_yet_to_send_is_refused(folder: Path) -> None:
    runs = autolog.runs("p", at=folder)
    with sqlite3.connect(folder / "p.db") as connection:
        connection.execute(
            "UPDATE metrics SET space_id = 'me/mine' WHERE run_id = ?", (runs.get("tree 3").id,)
        )
    with pytest.raises(SourceError, match="tree 3 has not all arrived at its Space"):
        removal_of([runs.get("tree 3")])
    assert 1 not in {a.version for a, _ in prunable(runs, keep=[]).artifacts if a.name == "weights"}


def test_its_report_goes_with_it_and_no_file_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "trackio"
    programs.run(
        folder,
        """
        for name in "a", "b":
            with autolog.run(name) as run:
                run.log({"m": 1.0})
        """,
        AUTOLOG_REPORT="1",
        AUTOLOG_DETACH="0",
    )
    pages = folder / "autolog-data" / "reports" / "p"
    runs = autolog.runs("p", at=folder)
    assert {page.stem for page in pages.iterdir()} == {run.id for run in runs}
    (page,) = (page for page in pages.iterdir() if page.stem == runs.get("a").id)
    size = page.stat().st_size
    removal = removal_of([runs.get("a")])
    assert removal.bytes == size
    removal.carry_out()
    assert removal.bytes == size
    assert {page.stem for page in pages.iterdir()} == {runs.get("b").id}
    (folder / "mine.html").write_text("mine")
    with sqlite3.connect(folder / "p.db") as connection:
        for table in ("configs", "metrics"):
            connection.execute(f"UPDATE {table} SET run_id = '../../../mine'")
    removal_of(list(autolog.runs("p", at=folder))).carry_out()
    assert (folder / "mine.html").is_file()


def test_a_run_that_may_still_be_written_is_refused(tmp_path: Path) -> None:
    process = programs.start(tmp_path, programs.LOOP)
    programs.until_on_disk(tmp_path, '"kind":"row"')
    (run,) = autolog.runs(at=tmp_path)
    with pytest.raises(SourceError, match="is still running"):
        removal_of([run])
    process.kill()
    process.wait()
    (run,) = autolog.runs(at=tmp_path)
    assert run.waiting
    with pytest.raises(SourceError, match="has not all arrived"):
        removal_of([run])


def test_a_database_that_cannot_be_written_loses_nothing(folder: Path) -> None:
    removal = removal_of([autolog.runs("p", at=folder).get("tree 1")])
    before = files(folder)
    with sqlite3.connect(folder / "p.db") as connection:
        connection.execute(
            "CREATE TRIGGER refuses BEFORE DELETE ON alerts BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        connection.execute(
            "INSERT INTO alerts (run_id, timestamp, run_name, title) VALUES (?, '', '', 't')",
            (removal.runs[0].id,),
        )
    with pytest.raises(SourceError, match="cannot be changed: no"):
        removal.carry_out()
    assert files(folder) == before
    assert len(autolog.runs("p", at=folder)) == 6


def test_the_commands_ask_and_say_what_they_did(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.cli import main

    at = ["--dir", os.fspath(folder)]
    monkeypatch.setattr("sys.stdin", open(os.devnull, encoding="utf-8"))  # noqa: SIM115
    assert main(["rm", "study", *at]) == 2
    assert "Remove study and 2 below (0 artifact(s), 0 B)? There is nobody to ask" in capsys.readouterr().err
    assert len(autolog.runs("p", at=folder)) == 6
    assert main(["rm", "study", "--yes", *at]) == 0
    assert capsys.readouterr().out.startswith("removed 3 run(s), 0 artifact(s), 0 B")
    assert main(["prune", "p", "--dry-run", *at]) == 0
    assert "would be freed; nothing was removed" in capsys.readouterr().out
    assert main(["prune", "p", "--older", "1 month", *at]) == 2
    assert "expected a number and m, h, d or w" in capsys.readouterr().err
    assert main(["prune", "p", "--keep", "none", "--yes", *at]) == 0
    assert main(["prune", "p", "--keep", "none", "--yes", *at]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to remove"
