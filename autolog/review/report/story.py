"""What is to be said of a run: in plain values, before anybody decides how it looks."""

from __future__ import annotations

import functools
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autolog.capture.summary import is_better_small
from autolog.review.differing import Difference, code_diff, differences
from autolog.review.loading import one_line
from autolog.review.recorded import RecordedRun
from autolog.review.series import Series
from autolog.review.values import bytes_of, duration_of, told

__all__ = ["Curves", "Failure", "Story", "story_of"]

MOST_EARLIER = 5
MOST_CURVES = 6
MOST_LEADERS = 20


@dataclass(frozen=True)
class Failure:
    """Why a run has failed.

    Attributes:
        error: its kind and text.
        place: the last line of the user's own code: file and number.
        line: what stands there.
        traceback: all of it.
    """

    error: str
    place: str | None
    line: str | None
    traceback: str


@dataclass(frozen=True)
class Curves:
    """Metrics that are drawn together: the same one of several sets."""

    title: str
    series: Sequence[tuple[str, Series]]


@dataclass
class Story:
    """What is to be said of a run.

    Attributes:
        sentence: what was trained, on what.
        verdict: how good it is beside the others; None: there is nobody to compare with.
        main: the metric by which runs of this project are compared.
        others: the runs that it is compared with, the newest first: of its result a row each.
        before: the run before it, if there is one.
        changed: what differs from that one.
        diff: how the code differs from that one's.
        leaders: of a study, a search or folds: the runs below it, the best first.
    """

    run: RecordedRun
    sentence: str
    verdict: str | None = None
    main: str | None = None
    failure: Failure | None = None
    others: list[RecordedRun] = field(default_factory=list)
    best: RecordedRun | None = None
    before: RecordedRun | None = None
    changed: list[Difference] = field(default_factory=list)
    diff: list[str] = field(default_factory=list)
    leaders: list[RecordedRun] = field(default_factory=list)
    below: int = 0

    @functools.cached_property
    def curves(self) -> list[Curves]:
        """What was logged at several steps: losses and scores first."""
        return curves_of(self.run.metrics, self.main)

    @functools.cached_property
    def held_out(self) -> list[tuple[str, float]]:
        """The numbers of its main set, those of the result first."""
        of_set = (self.main or "").split("/")[0]
        numbers = {
            key: series.last
            for key, series in self.run.metrics.items()
            if key.startswith(f"{of_set}/") and key.count("/") == 1 and "seconds" not in key
        }
        return list({**{k: numbers.get(k, v) for k, v in self.run.result.items()}, **numbers}.items())

    @functools.cached_property
    def data(self) -> list[tuple[str, str]]:
        """Each data set: rows, columns, fingerprint."""
        return [
            (key.removeprefix("data/"), _data_in_words(value))
            for key, value in self.run.config.items()
            if key.startswith("data/") and isinstance(value, dict)
        ]

    @functools.cached_property
    def origin(self) -> list[tuple[str, str]]:
        """Which code ran, where, with what."""
        config = self.run.config
        commit, dirty = config.get("git/commit"), config.get("git/dirty")
        code = None
        if commit:
            changed = ", with changes that are kept with the run" if dirty else ""
            code = f"{str(commit)[:10]} ({config.get('git/branch', 'no branch')}){changed}"
        packages = ("framework", "framework/version")
        framework = " ".join(str(config[key]) for key in packages if config.get(key))
        rows = (
            ("program", self.command),
            ("code", code),
            ("framework", framework),
            ("python", config.get("python")),
            ("machine", " · ".join(str(config[k]) for k in ("host", "device", "platform") if config.get(k))),
            ("environment", config.get("environment")),
        )
        return [(name, told(value, 200)) for name, value in rows if value]

    @property
    def command(self) -> str | None:
        """How it was started."""
        argv, entry = self.run.config.get("run/argv"), self.run.config.get("run/entry")
        if isinstance(argv, list) and argv and argv[0] not in ("-c", "-"):  # what was typed is not kept there
            return shlex.join(str(part) for part in argv)
        return str(entry) if entry and entry not in ("-c", "notebook") else None

    @functools.cached_property
    def cost(self) -> list[tuple[str, str]]:
        """What it has cost in time, and how large what it kept is."""
        rows = []
        if self.run.seconds is not None:
            rows.append(("in all", duration_of(self.run.seconds)))
        for key, series in self.run.metrics.items():
            if key.startswith(("vitals/", "perf/")) and key.endswith("_seconds"):
                name = key.partition("/")[2].removesuffix("_seconds").replace("_", " ")
                several = f" each, {len(series)} times" if len(series) > 1 else ""
                rows.append((name, f"{duration_of(sum(series.values) / len(series))}{several}"))
        overhead = self.run.config.get("autolog/overhead_seconds")
        if isinstance(overhead, (int, float)) and overhead:
            rows.append(("recording it", duration_of(overhead)))
        kept = sum(a.size for a in self.run.artifacts if not a.is_input)
        return [*rows, ("files kept", bytes_of(kept))] if kept else rows

    @functools.cached_property
    def loading(self) -> str | None:
        """The line that loads its model."""
        return one_line(self.run)

    @functools.cached_property
    def rerun(self) -> list[str]:
        """The commands by which it can be run again, as far as they are known; empty: they are not."""
        config = self.run.config
        lines = []
        if config.get("git/commit"):
            lines.append(f"git checkout {config['git/commit']}")
        if config.get("git/dirty"):
            lines.append(f"autolog load {self.run.id[:8]} kept  # kept/code holds the changes")
        if self.command:
            lines.append(f"python {self.command}")
        return lines if self.command else []


