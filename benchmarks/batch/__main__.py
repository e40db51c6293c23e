"""What runs cost: images per second, claims, memory and time of runs of up to a million items.

    python -m benchmarks.batch [--only rates|claims|scale] [--postgresql URL] [--quick] ...

A bare loop, runs in process and runs on Celery workers make the same images in turns, and are
compared with each other; eight processes claim and finish chunks as fast as they can; and every
command is timed on runs of 10,000, 100,000 and 1,000,000 items, with its peak memory. Workers take
their messages from a Redis of our own. URL is a database of a server that allows us to create
others. A million items take some gigabytes and some ten minutes of the disk; --work says where.
"""

from benchmarks.batch.measures import main

if __name__ == "__main__":
    main()
