"""What the built packages hold: ``python tests/packages.py dist``, in the clone that they were built of."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib import util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def making() -> ModuleType:
    """setup.py, which makes the description."""
    spec = util.spec_from_file_location("making", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(folder: Path) -> None:
    """The one wheel and the one sdist of a folder are whole, and hold nothing else.

    Raises:
        AssertionError: it is not so.
    """
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    tracked = set(subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())
    with tarfile.open(source) as archive:
        held = {one.name.partition("/")[2] for one in archive if one.isfile()}
    assert tracked <= held, f"the sdist lacks {sorted(tracked - held)}"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        described = message_from_bytes(archive.read(metadata))
    installed = {name for name in names if ".dist-info/" not in name}
    ours = {one for one in tracked if one.startswith("autolog/")} | {"autolog_zenml_page.py"}
    assert installed == ours, f"the wheel differs from the clone in {sorted(installed ^ ours)}"
    check_description(described)
    print(f"the sdist holds {len(held)} files, the wheel {len(installed)}")


def check_description(described: Message) -> None:
    """What a package index shows leads somewhere from there."""
    text = described.get_payload()
    assert isinstance(text, str)
    assert text.startswith("# autolog"), "the description is not the README"
    left = [link[0] for link in making().LINK.finditer(text)]
    assert not left, f"links that lead nowhere without the clone: {left}"
    addresses = described.get_all("Project-URL") or []
    assert all(", https://" in address for address in addresses), addresses


if __name__ == "__main__":
    check(Path(sys.argv[1]))