def story_of(run: RecordedRun, among: Sequence[RecordedRun]) -> Story:
    """What is to be said of a run, beside the others of its project."""
    story = Story(run, sentence_of(run))
    story.main = next(iter(run.result), None)
    if run.status in ("failed", "crashed", "killed") and run.error:
        story.failure = failure_of(run.error)
    peers = [other for other in among if other.parent_id == run.parent_id]
    earlier = sorted((o for o in peers if 0 < o.started < run.started), key=lambda o: -o.started)
    story.before = next(
        (other for other in earlier if other.config.get("model") == run.config.get("model")), None
    )
    story.before = story.before or (earlier[0] if earlier else None)
    if story.before is not None:
        story.changed = differences([story.before, run])
        story.diff = code_diff(story.before, run)
    comparable = [o for o in peers if story.main is not None and _number(o, story.main) is not None]
    if story.main is not None:
        story.others = [other for other in earlier if other in comparable][:MOST_EARLIER]
        story.best = (min if is_better_small(story.main) else max)(
            comparable, key=lambda o: _number(o, story.main or "") or 0.0, default=None
        )
        story.verdict = _verdict(story, comparable)
    below = run.children
    story.below = len(below)
    story.leaders = _leaders(below, run)
    return story


def sentence_of(run: RecordedRun) -> str:
    """What was trained, on what, by which program."""
    config = run.config
    model = str(config.get("model") or config.get("study") or config.get("cv/function") or run.name)
    pipeline = config.get("model/pipeline")
    parts = [f"{model} in {pipeline}" if pipeline and pipeline != model else model]
    if config.get("study"):
        counts = [(config.get(f"trials/{state}"), state) for state in ("complete", "pruned", "failed")]
        trials = ", ".join(f"{count} {state}" for count, state in counts if count)
        direction = config.get("direction") or told(config.get("directions") or "")
        parts = [f"Study {config['study']}: {trials} trials, to {direction} by {config.get('sampler')}"]
    size = config.get("model/parameters")
    if isinstance(size, int):
        parts.append(f"with {size:,} parameters")
    data = config.get("data/train")
    if isinstance(data, dict):
        parts.append(f"on {_data_in_words(data, short=True)}")
    if config.get("run/entry"):
        parts.append(f"by {config['run/entry']}")
    framework = config.get("framework")
    return " ".join(parts) + (
        f" ({framework} {config.get('framework/version', '')})".replace(" )", ")") if framework else ""
    )


def _data_in_words(data: Mapping[str, Any], short: bool = False) -> str:
    rows, shape = data.get("rows"), data.get("shape")
    words = []
    if isinstance(rows, int):
        words.append(f"{rows:,} rows")
    elif data.get("batches"):
        words.append(f"{data['batches']:,} batches")
    if isinstance(shape, list) and len(shape) > 1:
        each = " x ".join(str(size) for size in shape[1:])
        words.append(f"{each} columns" if len(shape) == 2 else f"of {each}")
    elif isinstance(data.get("columns"), (list, dict)):
        words.append(f"{len(data['columns'])} columns")
    if not short:
        target = data.get("target")
        classes = target.get("classes") if isinstance(target, dict) else None
        if isinstance(classes, dict) and classes:
            counts = sorted(classes.values())
            words.append(f"{len(classes)} classes of {counts[0]:,} to {counts[-1]:,}")
        if data.get("missing"):
            words.append(f"{told(data['missing'])} missing")
        if data.get("fingerprint"):
            words.append(f"fingerprint {data['fingerprint']}")
    return ", ".join(words) or str(data.get("kind", "data"))


