"""Every block of code in docs/ and in the README runs, or says why not (see pages.py)."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, program
from tests.programs import run_warm

RUNNABLE = [
    path for path in PAGES if any(one.why_not is None for one in blocks(path.read_text(encoding="utf-8")))
]

AROUND = """
import os, subprocess
s.use(None)  # as a reader begins
os.chdir({folder!r})
def bash(code):
    subprocess.run(["bash", "-euc", code], check=True)
exec(compile({code!r}, {name!r}, "exec"), globals())
from autolog.process import guard
assert not guard.faults, guard.faults[0].traceback
"""


# All of them take minutes: the README's test command runs its own.
TO_RUN = [
    pytest.param(one, id=name, marks=() if name == "README.md" else pytest.mark.long)
    for one in RUNNABLE
    if (name := str(one.relative_to(ROOT)))
]


@pytest.mark.parametrize("path", TO_RUN)
def test_the_code_of_a_page_runs(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for module in ("zenml", "lightgbm", "catboost", "xgboost"):
        if f"import {module}" in text or f"from {module}" in text:
            pytest.importorskip(module)
    folder = tmp_path / "here"
    folder.mkdir()
    code = AROUND.format(folder=str(folder), code=program(text), name=str(path.relative_to(ROOT)))
    programs = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    # What was recorded can be read before it is delivered, so nobody waits for pictures.
    run_warm(tmp_path, code, PATH=programs, AUTOLOG_FINISH_TIMEOUT="0.5", ZENML_ANALYTICS_OPT_IN="false")


@pytest.mark.parametrize("path", [pytest.param(one, id=str(one.relative_to(ROOT))) for one in PAGES])
def test_no_block_of_a_page_is_overlooked(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    hidden = text.count("<!-- hidden\n")
    fenced = len(re.findall(r"^ *(?:```|~~~) *[\w{]", text, re.MULTILINE))
    assert len(list(blocks(text))) == hidden + fenced


A_PAGE = """\
# A page

<!-- hidden
a = 1
-->

```python
b = a
```

```diff
-import old
+c = b
 d = c
```

<!-- not run: it installs -->
```bash
pip install x
```

- a list

  ```python
  e = [
      d
  ]
  ```

<!-- not run: it waits -->
```bash
top
```

```
output
```
"""


def test_what_is_found_in_a_page() -> None:
    names: dict[str, int] = {}
    exec(program(A_PAGE), names)
    assert {name: names[name] for name in "abcd"} == dict.fromkeys("abcd", 1)
    assert names["e"] == [1]
    assert program(A_PAGE).splitlines()[7] == "b = a" == A_PAGE.splitlines()[7]
    assert [one.why_not for one in blocks(A_PAGE) if one.why_not] == ["it installs", "it waits"]
    with pytest.raises(ValueError, match="nobody runs yaml"):
        program("```yaml\na: 1\n```\n")
