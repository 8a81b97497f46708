"""Called at the top of every ``import zenml``: by default it does nothing.

With ``AUTOLOG_ZENML_PAGE=1`` ZenML's documentation page on Trackio works as it is written, see
``autolog/zenml/page.py``. This is a module of its own, since what it imports is imported by every program
that imports ZenML, and what it raises would break that.
"""

import logging
import os


def begin() -> None:
    """Prepare the page, if the variable says so."""
    if os.environ.get("AUTOLOG_ZENML_PAGE", "").strip().lower() not in ("1", "true", "yes", "on"):
        return
    try:
        from autolog.zenml import page

        page.begin()
    except Exception as error:
        logging.getLogger("autolog").warning("autolog: AUTOLOG_ZENML_PAGE has no effect: %r", error)
