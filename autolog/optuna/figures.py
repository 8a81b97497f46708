"""A study's pictures: what they are made of is recorded, and made into them where pictures are drawn.

Optuna's importances import scikit-learn, its interactive figures plotly and pandas: a second and a half, for
which no study of the user's waits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from optuna.trial import TrialState, create_trial

from autolog.capture.chart import Chart
from autolog.capture.made import Parts, Piece
from autolog.core.cells import brief
from autolog.core.recording import Recording
from autolog.optuna.frozen import study_of, told, trials_of
from autolog.optuna.table import STATES, best_first, pareto_front, values_of
from autolog.process.imports import is_installed
from autolog.sinks.trackio.names import metric_key

__all__ = ["parts_of", "record_figures"]

MOST_POINTS = 2_000  # trials in a picture: evenly spaced ones, and the best
MOST_PARAMETERS = 12  # in a picture: the most important ones
MOST_LINES = 100  # of intermediate values
MOST_FOR_CONTOUR = 300
MOST_INTERACTIVE = 1_000
MOST_BEST = 100  # that are shown in any case
HYPERVOLUMES = 50  # counts of trials at which it is computed


def record_figures(
    run: Recording, trials: list[Any], names: list[str], directions: list[str], *, interactive: bool
) -> None:
    """History, importances, slice, parallel coordinates, timeline; more where the study has it.

    Args:
        trials: of the study, as Optuna keeps them.
        interactive: whether Optuna's own figures are recorded, too: all on one page.
    """
    ended = [trial for trial in trials if trial.state in STATES]
    shown = _some_and_the_best(ended, directions)
    given: dict[str, Any] = {"names": names, "directions": directions, "count": len(trials), **told(shown)}
    if len(directions) > 1:
        known = [(trial.number, values) for trial in ended if (values := values_of(trial))]
        given["known"] = [[number, *values] for number, values in known if all(map(math.isfinite, values))]
    if interactive and any(trial.state == TrialState.COMPLETE for trial in ended):
        given["interactive"] = is_installed("plotly")
        if not given["interactive"]:
            run.note("interactive", "plotly is not installed; the other pictures show the same")
        elif len(ended) > MOST_INTERACTIVE:
            run.note("interactive", f"{MOST_INTERACTIVE:,} evenly spaced trials of {len(trials):,}")
    if len(shown) < len(ended):
        run.note("figures", f"{len(shown):,} trials of {len(ended):,}: evenly spaced ones, and the best")
    run.made("figures", "autolog.optuna.figures:parts_of", given)


def _some_and_the_best(trials: list[Any], directions: list[str]) -> list[Any]:
    """Evenly spaced trials, and those that were or are the best."""
    if len(trials) <= MOST_POINTS:
        return trials
    kept = {trial.number: trial for trial in _some(trials, MOST_POINTS)}
    for place, direction in enumerate(directions):
        better = max if direction == "maximize" else min
        best: float | None = None
        records = []
        for trial in trials:
            values = values_of(trial)
            if values is not None and (best is None or better(best, values[place]) != best):
                best = values[place]
                records.append(trial)
        kept |= {trial.number: trial for trial in _some(records, MOST_BEST)}
    kept |= {trial.number: trial for trial in best_first(trials, directions)[:MOST_BEST]}
    return [trial for trial in trials if trial.number in kept]


def _some(trials: list[Any], most: int) -> list[Any]:
    """Evenly spaced ones, the last among them."""
    if len(trials) <= most:
        return trials
    return [trials[round(n * (len(trials) - 1) / (most - 1))] for n in range(most)]


# In the process that makes them ---------------------------------------------------------------------


def parts_of(given: Mapping[str, Any]) -> Parts:
    """What is made of a study."""
    names, directions = given["names"], given["directions"]
    trials = trials_of(given)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    ranked: list[str] = sorted({name for trial in complete for name in trial.params})
    parts: dict[str, Callable[[], Iterable[Piece]]] = {}
    for number, name in enumerate(names):
        suffix = f"/{name}" if len(names) > 1 else ""
        importances: dict[str, float] = {}
        try:
            importances = _importances(directions[number], complete, number)
        except Exception as error:
            parts[f"importances{suffix}"] = partial(_fail, error)
        if importances and number == 0:
            ranked = [*importances, *(param for param in ranked if param not in importances)]
        points = [(t, t.values[number]) for t in complete if math.isfinite(t.values[number])]
        of = points, ranked, name, directions[number], importances
        parts[f"objective{suffix}"] = partial(_pieces, partial(_of_objective, *of), suffix)
        if importances:
            parts[f"importances_table{suffix}"] = partial(_importances_table, importances, suffix)
    parts["timeline"] = partial(_pieces, partial(_timeline, trials))
    parts["intermediate_values"] = partial(_pieces, partial(_intermediate_values, trials, names, directions))
    parts["pareto_front"] = partial(_pieces, partial(_pareto_front, trials, names, directions))
    parts["hypervolume"] = partial(_pieces, partial(_hypervolume, given.get("known", ()), directions))
    if given.get("interactive"):
        parts["interactive"] = partial(_page, trials, names, directions, ranked, given["count"])
    return parts


def _pieces(charts: Callable[[], Iterable[tuple[str, Chart]]], suffix: str = "") -> Iterator[Piece]:
    return (Piece(metric_key(f"{key}{suffix}"), chart) for key, chart in charts())


def _importances_table(importances: dict[str, float], suffix: str) -> list[Piece]:
    rows = [{"parameter": brief(name), "importance": value} for name, value in importances.items()]
    return [Piece(metric_key(f"importances{suffix}_table"), rows, has_picture=True)]


def _fail(error: Exception) -> Iterable[Piece]:
    raise error


# One objective --------------------------------------------------------------------------------------


def _of_objective(
    points: list[tuple[Any, float]],
    ranked: list[str],
    name: str,
    direction: str,
    importances: dict[str, float],
) -> Iterator[tuple[str, Chart]]:
    """The pictures of one objective over the trials and their parameters."""
    # The dashboard shows the last first: what a person looks for first comes last.
    if not points:
        return
    params = [p for p in ranked if any(p in trial.params for trial, _ in points)][:MOST_PARAMETERS]
    if len(params) > 1 and len(points) <= MOST_FOR_CONTOUR:
        yield from _contour(points, params[:2], name)
    if params:
        yield "slice", _slice(points, params, name)
        yield "parallel_coordinates", _parallel(points, params, name, direction)
    if importances:
        bars = {"names": list(importances), "values": list(importances.values()), "x_label": "Importance"}
        yield "importances", Chart("bars", f"What {name} depends on", bars)
    yield "history", _history(points, name, direction)


def _history(points: list[tuple[Any, float]], name: str, direction: str) -> Chart:
    better = max if direction == "maximize" else min
    possible = [(trial.number, value) for trial, value in points if values_of(trial) is not None]
    others = [(trial.number, value) for trial, value in points if values_of(trial) is None]
    best: list[float] = []
    for _, value in possible:
        best.append(better(best[-1], value) if best else value)
    series: list[dict[str, Any]] = [
        {"name": "trials", "color": "#1f6feb", **_xy(possible)},
        {"name": "infeasible", "color": "#9aa5b1", **_xy(others)},
        {
            "name": "best so far",
            "color": "#d9480f",
            "style": "steps",
            "x": [x for x, _ in possible],
            "y": best,
        },
    ]
    data = {"series": [s for s in series if s["x"]], "x_label": "Trial", "y_label": name}
    return Chart("traces", f"{name} by trial ({direction})", data)


def _xy(pairs: list[tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {"x": [x for x, _ in pairs], "y": [y for _, y in pairs]}


class _Axis:
    """A parameter as numbers: categories by their place."""

    def __init__(self, name: str, trials: list[Any]):
        self.name = name
        with_it = [trial for trial in trials if name in trial.params]
        distributions = [trial.distributions[name] for trial in with_it]
        values = [trial.params[name] for trial in with_it]
        self.ticks: list[str] | None = None
        self.log = bool(getattr(distributions[-1], "log", False))
        if not all(type(value) in (int, float) for value in values) or hasattr(distributions[-1], "choices"):
            choices = list(getattr(distributions[-1], "choices", ()))
            self.ticks = list(dict.fromkeys(map(str, [*choices, *values])))
            self.log = False
        self._places = {text: place for place, text in enumerate(self.ticks or ())}
        numbers = [self.number(trial) for trial in with_it]
        self.low, self.high = min(numbers), max(numbers)

    def number(self, trial: Any) -> float:
        """Where a trial stands on it."""
        value = trial.params[self.name]
        return float(self._places[str(value)]) if self.ticks is not None else float(value)

    def height(self, trial: Any) -> float | None:
        """The same from 0 to 1; None if the trial has no such parameter."""
        if self.name not in trial.params:
            return None
        low, high, value = self.low, self.high, self.number(trial)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return 0.5 if high == low else (value - low) / (high - low)

    def marks(self) -> list[tuple[float, str]]:
        """What is written along it."""
        if self.ticks is not None:
            shown = [(n, text) for n, text in enumerate(self.ticks) if self.low <= n <= self.high]
            span = self.high - self.low
            return [((n - self.low) / span if span else 0.5, text) for n, text in shown][:20]
        if self.low == self.high:
            return [(0.5, f"{self.low:.4g}")]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [(0.0, f"{self.low:.4g}"), (0.5, f"{middle:.3g}"), (1.0, f"{self.high:.4g}")]


def _parallel(points: list[tuple[Any, float]], params: list[str], name: str, direction: str) -> Chart:
    trials = [trial for trial, _ in points]
    axes = [_Axis(param, trials) for param in params]
    values = [value for _, value in points]
    low, high = min(values), max(values)
    objective = {"name": name, "ticks": [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]}
    heights = [0.5 if high == low else (value - low) / (high - low) for value in values]
    return Chart(
        "parallel",
        f"Parameters and {name}",
        {
            "axes": [objective, *({"name": axis.name, "ticks": axis.marks()} for axis in axes)],
            "lines": [[h, *(a.height(t) for a in axes)] for h, t in zip(heights, trials, strict=True)],
            "colors": values,
            "color_label": name,
            "high_is_best": direction == "maximize",
        },
    )


def _slice(points: list[tuple[Any, float]], params: list[str], name: str) -> Chart:
    panels = []
    for param in params:
        having = [(trial, value) for trial, value in points if param in trial.params]
        axis = _Axis(param, [trial for trial, _ in having])
        panel: dict[str, Any] = {
            "name": param,
            "x": [axis.number(trial) for trial, _ in having],
            "y": [value for _, value in having],
            "colors": [trial.number for trial, _ in having],
            "log": axis.log,
        }
        if axis.ticks is not None:
            panel["ticks"] = axis.ticks
        panels.append(panel)
    data = {"panels": panels, "y_label": name, "color_label": "Trial"}
    return Chart("panels", f"{name} over each parameter", data)


def _contour(points: list[tuple[Any, float]], params: list[str], name: str) -> Iterator[tuple[str, Chart]]:
    both = [(trial, value) for trial, value in points if all(param in trial.params for param in params)]
    if len(both) < 2:
        return
    axes = [_Axis(param, [trial for trial, _ in both]) for param in params]
    data: dict[str, Any] = {"z": [value for _, value in both], "color_label": name}
    for letter, axis in zip("xy", axes, strict=True):
        data[letter] = [axis.number(trial) for trial, _ in both]
        data[f"{letter}_label"] = axis.name
        data[f"{letter}_log"] = axis.log
        data[f"{letter}_ticks"] = axis.ticks
    yield "contour", Chart("contour", f"{name} over the two most important parameters", data)


def _importances(direction: str, complete: list[Any], objective: int) -> dict[str, float]:
    """What each parameter contributes, in sum 1, the largest first; empty if that cannot be told.

    By PED-ANOVA, Optuna's default since 5.0: it is fast, and draws no random numbers (fANOVA without a seed
    draws from NumPy's global state). Watanabe et al., https://arxiv.org/abs/2304.10255
    """
    shared = set.intersection(*(set(trial.params) for trial in complete)) if complete else set()
    values = {trial.values[objective] for trial in complete}
    if len(complete) < 5 or len(values) < 2 or not shared or not all(map(math.isfinite, values)):
        return {}
    # scikit-learn comes along
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    evaluator: Any = object.__new__(PedAnovaImportanceEvaluator)
    # Before 4.0 its constructor is wrapped in one that warns of an experiment.
    init = PedAnovaImportanceEvaluator.__init__
    getattr(init, "__wrapped__", init)(evaluator)
    alone = study_of([direction], [_alone(trial, objective) for trial in complete])
    found = get_param_importances(alone, evaluator=evaluator)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _alone(trial: Any, objective: int) -> Any:
    """A trial as if it had this objective only. (A ``target`` would be minimized, whatever its direction.)"""
    alone = copy.copy(trial)
    alone.values = [trial.values[objective]]
    return alone


# All objectives ---------------------------------------------------------------------------------------


def _timeline(trials: list[Any]) -> Iterator[tuple[str, Chart]]:
    timed = [t for t in trials if t.datetime_start and t.datetime_complete and t.state in STATES]
    timed = _some(timed, MOST_POINTS)
    if timed:
        first = min(trial.datetime_start for trial in timed)
        data = {
            "numbers": [trial.number for trial in timed],
            "starts": [(trial.datetime_start - first).total_seconds() for trial in timed],
            "ends": [(trial.datetime_complete - first).total_seconds() for trial in timed],
            "states": [STATES[trial.state] for trial in timed],
            "x_label": f"Seconds since {first:%Y-%m-%d %H:%M:%S}",
        }
        yield "timeline", Chart("timeline", "When each trial ran", data)


def _intermediate_values(
    trials: list[Any], names: list[str], directions: list[str]
) -> Iterator[tuple[str, Chart]]:
    reporting = [t for t in trials if t.intermediate_values and t.state in STATES]
    if not reporting:
        return
    complete = [t for t in reporting if values_of(t) is not None]
    sign = -1 if directions[0] == "maximize" else 1
    best = min(complete, key=lambda trial: sign * trial.value, default=None)
    series: list[dict[str, Any]] = []
    named: set[str] = set()
    for trial in _some([t for t in reporting if t is not best], MOST_LINES):
        state = STATES[trial.state]
        colors = {"complete": "#1f6feb", "pruned": "#d9480f", "failed": "#c2255c"}
        style = {"style": "line", "width": 1.1, "alpha": 0.45, "color": colors[state]}
        series.append({"name": state if state not in named else "", **style, **_steps(trial)})
        named.add(state)
    if best is not None:
        line = {"style": "line", "width": 2.4, "color": "#1f2933"}
        series.append({"name": f"best: trial {best.number}", **line, **_steps(best)})
    data = {"series": series, "x_label": "Step", "y_label": names[0]}
    yield "intermediate_values", Chart("traces", "Intermediate values", data)


def _steps(trial: Any) -> dict[str, list[Any]]:
    return _xy([(s, v) for s, v in sorted(trial.intermediate_values.items()) if math.isfinite(v)])


def _pareto_front(trials: list[Any], names: list[str], directions: list[str]) -> Iterator[tuple[str, Chart]]:
    """Of two objectives; of more than two a plane shows too little."""
    if len(names) != 2:
        return
    front = set(pareto_front(trials, directions))
    complete = [t for t in trials if t.state == TrialState.COMPLETE and all(map(math.isfinite, t.values))]
    on_front = sorted(tuple(t.values) for t in complete if t.number in front)
    infeasible = [tuple(t.values) for t in complete if values_of(t) is None]
    others = [tuple(t.values) for t in complete if values_of(t) is not None and t.number not in front]
    series: list[dict[str, Any]] = [
        {"name": "infeasible", "color": "#ced4da", **_xy(_some(infeasible, MOST_POINTS))},
        {"name": "trials", "color": "#1f6feb", **_xy(_some(others, MOST_POINTS))},
        {"name": "", "style": "line", "width": 1.0, "color": "#d9480f", **_xy(on_front)},
        {"name": "Pareto front", "color": "#d9480f", **_xy(on_front)},
    ]
    labels = [f"{name} ({direction})" for name, direction in zip(names, directions, strict=True)]
    data = {"series": [s for s in series if s["x"]], "x_label": labels[0], "y_label": labels[1]}
    if on_front:
        yield "pareto_front", Chart("traces", "Pareto front", data)


def _hypervolume(known: list[list[float]], directions: list[str]) -> Iterator[tuple[str, Chart]]:
    """How much is dominated so far, up to the worst value of each objective.

    Args:
        known: number and values of every trial that counts.
    """
    import numpy as np

    if len(directions) < 2 or len(known) < 2:
        return
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    losses = np.array([values for _, *values in known]) * signs
    worst = losses.max(axis=0)
    counts = sorted({round(c) for c in np.linspace(1, len(known), min(HYPERVOLUMES, len(known)))})
    volumes = [_volume(losses[:count], worst) for count in counts]
    reference = ", ".join(f"{value:.4g}" for value in worst * signs)
    series = [{"name": "", "style": "steps", "x": [known[c - 1][0] for c in counts], "y": volumes}]
    data = {"series": series, "x_label": "Trial", "y_label": "Hypervolume"}
    yield "hypervolume", Chart("traces", f"Hypervolume up to ({reference})", data)


def _volume(losses: Any, reference: Any) -> float:
    """By Optuna's own function, which has had two names."""
    from optuna import _hypervolume

    if hasattr(_hypervolume, "compute_hypervolume"):
        return float(_hypervolume.compute_hypervolume(losses, reference))
    return float(_hypervolume.WFG().compute(losses, reference))


