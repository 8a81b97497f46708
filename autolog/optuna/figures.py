"""A study's pictures: static ones as data, drawn off the user's thread, and one interactive page (plotly)."""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from autolog.capture.figures import Chart
from autolog.capture.params import is_secret, label, sanitize, without_addresses
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.optuna.table import STATES, pareto_front, values_of
from autolog.process import background
from autolog.process.guard import charge, shield

__all__ = ["record_figures"]

MOST_POINTS = 2_000  # trials in a picture: evenly spaced ones
MOST_PARAMETERS = 12  # in a picture: the most important ones
MOST_LINES = 100  # of intermediate values
MOST_FOR_CONTOUR = 300
MOST_FOR_IMPORTANCES = 2_000
MOST_INTERACTIVE = 1_000
HYPERVOLUMES = 50  # counts of trials at which it is computed


def record_figures(
    run: Recording,
    study: Any,
    trials: list[Any],
    names: list[str],
    directions: list[str],
    *,
    interactive: bool,
) -> None:
    """History, importances, slice, parallel coordinates, timeline; more where the study has it.

    Args:
        study: with the trials; one that is ours to read from at any time.
        interactive: whether Optuna's own figures are recorded, too: all on one page.
    """
    trials = _shown(trials)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pictures: dict[str, Callable[[], Iterable[tuple[str, Chart]]]] = {
        "timeline": lambda: _timeline(trials),
        "intermediate_values": lambda: _intermediate_values(trials, names, directions),
        "pareto_front": lambda: _pareto_front(trials, names, directions),
        "hypervolume": lambda: _hypervolume(trials, directions),
    }
    ranked: list[str] = sorted({name for trial in complete for name in trial.params})
    for number, name in enumerate(names):
        importances: dict[str, float] = {}
        with shield("Optuna: importances"):
            importances = _importances(study, complete, number)
        if importances and number == 0:
            ranked = [*importances, *(param for param in ranked if param not in importances)]
        points = [
            (trial, trial.values[number])
            for trial in _some(complete, MOST_POINTS)
            if math.isfinite(trial.values[number])
        ]
        suffix = f"/{name}" if len(names) > 1 else ""
        for key, chart in _of_objective(points, ranked, name, directions[number], importances):
            run.figure(f"{key}{suffix}", chart)
        if importances:
            record_long_table(
                run,
                f"importances{suffix}_table",
                [{"parameter": p, "importance": i} for p, i in importances.items()],
            )
    for key, picture in pictures.items():
        with shield(f"Optuna: {key}"):
            for _, chart in picture():
                run.figure(key, chart)
    if len(complete) > MOST_POINTS:
        run.note("figures", f"{MOST_POINTS:,} evenly spaced trials of {len(complete):,}")
    if interactive and complete:
        _record_interactive(run, study, trials, names, ranked)


def _shown(trials: list[Any]) -> list[Any]:
    """The trials without secret parameters, and with texts for choices that have secrets or are objects.

    A choice may be any object to Optuna, which then warns; its own importances and pictures take no list,
    and no object that JSON does not know.
    """
    secret = {name for name in {name for trial in trials for name in trial.distributions} if is_secret(name)}
    texts: dict[str, bool] = {}  # whether it may be shown as it is

    def is_plain(choice: Any) -> bool:
        if type(choice) is str:
            return texts[choice] if choice in texts else texts.setdefault(choice, _text(choice) == choice)
        return choice is None or isinstance(choice, (bool, int, float))

    def shown(trial: Any) -> Any:
        kept = {name: one for name, one in trial.distributions.items() if name not in secret}
        odd = {name for name, one in kept.items() if not all(map(is_plain, getattr(one, "choices", ())))}
        if not odd and len(kept) == len(trial.distributions):
            return trial
        copied = copy.copy(trial)
        copied.params = {
            name: _text(trial.params[name]) if name in odd else trial.params[name] for name in kept
        }
        for name in odd:
            kept[name] = CategoricalDistribution([_text(choice) for choice in kept[name].choices])
        copied.distributions = kept
        return copied

    return [shown(trial) for trial in trials]


def _text(choice: Any) -> str:
    return without_addresses(label(choice))


def _some(trials: list[Any], most: int) -> list[Any]:
    """Evenly spaced ones, the last among them."""
    if len(trials) <= most:
        return trials
    return [trials[round(n * (len(trials) - 1) / (most - 1))] for n in range(most)]


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


