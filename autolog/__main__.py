"""``python -m autolog``: the command line."""

import sys

from autolog.cli import main

sys.exit(main())
