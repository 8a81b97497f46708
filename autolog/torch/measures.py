"""What is read from a model and its optimizer at a step that is recorded."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from autolog.capture import gradients
from autolog.capture.evaluation.distribution import histogram
from autolog.capture.figures import Chart
from autolog.core.recording import Recording

__all__ = [
    "Found",
    "Measures",
    "by_module",
    "describe",
    "describe_models",
    "describe_optimizer",
    "is_sharded",
    "learning_rates",
    "parameters_of",
    "seed_that_was_set",
    "skips",
]

MOST_HISTOGRAMS = 20  # modules with histograms
LARGEST_SEED = 2**32  # that people give; unseeded, torch's generator begins with 64 random bits
SAMPLED = 10_000  # values in a histogram, at most
WRAPPERS = (
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
)  # between a module and its name


@dataclass
class Found:
    """What was read before a step.

    Attributes:
        norms: per module, of the gradients (``grad``) and, if they are wanted, of the parameters (``param``).
        pictures: charts by key.
        of: a gradient that was read; the next backward pass after ``zero_grad`` makes another one.
    """

    norms: dict[str, dict[str, float]]
    of: weakref.ref[Any]
    pictures: dict[str, Chart] = field(default_factory=dict)

    @property
    def is_finite(self) -> bool:
        """Whether all of the gradients are numbers."""
        return math.isfinite(math.hypot(*self.norms["grad"].values()))


class Measures:
    """Gradients as they are before clipping, parameters if that is wanted.

    Args:
        run: the run; what cannot be recorded is noted there.
        parameters: whether the norms of the parameters are recorded too.
        histograms: whether histograms of both are drawn.
        on_every_rank: whether every rank reads the same steps, so that a collective may be called.
    """

    def __init__(self, run: Recording, *, parameters: bool, histograms: bool, on_every_rank: bool):
        self._run = run
        self._parameters = parameters
        self._histograms = histograms
        self._on_every_rank = on_every_rank
        self._reads = 0
        self._first: dict[str, tuple[str, Any]] = {}  # of each histogram, to be drawn beside the later ones

    def read(
        self, model: Any, ours: set[int] | None, optimizer: Any, step: int, under: str = ""
    ) -> Found | None:
        """Read what comes with this step; None: there is nothing to be read.

        Args:
            ours: the ids of the parameters that are about to be changed; None: all.
            optimizer: whose step it is, if that is known.
            under: what stands behind ``grad_histogram`` in the pictures' keys.
        """
        modules = by_module(model, ours)
        tensors = [parameter for module in modules.values() for parameter in module]
        if not tensors or _is_captured():
            return None
        if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
            why = "not recorded: under FSDP 1 each rank has a part of each gradient"
            self._run.note("vitals/grad_norm", why)
            return None
        sharded = is_sharded(tensors)
        if sharded and not self._on_every_rank:
            why = "not recorded of sharded parameters: call watch(..., on_every_rank=True) on every rank"
            self._run.note("vitals/grad_norm", why)
            return None
        values = {"grad": {name: [p.grad for p in module] for name, module in modules.items()}}
        if self._parameters:
            values["param"] = modules
        found = self._norms(values, _scale(optimizer), tensors[0].grad)
        self._reads += 1
        if self._histograms and self._reads.bit_count() == 1:  # 1, 2, 4, 8, ...: a few over any training
            if sharded:
                self._run.note("histograms", "not drawn of sharded parameters")
            else:
                values["param"] = modules
                pictures = self._pictures(values, step)
                found.pictures = {
                    key.replace("_histogram", f"_histogram{under}", 1): chart
                    for key, chart in pictures.items()
                }
        return found

    def _norms(self, values: dict[str, dict[str, Any]], scale: float, of: Any) -> Found:
        _, parts = gradients.norms([tensors for modules in values.values() for tensors in modules.values()])
        norms = iter(parts)
        found = Found({}, weakref.ref(of))
        for kind, modules in values.items():
            unit = scale if kind == "grad" else 1.0
            found.norms[kind] = {name: next(norms) / unit for name in modules}
        return found

    def _pictures(self, values: dict[str, dict[str, Any]], step: int) -> dict[str, Chart]:
        """Histograms of each module, the first one beside the one of now."""
        if len(values["grad"]) > MOST_HISTOGRAMS:
            largest = sorted(values["param"], key=lambda name: -sum(p.numel() for p in values["param"][name]))
            why = f"of the {MOST_HISTOGRAMS} largest of {len(largest)} modules"
            self._run.note("histograms", why)
            chosen = set(largest[:MOST_HISTOGRAMS])
            values = {
                kind: {name: tensors for name, tensors in modules.items() if name in chosen}
                for kind, modules in values.items()
            }
        keys = [f"{kind}_histogram/{name}" for kind, modules in values.items() for name in modules]
        groups = [tensors for modules in values.values() for tensors in modules.values()]
        pictures = {}
        for key, sample in zip(keys, gradients.samples(groups, SAMPLED), strict=True):
            label = f"step {step}"
            first, before = self._first.setdefault(key, (label, sample))
            what = "Gradient" if key.startswith("grad") else "Parameter"
            title = f"{what}s of {key.partition('/')[2]}"
            chart = histogram(title, {first: before, label: sample}, what, shares=True)
            if chart is not None:
                pictures[key] = replace(chart, data={**chart.data, "y_label": "Share of the values"})
        return pictures


def by_module(model: Any, ours: Any, *, without_gradient: bool = False) -> dict[str, list[Any]]:
    """The parameters that an optimizer is about to change, by the module that owns them.

    Args:
        ours: the optimizer, or the ids of its parameters; None: all of the model's.
        without_gradient: also those of which this process has no gradient.
    """
    if hasattr(ours, "param_groups"):
        ours = parameters_of(ours)
    modules: defaultdict[str, list[Any]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if (without_gradient or parameter.grad is not None) and (ours is None or id(parameter) in ours):
            modules[_name_of_owner(model, name)].append(parameter)
    return modules


def _name_of_owner(model: Any, parameter: str) -> str:
    """The module of a parameter: ``classifier``, ``net.0.Linear``. A number alone says nothing."""
    path = parameter.rpartition(".")[0]
    parts = [part for part in path.split(".") if part and part not in WRAPPERS]
    if not parts:
        return type(model).__name__
    if parts[-1].isdigit():
        # FSDP 2 makes a module's class into a subclass of its own, `FSDPLinear`.
        kinds = [kind.__name__ for kind in type(model.get_submodule(path)).__mro__]
        parts.append(next(kind for kind in kinds if not kind.startswith("FSDP")))
    return ".".join(parts)


def parameters_of(optimizer: Any) -> set[int]:
    """The ids of the parameters that an optimizer changes."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def learning_rates(optimizer: Any) -> dict[str, float]:
    """The rates of the next step: ``vitals/lr``, or ``vitals/lr/<group>`` where there are several groups."""
    groups = optimizer.param_groups
    if len(groups) == 1:  # nearly always, and at every step that is logged
        rate = groups[0].get("lr")
        return {} if rate is None else {"vitals/lr": float(rate)}
    names = [str(group.get("name", place)) for place, group in enumerate(groups)]
    if len(set(names)) < len(names):
        names = [str(place) for place in range(len(groups))]
    rates = {name: group.get("lr") for name, group in zip(names, groups, strict=True)}
    return {
        f"vitals/lr/{name}": float(rate)
        for name, rate in rates.items()
        if rate is not None  # Adafactor of transformers finds its own
    }