def _importances(study: Any, complete: list[Any], objective: int) -> dict[str, float]:
    """What each parameter contributes, in sum 1, the largest first; empty if that cannot be told.

    By PED-ANOVA, Optuna's default since 5.0: it needs no scikit-learn, is fast, and draws no random numbers
    (fANOVA without a seed draws from NumPy's global state). Watanabe et al., https://arxiv.org/abs/2304.10255
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    shared = set.intersection(*(set(trial.params) for trial in complete)) if complete else set()
    values = {trial.values[objective] for trial in complete}
    if len(complete) < 5 or len(values) < 2 or not shared or not all(map(math.isfinite, values)):
        return {}
    evaluator: Any = object.__new__(PedAnovaImportanceEvaluator)
    # Before 4.0 its constructor is wrapped in one that warns of an experiment.
    init = PedAnovaImportanceEvaluator.__init__
    getattr(init, "__wrapped__", init)(evaluator)
    some = _with_trials(study, [_alone(t, objective) for t in _some(complete, MOST_FOR_IMPORTANCES)])
    some._directions = [study.directions[objective]]
    found = get_param_importances(some, evaluator=evaluator)
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _alone(trial: Any, objective: int) -> Any:
    """A trial as if it had this objective only. (A ``target`` would be minimized, whatever its direction.)"""
    alone = copy.copy(trial)
    alone.values = [trial.values[objective]]
    return alone


def _with_trials(study: Any, trials: list[Any]) -> Any:
    """The study, of these trials only: for functions of Optuna's that read them from a study."""
    some = copy.copy(study)

    def get_trials(deepcopy: bool = False, states: Any = None, use_cache: bool = False) -> list[Any]:
        return [trial for trial in trials if states is None or trial.state in states]

    some.get_trials = get_trials
    some._get_trials = get_trials
    return some


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


def _hypervolume(trials: list[Any], directions: list[str]) -> Iterator[tuple[str, Chart]]:
    """How much is dominated so far, up to the worst value of each objective."""
    import numpy as np

    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    known = [
        (t.number, values) for t in trials if (values := values_of(t)) and all(map(math.isfinite, values))
    ]
    if len(directions) < 2 or len(known) < 2:
        return
    losses = np.array([values for _, values in known]) * signs
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


def _record_interactive(
    run: Recording, study: Any, trials: list[Any], names: list[str], ranked: list[str]
) -> None:
    """Optuna's own figures, on one page that needs no network, made on the background thread."""
    if importlib.util.find_spec("plotly") is None:
        run.note("interactive", "plotly is not installed; the other pictures show the same")
        return
    shown = _some(trials, MOST_INTERACTIVE)
    why = "was not ready when the program ended: autolog.finish() waits for it"
    run.note("interactive", why)

    def make() -> None:
        charge(run)
        some = [_masked(trial) for trial in shown]
        text = _page(_with_trials(study, trials), _with_trials(study, some), names, ranked)
        run.page("interactive", text, caption=f"{len(trials):,} trials")
        run.note_no_more("interactive")
        if len(shown) < len(trials):
            run.note("interactive", f"{len(shown):,} evenly spaced trials of {len(trials):,}")

    background.later("Optuna: interactive figures", make)


def _masked(trial: Any) -> Any:
    """The trial without secrets among its user attributes, which are shown where a mouse hovers."""
    if not trial.user_attrs:
        return trial
    masked = copy.copy(trial)
    masked.user_attrs = sanitize(trial.user_attrs)
    return masked


def _page(whole: Any, study: Any, names: list[str], ranked: list[str]) -> str:
    from optuna import visualization as shown

    parts: list[str] = []
    trials = study.get_trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    several = len(names) > 1
    makers: list[Callable[[], Any]] = []
    for number, name in enumerate(names):
        of: dict[str, Any] = {}
        if several:
            of = {"target": partial(_objective, number), "target_name": name}
        makers.append(partial(shown.plot_optimization_history, whole, **of))  # it counts on every number
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
    for make in makers:
        with shield("Optuna: an interactive figure"):
            figure = make()
            parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    return _HEAD + "".join(parts) + "</body></html>"


_HEAD = (
    '<!doctype html><html><head><meta charset="utf-8"><style>'
    "html{overflow-y:scroll}body{margin:0;background:#fff;font-family:system-ui,sans-serif}</style></head><body>"
)


def _objective(number: int, trial: Any) -> float:
    return float(trial.values[number])
