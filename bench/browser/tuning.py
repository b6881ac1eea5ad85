"""What `tune --browser` runs in the tab: `tuning.py SECONDS CASE…`."""

import sys

from tensorgl.bench.tune import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[2:], float(sys.argv[1])))
