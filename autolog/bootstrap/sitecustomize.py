"""Stands on PYTHONPATH in every Python that `autolog run` starts: waits for a framework, and then records.

Read by any Python 3 that the program may start, so it is written for all of them. Nothing of autolog is
imported before a framework is. What it has to tell goes into a file, for whoever has started the program.
"""

import os
import sys


class _Waiting(object):
    """On sys.meta_path. It finds nothing by itself."""

    def __init__(self, modules, begin):
        self.modules = modules
        self.begin = begin

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self.begin()
        # Who watches imports from now on stands before us, where nobody is asked any more.
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None else None
            if spec is not None:
                return spec
        return None


def _wait():
    told, modules, frameworks = os.environ["AUTOLOG_BOOTSTRAP"].split("\t")

    def tell(kind, text):
        with open(told, "a") as file:
            file.write(kind + "\t" + text.replace("\n", "\x1e") + "\n")

    def begin():
        where = "%s (Python %s)" % (sys.executable, sys.version.split()[0])
        if sys.version_info < (3, 11):
            tell("unrecorded", where + ": autolog needs Python 3.11 or newer")
            return
        try:
            import autolog
            from autolog.process import voice
        except Exception as error:
            tell("unrecorded", "%s: %s" % (where, error))
            return
        voice.take_over()
        try:
            autolog.enable(*[name for name in frameworks.split(",") if name])
        except Exception as error:
            tell("unrecorded", "%s: %s" % (where, error))

    sys.meta_path.insert(0, _Waiting(frozenset(modules.split(",")), begin))


def _leave():
    """Our folder is no part of the program's path; and whoever has a sitecustomize of their own, has it."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if not path or os.path.abspath(path) != here]
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if "AUTOLOG_BOOTSTRAP" in os.environ:
    _wait()
_leave()
