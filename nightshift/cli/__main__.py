"""`python -m nightshift.cli` is `nightshift`."""

import sys

from nightshift.cli.app import main

sys.exit(main())
