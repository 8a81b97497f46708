"""What docstrings say in reStructuredText, for the site: a role before a name is not shown to readers."""

import re

ROLE = re.compile(r":(?:func|class|meth|attr|mod):(?=<code>)")


def on_page_content(html: str, **given: object) -> str:
    """Called by MkDocs with each page."""
    return ROLE.sub("", html)
