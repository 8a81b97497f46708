from __future__ import annotations

import copy
import functools
import gc
import importlib.machinery
import inspect
import pickle
import subprocess
import sys
import threading
import traceback
import types
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolog.process import guard, hooks
from autolog.process.context import watching
from autolog.process.hooks import Call, Hook, Outcome, install, uninstall
from autolog.process.imports import is_installed, when_imported

MODULE = "a_framework_of_these_tests"


@pytest.fixture
def framework() -> Iterator[types.ModuleType]:
    """A module with one of everything that frameworks have. (Ours to hook: it stands for no real one.)"""
    module = types.ModuleType(MODULE)
    source = '''
class Base:
    def fit(self, X, y=None, *, epochs=1, **rest):
        """Fit."""
        self.seen = (X, y, epochs, rest)
        if epochs < 0:
            raise ValueError("epochs")
        return self

class Inheriting(Base):
    pass

class Defining(Base):
    def fit(self, X):
        return super().fit(X, epochs=7)

class Mixin:
    def predict(self, X):
        return [X]

class Mixed(Mixin, Base):
    @staticmethod
    def stay(x):
        return x

    @classmethod
    def make(cls, x):
        return cls, x

def function(a, b=2, /, c=3, *args, d=4, **kwargs):
    return a, b, c, args, d, kwargs
'''
    exec(source, module.__dict__)
    sys.modules[MODULE] = module
    for thing in vars(module).values():
        if isinstance(thing, type):
            thing.__module__ = MODULE
    yield module
    del sys.modules[MODULE]


