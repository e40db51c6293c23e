"""Parts of a batch, side by side on the cores of a CPU.

Torch shares one operation among its threads, and after each operation they wait for each other. In
small operations, whose numbers stay in the caches, the waiting costs most. There it is faster if
each thread takes a part of the batch and does every operation of it alone.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def map_parts(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """`function` of each part, in order; nothing of it can have a gradient.

    Args:
        function: Called on several threads at once, if torch has several.
        parts: On the CPU; a device has its own way to do many things at once.

    Raises:
        Exception: What `function` raised for the first part that it failed for.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(parts))

    @torch.inference_mode()  # a mode is a thread's own
    def made(part: Part) -> Result:
        return function(part)

    if workers < 2:
        return [made(part) for part in parts]
    # how many threads share an operation is a setting of each thread; new ones take the last
    share = partial(torch.set_num_threads, threads // workers)
    try:
        with ThreadPoolExecutor(workers, "part", initializer=share) as pool:
            return list(pool.map(made, parts))
    finally:
        torch.set_num_threads(threads)
