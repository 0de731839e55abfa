"""`python -m jgr` is the command `jgr`."""

import sys

from jgr.cli.main import main

sys.exit(main())