# Interactive --------------------------------------------------------------------------------------------


def _page(
    trials: list[Any], names: list[str], directions: list[str], ranked: list[str], count: int
) -> Iterator[Piece]:
    """Optuna's own figures, on one page that needs no network.

    Args:
        count: of all trials.

    Raises:
        Exception: not all could be made. The page holds the others.
    """
    from optuna import visualization as shown

    whole, trials = study_of(directions, _without_gaps(trials)), _some(trials, MOST_INTERACTIVE)
    study = study_of(directions, trials)
    parts: list[str] = []
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    several = len(names) > 1
    makers: list[Callable[[], Any]] = []
    for number, name in enumerate(names):
        of: dict[str, Any] = {}
        if several:
            of = {"target": partial(_objective, number), "target_name": name}
        makers.append(partial(shown.plot_optimization_history, whole, **of))
        drawn = [t for t in complete if math.isfinite(t.values[number])]  # by Optuna, and of no other one
        params = [p for p in ranked if any(p in trial.params for trial in drawn)][:MOST_PARAMETERS]
        if params:
            makers.append(partial(shown.plot_parallel_coordinate, study, params=params, **of))
            makers.append(partial(shown.plot_slice, study, params=params, **of))
        if len(params) > 1 and len(trials) <= MOST_FOR_CONTOUR:
            makers.append(partial(shown.plot_contour, study, params=params[:2], **of))
    if several and len(names) <= 3:
        makers.append(partial(shown.plot_pareto_front, study, target_names=names))
    # Before 4.0 it is wrapped in a function that warns of an experiment.
    makers.append(partial(getattr(shown.plot_timeline, "__wrapped__", shown.plot_timeline), study))
    if any(trial.intermediate_values for trial in trials):
        makers.append(partial(shown.plot_intermediate_values, study))
    errors: list[Exception] = []
    for make in makers:
        try:
            parts.append(make().to_html(full_html=False, include_plotlyjs=not parts))
        except Exception as error:
            errors.append(error)
    yield Piece("interactive", f"{_HEAD}{''.join(parts)}</body></html>", f"{count:,} trials")
    if errors:
        raise errors[0]


def _without_gaps(trials: list[Any]) -> list[Any]:
    """With something for each number: Optuna's history takes the n-th trial for number n."""
    by_number = {trial.number: trial for trial in trials}
    for number in range(max(by_number, default=0)):
        if number not in by_number:
            by_number[number] = create_trial(state=TrialState.WAITING)
            by_number[number].number = number
    return [by_number[number] for number in sorted(by_number)]


_HEAD = (
    '<!doctype html><html><head><meta charset="utf-8"><style>'
    "html{overflow-y:scroll}body{margin:0;background:#fff;font-family:system-ui,sans-serif}</style></head><body>"
)


def _objective(number: int, trial: Any) -> float:
    return float(trial.values[number])