def skips(optimizer: Any) -> bool:
    """Whether a fused optimizer will change nothing, since the scaled gradients have overflowed."""
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)


def is_sharded(parameters: list[Any]) -> bool:
    """Whether a norm of these needs all ranks."""
    return any(hasattr(parameter, "device_mesh") for parameter in parameters)


def describe(run: Recording, model: Any, optimizer: Any) -> None:
    """A model and its optimizer, if there is one, into the run's config."""
    describe_models(run, {"": model})
    if optimizer is not None:
        run.describe({"optimizer": type(optimizer).__name__})
        describe_optimizer(run, optimizer)


def seed_that_was_set() -> int | None:
    """What was given to ``torch.manual_seed``, or to what calls it; None: nothing was, as far as is known."""
    seed = torch.initial_seed()
    return seed if seed < LARGEST_SEED else None


def describe_models(run: Recording, models: Mapping[str, Any]) -> None:
    """The models of a loop, into the run's config: together, and each by its name if there are several."""
    every = [parameter for model in models.values() for parameter in model.parameters()]
    parameters = list({id(parameter): parameter for parameter in every}.values())
    names = dict.fromkeys(type(model).__name__ for model in models.values())
    classes = dict.fromkeys(f"{type(one).__module__}.{type(one).__qualname__}" for one in models.values())
    run.describe(
        {
            "framework": "torch",
            "framework/version": torch.__version__,
            "model": ", ".join(names),
            "model/class": ", ".join(classes),
            **_sizes("model", parameters),
            "model/dtype": ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})),
            "device": ", ".join(sorted({str(p.device) for p in parameters})),
        }
    )
    if len(models) > 1:
        for name, model in models.items():
            run.describe(_sizes(f"model/{name}", list(model.parameters())))


def _sizes(key: str, parameters: list[Any]) -> dict[str, int]:
    sizes = [0 if torch.nn.parameter.is_lazy(parameter) else parameter.numel() for parameter in parameters]
    trainable = sum(size for size, p in zip(sizes, parameters, strict=True) if p.requires_grad)
    return {f"{key}/parameters": sum(sizes), f"{key}/trainable_parameters": trainable}


def describe_optimizer(run: Recording, optimizer: Any, name: str = "") -> None:
    """An optimizer's settings, as the run's hyperparameters: under its name where there are several."""
    settings = {f"optimizer/{key}": _plain(value) for key, value in optimizer.defaults.items()}
    groups = optimizer.param_groups
    if len(groups) > 1:
        settings["optimizer/groups"] = [
            {key: len(value) if key == "params" else _plain(value) for key, value in group.items()}
            for group in groups
        ]
    under = f"params/{name}" if name else "params"
    if "optimizer/lr" in settings:
        run.describe({f"{under}/lr": settings["optimizer/lr"]})
    run.params({"optimizer": type(optimizer).__name__, **settings} if name else settings, prefix=under)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def _scale(optimizer: Any) -> float:
    """What the loss was multiplied by, where it is the optimizer's own kernel that divides by it.

    Set by ``GradScaler.step`` for fused optimizers alone; for the others it has divided already.
    """
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)


def _is_captured() -> bool:
    """Whether a CUDA graph is being recorded, which a transfer to the host would break."""
    return bool(torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())
