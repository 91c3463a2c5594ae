"""`python -m metarlhf` is `metarlhf`."""

import sys

from metarlhf.cli import main

sys.exit(main())
