"""What pyproject.toml cannot say: the package's description, the README with links that lead somewhere.

The README's pictures and links are relative: so they work in a clone, on every host and in every branch. A
package index shows the README alone. There they need the address of the repository, which stands in one
place: ``[tool.trackio-autolog] repository`` in pyproject.toml. As long as it is empty, the description shows
a picture by its words and a link by its path.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<path>[^)]+)\)")


def description(readme: str, repository: str) -> str:
    """The README as it is shown without the files around it."""

    def elsewhere(link: re.Match[str]) -> str:
        picture, text, path = link["picture"], link["text"], link["path"]
        if repository:
            return f"{picture}[{text}]({repository}/{'raw' if picture else 'blob'}/HEAD/{path})"
        if picture:
            return f"*{text}*"
        return f"`{path}`" if text == path else f"{text} (`{path}`)"

    return LINK.sub(elsewhere, readme)


def addresses(repository: str) -> dict[str, str]:
    """The links beside the description: none as long as there is no place for them to lead to."""
    if not repository:
        return {}
    pages = {"Documentation": "docs", "Changelog": "CHANGELOG.md", "Security": "SECURITY.md"}
    return {
        "Repository": repository,
        "Issues": f"{repository}/issues",
        **{name: f"{repository}/blob/HEAD/{path}" for name, path in pages.items()},
    }


if __name__ == "__main__":
    PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    REPOSITORY = PROJECT["tool"]["trackio-autolog"]["repository"].rstrip("/")
    setup(
        long_description=description((ROOT / "README.md").read_text(encoding="utf-8"), REPOSITORY),
        long_description_content_type="text/markdown",
        project_urls=addresses(REPOSITORY),
    )
