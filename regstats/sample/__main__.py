"""`python -m regstats.sample DIR` writes the sample."""

import sys
from pathlib import Path

from regstats.sample import write

if __name__ == "__main__":
    write(Path(sys.argv[1]))
