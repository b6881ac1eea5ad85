"""`python -m tensorgl` is the tensorgl command."""

import sys

from tensorgl.cli import main

sys.exit(main())
