"""Losses and metrics are heard with what they were called with, and go on as if nobody listened."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
import torch
from torch.nn import functional
from torchmetrics import BootStrapper
from torchmetrics.classification import (
    BinaryAccuracy,
    MulticlassAccuracy,
    MultilabelF1Score,
)
from torchmetrics.regression import MeanSquaredError

from autolog.torch.heard import _FUNCTIONS, Heard, HeardCall, metrics_of

torch.manual_seed(0)
SCORES, CLASSES = torch.randn(8, 3), torch.randint(0, 3, (8,))
LABELS = (torch.rand(8, 3) > 0.5).float()


def heard(function: Any, metrics: Any = ()) -> list[HeardCall]:
    calls: list[HeardCall] = []
    with Heard(calls.append, metrics):
        function()
    return calls


@pytest.mark.parametrize(
    ("name", "given", "kind", "is_probabilities"),
    [
        ("cross_entropy", (SCORES, CLASSES), "classes", None),
        ("nll_loss", (SCORES.log_softmax(1), CLASSES), "classes", None),
        ("binary_cross_entropy", (SCORES.sigmoid(), LABELS), "labels", True),
        ("binary_cross_entropy_with_logits", (SCORES, LABELS), "labels", False),
        ("mse_loss", (SCORES, LABELS), "amounts", None),
        ("l1_loss", (SCORES, LABELS), "amounts", None),
        ("smooth_l1_loss", (SCORES, LABELS), "amounts", None),
        ("huber_loss", (SCORES, LABELS), "amounts", None),
    ],
)
def test_a_loss_is_heard_however_it_is_called(
    name: str, given: Any, kind: str, is_probabilities: Any
) -> None:
    function = getattr(functional, name)  # a script imports it before anybody listens
    module = {"nll_loss": "NLLLoss", "binary_cross_entropy": "BCELoss", "mse_loss": "MSELoss"}.get(name)
    bare = function(*given)
    for call in (function, *([getattr(torch.nn, module)()] if module else [])):
        results: list[Any] = []
        (told,) = heard(lambda call=call, results=results: results.append(call(*given)))
        assert (told.kind, told.is_probabilities) == (kind, is_probabilities)
        assert torch.equal(told.scores, given[0])
        assert torch.equal(told.truth, given[1])
        assert torch.equal(results[0], bare)
        assert torch.equal(told.result, bare)


def test_every_function_is_there_and_taken_out() -> None:
    originals = [getattr(module, name) for module, name, _ in _FUNCTIONS]
    with Heard(lambda call: None):
        assert all(
            getattr(m, name) is not one for (m, name, _), one in zip(_FUNCTIONS, originals, strict=True)
        )
    assert [getattr(module, name) for module, name, _ in _FUNCTIONS] == originals


def test_what_a_loss_ignores_and_weighs_is_known() -> None:
    (told,) = heard(lambda: functional.cross_entropy(SCORES, CLASSES, ignore_index=1))
    assert told.ignored == 1
    weights = torch.rand(8, 3)
    (told,) = heard(lambda: functional.binary_cross_entropy(SCORES.sigmoid(), LABELS, weight=weights))
    assert torch.equal(told.weights, weights)


class Metrics(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of_classes = MulticlassAccuracy(3, ignore_index=2)
        self.of_labels, self.of_one, self.of_amounts = (
            MultilabelF1Score(3),
            BinaryAccuracy(),
            MeanSquaredError(),
        )
        self.drawn = BootStrapper(MulticlassAccuracy(3), num_bootstraps=2)


def test_metrics_are_heard_and_left_as_they_were() -> None:
    module = Metrics()
    before = {name: vars(part).get("update") for name, part in module.named_modules()}
    metrics = metrics_of(module)
    assert len(metrics) == 4

    def call() -> None:
        module.of_classes.update(SCORES, CLASSES)
        module.of_labels(SCORES, LABELS.long())
        module.of_one.update(preds=SCORES[:, 0], target=LABELS[:, 0].long())
        module.of_amounts.update(SCORES, target=LABELS)
        torch.save(module, io.BytesIO())

    calls = heard(call, metrics)
    kinds = [(told.name, told.kind) for told in calls if told.name != "MultilabelF1Score"]
    assert kinds == [
        ("MulticlassAccuracy", "classes"),
        ("BinaryAccuracy", "labels"),
        ("MeanSquaredError", "amounts"),
    ]
    assert calls[0].ignored == 2
    assert {told.kind for told in calls if told.name == "MultilabelF1Score"} == {"labels"}
    assert torch.equal(calls[-1].truth, LABELS)
    assert torch.equal(calls[-1].scores, SCORES)
    assert {name: vars(part).get("update") for name, part in module.named_modules()} == before


def test_another_thread_is_not_heard() -> None:
    def call() -> None:
        other = threading.Thread(target=functional.cross_entropy, args=(SCORES, CLASSES))
        other.start()
        other.join()

    assert heard(call) == []


def test_two_threads_hear_their_own() -> None:
    begun, may_end = threading.Event(), threading.Event()
    theirs: list[HeardCall] = []

    def listen() -> None:
        with Heard(theirs.append):
            functional.mse_loss(SCORES, LABELS)
            begun.set()
            may_end.wait(30)
            functional.mse_loss(SCORES, LABELS)

    other = threading.Thread(target=listen)
    other.start()
    begun.wait(30)
    ours = heard(lambda: functional.cross_entropy(SCORES, CLASSES))
    may_end.set()
    other.join()
    assert [told.kind for told in ours] == ["classes"]
    assert [told.kind for told in theirs] == ["amounts", "amounts"]


class Loss(torch.nn.Module):
    def forward(self, scores: Any, truth: Any) -> Any:
        return functional.cross_entropy(scores, truth)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.jit.script(torch.nn.CrossEntropyLoss())(SCORES, CLASSES),
        lambda: torch.vmap(functional.cross_entropy)(SCORES[:, None], CLASSES[:, None]),
        lambda: torch.func.grad(lambda scores: functional.cross_entropy(scores, CLASSES))(SCORES),
        lambda: torch.export.export(Loss(), (SCORES, CLASSES)),
        lambda: torch.compile(Loss(), backend="aot_eager")(SCORES, CLASSES),
        lambda: functional.cross_entropy(SCORES.to("meta"), CLASSES.to("meta")),
        lambda: functional.mse_loss(SCORES[:, :1], torch.rand(8)),  # 8 predictions beside 64 targets
    ],
    ids=["scripted", "vmap", "grad", "exported", "compiled", "meta", "broadcast"],
)
@pytest.mark.filterwarnings("ignore")  # of torch, of deprecated ways that are still used
def test_what_is_traced_or_transformed_is_not_heard(call: Any) -> None:
    assert heard(call) == []


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_compiled_again_and_no_graph_breaks() -> None:
    import torch._dynamo as dynamo

    def counted(listens: bool) -> tuple[Any, Any]:
        dynamo.reset()
        dynamo.utils.counters.clear()
        loss = torch.compile(
            lambda scores, truth: (
                functional.cross_entropy(scores, truth) + functional.mse_loss(scores, scores * 2)
            ),
            backend="aot_eager",
        )
        for _ in range(2):
            with torch.enable_grad():
                loss(SCORES, CLASSES)  # a step of the training
            with torch.no_grad():
                heard(lambda: loss(SCORES, CLASSES)) if listens else loss(SCORES, CLASSES)
        return dict(dynamo.utils.counters["stats"]), dict(dynamo.utils.counters["graph_break"])

    bare = counted(False)
    assert counted(True) == bare
    assert bare[0]["unique_graphs"] >= 1
    assert bare[1] == {}
    dynamo.reset()