def _number(run: RecordedRun, key: str) -> float | None:
    value = run.result.get(key)
    return None if value is None or math.isnan(value) else value


def _verdict(story: Story, comparable: Sequence[RecordedRun]) -> str | None:
    """Is it better? In one sentence."""
    key, value = story.main or "", _number(story.run, story.main or "")
    if value is None or len(comparable) < 2:
        return None
    ranked = sorted((_number(o, key) or 0.0 for o in comparable), reverse=not is_better_small(key))
    place = ranked.index(value) + 1
    size = len(comparable)
    said = f"The best of {size} runs by {key}" if place == 1 else f"Number {place} of {size} runs by {key}"
    if place == 1 and ranked.count(value) > 1:
        said = f"As good as the best of {size} runs by {key}"
    if place > 1 and story.best is not None:
        said += f"; the best is {story.best.name} with {told(_number(story.best, key))}"
    last = next(iter(story.others), None)
    if last is not None and (then := _number(last, key)) is not None:
        step = value - then
        better = (
            "the same as"
            if step == 0
            else ("better than" if (step < 0) == is_better_small(key) else "worse than")
        )
        by = "" if step == 0 else f"{told(abs(step))} "
        said += f"; {by}{better} the run before"
    return f"{said}."


_FRAME = re.compile(r'^\s*File "(?P<file>.+)", line (?P<number>\d+)(?:, in (?P<where>.+))?$')


def failure_of(told_error: str) -> Failure:
    """What a person looks for in an error: its text, and the last line of their own."""
    lines = told_error.splitlines()
    place = line = None
    for number, text in enumerate(lines):
        frame = _FRAME.match(text)
        if frame and not _is_installed(frame["file"]):
            place = f"{frame['file']}, line {frame['number']}"
            line = lines[number + 1].strip() if number + 1 < len(lines) else None
    return Failure(lines[0] if lines else "", place, line, told_error)


def _is_installed(file: str) -> bool:
    """Whether a file is of Python or a package, and none of the user's."""
    return any(part in file for part in ("site-packages", "dist-packages", "/lib/python", "<frozen"))


_SETS = ("train", "val", "test", "eval")


def curves_of(metrics: Mapping[str, Series], main: str | None) -> list[Curves]:
    """What was logged at three steps or more, the same metric of several sets together."""
    drawn: dict[str, list[tuple[str, Series]]] = {}
    for key, series in metrics.items():
        name = key.removeprefix("vitals/")
        if len(set(series.steps)) < 3 or name.startswith(("perf/", "epoch", "trials/", "cpu/", "gpu/")):
            continue
        if name.endswith(("_seconds", "per_second", "_seen", "_share", "_flos")):
            continue
        if name.startswith("lr") and len(set(series.values)) == 1:  # among the parameters it says as much
            continue
        head, _, rest = name.partition("/")
        title = rest if head in _SETS and rest else name
        if head in ("grad_norm", "param_norm") and rest:  # each module's: the whole is enough here
            continue
        drawn.setdefault(title, []).append((head if head in _SETS and rest else name, series))
    main_title = (main or "").partition("/")[2]

    def order(title: str) -> tuple[bool, bool, bool, str]:
        means = title.split("/", maxsplit=1)[0] in ("lr", "grad_norm", "param_norm")
        return title != main_title, means, title != "loss", title

    return [Curves(title, drawn[title]) for title in sorted(drawn, key=order)[:MOST_CURVES]]


def _leaders(below: Sequence[RecordedRun], run: RecordedRun) -> list[RecordedRun]:
    """The runs below one, the best first; those without a number last."""
    firsts = [next(iter(child.result)) for child in below if child.result]
    if not firsts:
        return []
    key = max(firsts, key=firsts.count)
    least = (
        run.config.get("direction") == "minimize" if key.startswith("objective/") else is_better_small(key)
    )
    having = [child for child in below if _number(child, key) is not None]
    return sorted(having, key=lambda c: _number(c, key) or 0.0, reverse=not least)[:MOST_LEADERS]
