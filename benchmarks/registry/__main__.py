"""What the library costs with 1,000, 10,000 and 100,000 vectors, on both databases.

    python -m benchmarks.registry [--sizes 1000 10000 100000] [--postgresql URL] [--json FILE]

Vectors are added, got, listed by every filter, composed and compared in libraries of each size;
then `editvec registry list` as a whole process is timed against `python -c 'import
sqlalchemy.orm'`, in turns. URL is a database of a server that allows us to create others.
"""

import sys
from pathlib import Path

# a script's folder comes first on the path, where this file would hide the package `registry`
sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.registry.measures import main  # noqa: E402 (needs the path)

if __name__ == "__main__":
    main()