class Watch:
    """An observer that keeps what it saw."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.outcomes: list[Outcome] = []

    def around(self, call: Call) -> Generator[None, Outcome, None]:
        self.calls.append(dict(call.arguments))
        self.outcomes.append((yield))

    def after(self, subject: Any, args: tuple[Any, ...], kwargs: Any, result: Any) -> None:
        self.calls.append({"self": subject, "args": args, "kwargs": kwargs, "result": result})


@pytest.fixture
def put() -> Iterator[Callable[..., Hook]]:
    installed: list[Hook] = []

    def put(path: str, observer: Any, **options: Any) -> Hook:
        hook = Hook(options.pop("module", MODULE), path, observer, **options)
        installed.append(hook)
        install([hook])
        return hook

    yield put
    uninstall(installed)


def test_an_observer_sees_the_bound_call_and_its_result(framework: Any, put: Any) -> None:
    watch = Watch()
    put("Base.fit", watch.around)
    model = framework.Base()
    X = object()
    assert model.fit(X, epochs=3) is model
    assert watch.calls == [{"self": model, "X": X, "epochs": 3}]
    assert watch.outcomes[0].result is model
    assert model.seen[0] is X


def test_the_users_exception_is_the_same_object(framework: Any, put: Any) -> None:
    watch = Watch()
    put("Base.fit", watch.around)
    with pytest.raises(ValueError, match="epochs") as caught:
        framework.Base().fit(1, epochs=-1)
    assert watch.outcomes[0].error is caught.value
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_call_that_does_not_bind_raises_what_it_always_raised(framework: Any, put: Any) -> None:
    with pytest.raises(TypeError) as bare:
        framework.Defining().fit()
    watch = Watch()
    put("Defining.fit", watch.around)
    with pytest.raises(TypeError) as hooked:
        framework.Defining().fit()
    assert str(hooked.value) == str(bare.value)
    assert watch.calls == []


@given(
    args=st.lists(st.integers(), min_size=1, max_size=6),
    kwargs=st.dictionaries(st.sampled_from(["c", "d", "e", "f"]), st.integers()),
)
def test_arguments_arrive_as_given_however_they_are_given(args: list[int], kwargs: dict[str, int]) -> None:
    module = types.ModuleType(MODULE)
    exec(
        "def function(a, b=2, /, c=3, *args, d=4, **kwargs):\n return a, b, c, args, d, kwargs", vars(module)
    )
    sys.modules[MODULE] = module
    watch = Watch()
    hook = Hook(MODULE, "function", watch.around)
    try:
        bare: Any = module.function(*args, **kwargs)
    except TypeError as error:
        bare = str(error)
    install([hook])
    try:
        hooked: Any = module.function(*args, **kwargs)
    except TypeError as error:
        hooked = str(error)
    finally:
        uninstall([hook])
        del sys.modules[MODULE]
    assert hooked == bare
    if not isinstance(bare, str):
        assert watch.calls[0]["a"] == args[0]


def plain(a, b, c=3):  # type: ignore[no-untyped-def]
    """Bound by us."""


def starred(a, *others, key=1, **more):  # type: ignore[no-untyped-def]
    """Bound by ``inspect``."""


@given(
    st.sampled_from([plain, starred]),
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "key", "x"]), st.integers(), max_size=4),
)
def test_arguments_are_bound_as_python_binds_them(function: Any, args: list[int], kwargs: Any) -> None:
    binding = hooks.Binding(function)
    try:
        expected = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        with pytest.raises(TypeError):
            binding.bind(tuple(args), kwargs)
    else:
        assert list(binding.bind(tuple(args), kwargs).items()) == list(expected.items())


def test_positional_and_keyword_read_the_same(framework: Any, put: Any) -> None:
    seen: list[tuple[Any, Any, Any]] = []

    def observe(call: Call) -> Generator[None, Outcome, None]:
        seen.append((call.get("X"), call.get("y", "none"), call.get("epochs")))
        yield

    put("Base.fit", observe)
    framework.Base().fit(1, 2, epochs=3)
    framework.Base().fit(y=2, X=1, epochs=3)
    framework.Base().fit(1)
    assert seen == [(1, 2, 3), (1, 2, 3), (1, None, 1)]


def test_replacing_an_argument_leaves_the_users_own_alone(framework: Any, put: Any) -> None:
    def observe(call: Call) -> Generator[None, Outcome, None]:
        call.replace("y", [*call.get("y"), "ours"])
        call.replace("extra", 5)
        yield

    put("Base.fit", observe)
    callbacks = ["his"]
    model = framework.Base()
    model.fit(1, callbacks)
    assert callbacks == ["his"]
    assert model.seen == (1, ["his", "ours"], 1, {"extra": 5})


@pytest.mark.parametrize("when", ["before", "after", "twice"])
def test_a_faulty_observer_changes_nothing(
    framework: Any, put: Any, when: str, expected_faults: list[guard.Fault]
) -> None:
    def observe(call: Call) -> Generator[None, Outcome, None]:
        if when == "before":
            raise RuntimeError("ours")
        yield
        if when == "after":
            raise RuntimeError("ours")
        yield

    put("Base.fit", observe)
    model = framework.Base()
    assert model.fit(1) is model
    with pytest.raises(ValueError, match="epochs"):
        model.fit(1, epochs=-1)
    assert len(expected_faults) == 2


def test_the_original_is_called_once_and_outside_every_shield(framework: Any, put: Any) -> None:
    depths: list[bool] = []
    framework.Base.fit = lambda self, X: depths.append(guard.inside_observer())
    put("Base.fit", Watch().around)
    framework.Base().fit(1)
    assert depths == [False]


def test_hooks_are_silent_inside_our_own_code(framework: Any, put: Any) -> None:
    watch = Watch()

    def observe(call: Call) -> Generator[None, Outcome, None]:
        framework.Base().fit(2)
        yield

    put("Base.fit", watch.around)
    put("function", observe)
    framework.function(1)
    assert watch.calls == []


def test_after_sees_self_arguments_and_result(framework: Any, put: Any) -> None:
    watch = Watch()
    put("Mixin.predict", watch.after, kind="after")
    model = framework.Mixed()
    result = model.predict(3)
    assert result == [3]
    assert watch.calls == [{"self": model, "args": (3,), "kwargs": {}, "result": result}]
    assert watch.calls[0]["result"] is result


def test_a_faulty_after_observer_changes_nothing(
    framework: Any, put: Any, expected_faults: list[guard.Fault]
) -> None:
    def observe(*args: Any) -> None:
        raise RuntimeError("ours")

    put("Mixin.predict", observe, kind="after")
    assert framework.Mixed().predict(1) == [1]
    assert expected_faults[0].what == "RuntimeError: ours"
    assert not guard.inside_observer()


def test_who_has_asked_before_sees_the_call_and_its_result(framework: Any, put: Any) -> None:
    seen: list[Any] = []
    wants = True

    def ask() -> Callable[[Call, Any], None] | None:
        return (lambda call, result: seen.append((dict(call.arguments), result))) if wants else None

    put("Mixin.predict", ask, kind="asked")
    model = framework.Mixed()
    result = model.predict(X=3)
    assert seen == [({"self": model, "X": 3}, [3])]
    assert seen[0][1] is result
    wants = False
    assert model.predict(4) == [4]
    with pytest.raises(TypeError, match="predict"):
        model.predict()
    assert len(seen) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_one_that_is_asked_and_faulty_changes_nothing(
    framework: Any, put: Any, when: str, expected_faults: list[guard.Fault]
) -> None:
    def ask() -> Callable[[Call, Any], None]:
        if when == "before":
            raise RuntimeError("ours")
        return show

    def show(call: Call, result: Any) -> None:
        raise RuntimeError("ours")

    put("Mixin.predict", ask, kind="asked")
    assert framework.Mixed().predict(1) == [1]
    assert [fault.what for fault in expected_faults] == ["RuntimeError: ours"]
    assert not guard.inside_observer()


def test_an_inherited_method_is_patched_where_it_is_defined(framework: Any, put: Any) -> None:
    before = dict(vars(framework.Inheriting))
    hook = put("Inheriting.fit", Watch().around)
    assert dict(vars(framework.Inheriting)) == before
    uninstall([hook])
    assert dict(vars(framework.Inheriting)) == before


def test_a_tree_is_patched_with_its_mixins_and_with_classes_of_tomorrow(framework: Any, put: Any) -> None:
    watch = Watch()
    inits = vars(framework.Base).get("__init_subclass__")
    hook = put("Base.predict", watch.after, kind="after", tree=True)
    framework.Mixed().predict(1)

    class Later(framework.Base):  # type: ignore[name-defined,misc]
        def predict(self, X: Any) -> str:
            return "later"

    later = Later.predict
    Later().predict(2)
    assert [call["args"] for call in watch.calls] == [(1,), (2,)]
    uninstall([hook])
    assert Later.predict is not later
    assert "predict" not in vars(framework.Base)
    assert vars(framework.Base).get("__init_subclass__") is inits
    Later().predict(3)
    assert len(watch.calls) == 2


def test_static_and_class_methods(framework: Any, put: Any) -> None:
    watch = Watch()
    before = {name: vars(framework.Mixed)[name] for name in ("stay", "make")}
    hooks_ = [put("Mixed.stay", watch.around), put("Mixed.make", watch.around)]
    assert framework.Mixed.stay(1) == 1
    assert framework.Mixed.make(2) == (framework.Mixed, 2)
    assert [list(call.values())[-1] for call in watch.calls] == [1, 2]
    uninstall(hooks_)
    assert {name: vars(framework.Mixed)[name] for name in ("stay", "make")} == before


def test_undo_restores_exactly_what_stood_there(framework: Any, put: Any) -> None:
    before = {name: dict(vars(cls)) for name, cls in vars(framework).items() if isinstance(cls, type)}
    functions = framework.function
    hooks_ = [put("Base.fit", Watch().around, tree=True), put("function", Watch().around)]
    assert framework.Base.fit is not before["Base"]["fit"]
    uninstall(hooks_)
    after = {name: dict(vars(cls)) for name, cls in vars(framework).items() if isinstance(cls, type)}
    assert after == before
    assert framework.function is functions


def test_somebody_who_patched_over_us_keeps_his_patch(framework: Any, put: Any) -> None:
    watch = Watch()
    hook = put("Base.fit", watch.around)
    ours = framework.Base.fit
    framework.Base.fit = theirs = lambda self, X: ours(self, X)
    uninstall([hook])
    assert framework.Base.fit is theirs
    framework.Base().fit(1)
    assert watch.calls == []
    install([hook])
    framework.Base().fit(1)
    assert len(watch.calls) == 1
    uninstall([hook])
    assert framework.Base.fit is theirs


def test_installing_twice_is_installing_once(framework: Any, put: Any) -> None:
    watch = Watch()
    hook = put("Base.fit", watch.around, tree=True)
    install([hook])
    framework.Base().fit(1)
    assert len(watch.calls) == 1


def test_signature_and_metadata_stay(framework: Any, put: Any) -> None:
    before = inspect.signature(framework.Base.fit)
    put("Base.fit", Watch().around)
    assert inspect.signature(framework.Base.fit) == before
    assert framework.Base.fit.__doc__ == "Fit."
    assert framework.Base.fit.__qualname__ == "Base.fit"


def test_pickling_and_copying_stay(framework: Any, put: Any) -> None:
    put("Base.fit", Watch().around)
    model = framework.Base().fit(1)
    assert pickle.loads(pickle.dumps(model)).seen == model.seen
    assert copy.deepcopy(model).seen == model.seen
    assert pickle.loads(pickle.dumps(framework.Base.fit)) is framework.Base.fit
    assert pickle.loads(pickle.dumps(model.fit))(2).seen[0] == 2


def test_a_class_pickled_by_value_works_where_autolog_is_not_installed(put: Any) -> None:
    main = sys.modules["__main__"]
    exec("class Mine:\n    def fit(self, X):\n        return X + 1\n", vars(main))
    main.Mine.__module__ = "__main__"
    main.Mine.fit.__module__ = "__main__"
    try:
        put("Mine.fit", Watch().around, module="__main__")
        data = cloudpickle.dumps(main.Mine())
    finally:
        uninstall([patch.hook for patch in hooks._patches.values() if patch.hook])
        del main.Mine
    program = f"import sys, pickle; sys.modules['autolog'] = None\nprint(pickle.loads({data!r}).fit(1))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "2"


def test_what_is_installed_is_known_without_an_import(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "stands_for_itself", types.ModuleType("without_a_spec"))
    monkeypatch.setitem(sys.modules, "forbidden", None)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert is_installed("stands_for_itself")
    assert is_installed("colorsys")
    assert not is_installed("forbidden")
    assert not is_installed("not_installed_anywhere")
    assert "colorsys" not in sys.modules


def test_a_module_imported_later_is_hooked_then(put: Any, tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "imported_later.py").write_text("def function(a):\n    return a\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    watch = Watch()
    put("function", watch.around, module="imported_later")
    import imported_later  # type: ignore[import-not-found]

    assert imported_later.function(5) == 5
    assert watch.calls == [{"a": 5}]
    assert "exec_module" not in vars(imported_later.__spec__.loader)
    del sys.modules["imported_later"]


def test_an_import_that_fails_fails_as_it_always_did(put: Any, tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "broken_module.py").write_text("raise OSError('his')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    tracebacks = []
    for is_watched in (False, True):
        if is_watched:
            put("function", Watch().around, module="broken_module")
        with pytest.raises(OSError, match="his") as caught:
            import broken_module  # type: ignore[import-not-found]  # noqa: F401
        frames = traceback.extract_tb(caught.value.__traceback__)
        tracebacks.append([(frame.filename, frame.lineno) for frame in frames])
    assert tracebacks[0] == tracebacks[1]
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        put("function", Watch().around, module="no_such_module")
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401


def test_a_hook_for_what_is_not_there_never_fails_the_users_import(tmp_path: Any, monkeypatch: Any) -> None:
    package = tmp_path / "without_it"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\nclass Class:\n    value = 1\n    here = lambda self: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    paths = {"Class.here": "in", "Missing.method": "missing", "Class.value": "missing", "function": "missing"}
    wanted = [Hook("without_it", path, Watch().around) for path in paths]
    optional = Hook("without_it", "since_another_version", Watch().around, optional=True)
    gone, elsewhere = (Hook(f"{name}.gone", "function", Watch().around) for name in ("without_it", "nowhere"))
    everything = [*wanted, optional, gone, elsewhere]
    told: list[tuple[Hook, str]] = []
    for _ in ("before the import", "after it"):
        told.clear()
        install(everything, lambda hook, why: told.append((hook, why)))
        import without_it  # type: ignore[import-not-found]

        assert without_it.x == 1
        assert [hooks.state_of(hook) for hook in wanted] == list(paths.values())
        assert [hooks.state_of(hook) for hook in (optional, gone, elsewhere)] == [
            "left out",
            "missing",
            "waiting",  # a package that is not installed is no loss
        ]
        assert dict(told) == {
            wanted[1]: "no class Missing",
            wanted[2]: "no function but int",
            wanted[3]: "no such function",
            gone: "no such module",
        }
        assert len(told) == 4
        uninstall(everything)
        assert {hooks.state_of(hook) for hook in everything} == {"out"}


def test_threads_may_install_and_uninstall_while_others_call(framework: Any) -> None:
    hook = Hook(MODULE, "Base.fit", Watch().around, tree=True)
    original = vars(framework.Base)["fit"]
    stop = threading.Event()
    wrong: list[Any] = []

    def call() -> None:
        model = framework.Base()
        while not stop.is_set():
            if model.fit(1) is not model:
                wrong.append(model)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        install([hook])
        uninstall([hook])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert vars(framework.Base)["fit"] is original


def test_what_happens_after_an_import_may_wait_for_the_same_module(
    put: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    (tmp_path / "imported_then.py").write_text("def function(a):\n    return a\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    watch = Watch()
    when_imported("imported_then", lambda: put("function", watch.around, module="imported_then"))
    import imported_then  # type: ignore[import-not-found]

    imported_then.function(1)
    assert watch.calls == [{"a": 1}]
    del sys.modules["imported_then"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_module_that_was_begun_before_anybody_waited_is_hooked_at_its_end(
    put: Any, tmp_path: Any, monkeypatch: Any, fails: bool
) -> None:
    """As of transformers, whose trainer of sequences imports the trainer that the hooks come with."""
    (tmp_path / "first_half.py").write_text(
        "import second_half\ndef function(a):\n    return a\n" + "raise OSError('his')\n" * fails
    )
    (tmp_path / "second_half.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    watch, lost = Watch(), []
    hook = Hook("first_half", "function", watch.around)
    when_imported("second_half", lambda: install([hook], lambda hook, why: lost.append(why)))
    if fails:
        with pytest.raises(OSError, match="his"):
            import first_half  # type: ignore[import-not-found]
    else:
        import first_half

        spec = first_half.__spec__
        assert type(spec) is importlib.machinery.ModuleSpec
        assert "_autolog_before" not in vars(spec)
        assert first_half.function(5) == 5
        assert watch.calls == [{"a": 5}]
    assert lost == []
    uninstall([hook])
    for name in ("first_half", "second_half"):
        sys.modules.pop(name, None)


def test_what_was_given_by_name_arrives_by_name_whatever_the_signature_claims(
    framework: Any, put: Any
) -> None:
    seen: list[Any] = []

    def original(self: Any, X: Any, sample_weight: Any = None) -> None: ...

    @functools.wraps(original)
    def decorated(self: Any, X: Any, **kwargs: Any) -> None:
        seen.append((X, kwargs))

    framework.Base.fit = decorated
    put("Base.fit", Watch().around)
    framework.Base().fit(1, sample_weight=2)
    framework.Base().fit(X=1, sample_weight=2)
    assert seen == [(1, {"sample_weight": 2})] * 2


@pytest.mark.parametrize(
    "thing",
    [functools.partial(str), str, len, property(lambda self: len)],
    ids=lambda thing: type(thing).__name__,
)
def test_what_binds_in_its_own_way_is_left_alone(framework: Any, put: Any, thing: Any) -> None:
    framework.Base.odd = thing
    bare = framework.Base().odd([1, 2])
    put("Base.odd", Watch().after, kind="after", tree=True)
    assert vars(framework.Base)["odd"] is thing
    assert framework.Base().odd([1, 2]) == bare


def test_a_class_that_refuses_costs_only_itself(
    framework: Any, put: Any, expected_faults: list[guard.Fault]
) -> None:
    class Frozen(type):
        def __setattr__(cls, name: str, value: Any) -> None:
            raise TypeError("frozen")

    kinds = [Frozen("A", (framework.Base,), {"fit": lambda self, X: "his"}) for _ in range(2)]
    watch = Watch()
    put("Base.fit", watch.around, tree=True)
    assert [kind().fit(1) for kind in kinds] == ["his"] * 2
    framework.Defining().fit(1)
    assert len(watch.calls) == 2, "of Defining and of the Base that it calls"
    assert expected_faults[0].what == "TypeError: frozen"
    assert len(expected_faults) == 2


def test_a_mixin_of_the_tree_is_silent_for_classes_outside_of_it(framework: Any, put: Any) -> None:
    watch = Watch()
    put("Base.predict", watch.after, kind="after", tree=True)
    framework.Mixin().predict(1)
    assert watch.calls == []
    framework.Mixed().predict(1)
    assert len(watch.calls) == 1


def test_a_warnings_stacklevel_names_the_same_line(framework: Any, put: Any) -> None:
    def fit(self: Any, X: Any) -> None:
        warnings.warn("look here", DeprecationWarning, stacklevel=2)

    framework.Base.fit = fit
    put("Base.fit", Watch().around)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        framework.Base().fit(1)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", ["around", "after", "asked"])
@pytest.mark.parametrize("is_concerned", [True, False])
def test_a_traceback_is_without_our_frames(framework: Any, put: Any, kind: str, is_concerned: bool) -> None:
    def lines() -> list[tuple[str, int]]:
        try:
            framework.Base().fit(1, epochs=-1)
        except ValueError as error:
            frames = traceback.extract_tb(error.__traceback__)
            return [(frame.filename, frame.lineno or 0) for frame in frames]
        raise AssertionError

    bare = lines()
    watch = Watch()
    observer = {"around": watch.around, "after": watch.after, "asked": lambda: None}[kind]
    put("Base.fit", observer, kind=kind, outermost_of=None if is_concerned else "it")
    with nullcontext() if is_concerned else watching("it"):
        assert lines() == bare
    assert len(watch.outcomes) == (kind == "around" and is_concerned)


def test_the_traceback_of_a_class_that_refuses_its_subclass_is_without_our_frames(
    framework: Any, put: Any
) -> None:
    def refuse(cls: type, **kwargs: Any) -> None:
        raise TypeError("no subclasses")

    def lines() -> list[str]:
        with pytest.raises(TypeError, match="no subclasses") as caught:
            type("Refused", (framework.Base,), {})
        return [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]

    framework.Base.__init_subclass__ = classmethod(refuse)
    bare = lines()
    put("Base.fit", Watch().around, tree=True)
    assert lines() == bare


def test_a_class_that_is_thrown_away_is_gone(framework: Any, put: Any) -> None:
    def observe(call: Call) -> Generator[None, Outcome, None]:
        yield

    put("Base.fit", observe, tree=True)
    kind = type("Later", (framework.Base,), {"fit": lambda self, X: self})
    kind().fit(1)
    places = len(hooks._places)
    reference = weakref.ref(kind)
    del kind
    gc.collect()
    assert reference() is None
    assert len(hooks._places) == places - 1


def test_a_classmethod_of_a_tree_is_its_owners(framework: Any, put: Any) -> None:
    put("Base.make", Watch().around, tree=True)
    assert framework.Mixed.make(1) == (framework.Mixed, 1)
