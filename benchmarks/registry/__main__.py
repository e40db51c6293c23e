"""What the library costs with 1,000, 10,000 and 100,000 vectors, on both databases.

    python -m benchmarks.registry [--sizes 1000 10000 100000] [--postgresql URL] [--json FILE]

Vectors are added, got, listed by every filter, composed and compared in libraries of each size;
then `editvec registry list` as a whole process is timed against `python -c 'import
sqlalchemy.orm'`, in turns. URL is a database of a server that allows us to create others.
"""

from benchmarks.registry.measures import main

if __name__ == "__main__":
    main()
