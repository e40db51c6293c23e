"""Meters: time, memory, operations and traffic of a call, and what the device could do at most."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

Call = Callable[[], Any]


class Duration(NamedTuple):
    """How long a call took.

    Attributes:
        seconds: By the clock.
        processor_seconds: Of all threads together; other work on the machine hardly counts.
    """

    seconds: float
    processor_seconds: float

    def busy_on(self, device: str) -> float:
        """Seconds that count against a ceiling: of one core on a CPU, else by the clock."""
        return self.processor_seconds if device == "cpu" else self.seconds


class Ceilings(NamedTuple):
    """The best rates that this device showed, per `Duration.busy_on` it.

    Attributes:
        flop_per_second: Of one large float32 product of matrices.
        bytes_per_second: Read and written, of a copy that fits no cache.
    """

    flop_per_second: float
    bytes_per_second: float


class Effort(NamedTuple):
    """What a call does, counted and not measured.

    Attributes:
        flop: Of products of matrices and convolutions; one multiplication and addition is two.
        bytes: Of all operands and results of all operations, as if no cache kept any of them.
    """

    flop: int
    bytes: int


def measure_ceilings(device: str, *, is_quick: bool = False) -> Ceilings:
    """Measure what a matrix product and a copy reach, best of several."""
    size, count = (512, 2**20) if is_quick else (4096, 2**26)
    a = torch.randn(size, size, device=device)
    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    product = min(time_call(lambda: a @ a, device).busy_on(device) for _ in range(5))
    copy = min(time_call(lambda: target.copy_(source), device).busy_on(device) for _ in range(5))
    return Ceilings(2 * size**3 / product, 2 * source.nbytes / copy)


def time_call(call: Call, device: str) -> Duration:
    """Time one call."""
    _synchronise(device)
    started, processor = time.perf_counter(), time.process_time()
    call()
    _synchronise(device)
    return Duration(time.perf_counter() - started, time.process_time() - processor)


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def count_effort(call: Call) -> tuple[Any, Effort]:
    """What a call returns, with its operations and what they read and write."""
    with _Counter() as counter:
        result = call()
    return result, Effort(counter.flop, counter.bytes)


def peak_memory(call: Call, device: str) -> int:
    """Bytes that a call takes at its peak, beyond what the process held before.

    On a CPU it is the resident memory that the system counts, so this belongs into a process that
    does nothing else before: what an allocator kept from earlier calls would not be seen.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far becomes what is held now
    before = _status("VmRSS")
    if _status("VmHWM") > before + 2**24:
        raise SystemExit("the system does not reset the peak of a process's memory")
    call()
    return _status("VmHWM") - before


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums operations, and the sizes of operands and results; views move nothing.

    FlopCounterMode itself cannot follow a gradient with respect to the input of a module.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(_out_of_place(func.overloadpacket))
        if count is None:
            with self:  # under inference_mode an operation may come before it is taken apart
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if count is not None:
            self.flop += count(*args, **kwargs, out_val=result)
        if not func.is_view and "empty" not in func.name():
            leaves = tree_leaves((args, kwargs, result))
            self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))
        return result


def _out_of_place(packet: Any) -> Any:
    """The operation that a name with an underscore does in place; only that one is registered."""
    name = packet.__name__
    return getattr(torch.ops.aten, name[:-1], packet) if name.endswith("_") else packet


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _status(name: str) -> int:
    """Bytes that the system counts for this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"name: expected one of /proc/self/status, got {name}")
