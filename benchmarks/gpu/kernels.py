"""Times each kernel of cuda_ext against its reference, in turns, in sizes of a 512 px network."""

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from editvec.cuda_ext.bias_act import bias_act_cuda, bias_act_reference
from editvec.cuda_ext.dispatch import OPERATIONS
from editvec.cuda_ext.segment_gather import (
    PixelLayers,
    segment_gather_cuda,
    segment_gather_reference,
)
from editvec.cuda_ext.upfirdn2d import upfirdn2d_cuda, upfirdn2d_reference

# A kernel beats its reference where it is faster by the geometric mean of all cases and slower by
# more than this in none of them.
WORST_RATIO = 1.1

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Function = Callable[..., Tensor]


class Case(NamedTuple):
    """One thing to time.

    Attributes:
        operation: One of `OPERATIONS`.
        name: What distinguishes the case, for people.
        kernel: Takes the operands.
        reference: The same in PyTorch operations.
        operands: Tensors that derivatives are asked for.
    """

    operation: str
    name: str
    kernel: Function
    reference: Function
    operands: list[Tensor]


def measure_kernels(
    device: str, *, is_quick: bool = False, turns: int = 20
) -> list[dict[str, Any]]:
    """Time all cases, forward and with the first derivative.

    Args:
        device: Where to; on "cpu" operators of the kernels' names have to exist.
        is_quick: Small tensors, to see that everything works.
        turns: How often each way is timed.

    Returns:
        One row per case and pass: operation, case, pass, kernel_ms, reference_ms (medians), and
        ratio, the median of kernel / reference over the turns.
    """
    rows = []
    for case in _cases(device, is_quick=is_quick):
        for name, call in (("forward", _forward), ("backward", _forward_and_backward)):
            ways = [
                functools.partial(call, f, case.operands) for f in (case.kernel, case.reference)
            ]
            kernel, reference = time_in_turns(*ways, device=device, turns=turns)
            ratios = [k / r for k, r in zip(kernel, reference, strict=True)]
            rows.append(
                {
                    "operation": case.operation,
                    "case": case.name,
                    "pass": name,
                    "kernel_ms": 1000 * statistics.median(kernel),
                    "reference_ms": 1000 * statistics.median(reference),
                    "ratio": statistics.median(ratios),
                }
            )
    return rows


def judge(rows: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Which kernels beat their references, by operation; see `WORST_RATIO`."""
    found = {}
    for operation in OPERATIONS:
        ratios = [row["ratio"] for row in rows if row["operation"] == operation]
        mean = math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.inf
        found[operation] = mean < 1 and max(ratios) <= WORST_RATIO
    return found


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = [f"{'operation':16}{'case':46}{'pass':10}{'kernel ms':>10}{'torch ms':>10}{'ratio':>7}"]
    lines += [
        f"{row['operation']:16}{row['case']:46}{row['pass']:10}"
        f"{row['kernel_ms']:10.3f}{row['reference_ms']:10.3f}{row['ratio']:7.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def time_in_turns(
    first: Callable[[], Any], second: Callable[[], Any], *, device: str, turns: int
) -> tuple[list[float], list[float]]:
    """Seconds of a call of each, `turns` times in turns; short calls are repeated within a turn."""
    repeats = []
    for call in (first, second):
        call()
        repeats.append(max(1, min(100, int(0.005 / max(_time(call, device, 3), 1e-6)))))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for call, count, found in zip((first, second), repeats, seconds, strict=True):
            found.append(_time(call, device, count))
    return seconds


def _time(call: Callable[[], Any], device: str, count: int) -> float:
    """Mean seconds of `count` calls."""
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(count):
        call()
    _synchronise(device)
    return (time.perf_counter() - start) / count


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _forward(function: Function, operands: Sequence[Tensor]) -> Tensor:
    with torch.no_grad():
        return function(*operands)


def _forward_and_backward(function: Function, operands: Sequence[Tensor]) -> Sequence[Tensor]:
    out = function(*operands)
    return torch.autograd.grad(out, operands, torch.ones_like(out))


# ---------------------------------------------------------------------------------------------
# What is timed.


def _cases(device: str, *, is_quick: bool) -> Iterator[Case]:
    for dtype_name, dtype in DTYPES.items():
        for layout_name, layout in LAYOUTS.items():
            label = f"{dtype_name} {layout_name}"
            draw = functools.partial(_draw, device=device, dtype=dtype, layout=layout)
            yield from _bias_act_cases(draw, label, is_quick=is_quick)
            yield from _upfirdn2d_cases(draw, label, is_quick=is_quick)
        # the maps are projected into channels_last; another layout is not used
        yield _segment_gather_case(device, dtype, dtype_name, is_quick=is_quick)


def _bias_act_cases(draw: Callable[..., Tensor], label: str, *, is_quick: bool) -> Iterator[Case]:
    shapes = [(4, 512, 64, 64), (4, 128, 256, 256), (4, 64, 512, 512)]
    for shape in [(1, 8, 8, 8)] if is_quick else shapes:
        operands = [draw(*shape), draw(shape[1]), draw(1, 1, *shape[2:])]
        yield Case(
            "bias_act",
            f"{'x'.join(map(str, shape))} {label}",
            lambda x, bias, noise: bias_act_cuda(x, bias, noise=noise),
            lambda x, bias, noise: bias_act_reference(x, bias, noise=noise),
            operands,
        )


def _upfirdn2d_cases(draw: Callable[..., Tensor], label: str, *, is_quick: bool) -> Iterator[Case]:
    ways: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
        ("blur", (4, 512, 65, 65), {"padding": (1, 1), "gain": 4.0}),
        ("blur", (4, 64, 513, 513), {"padding": (1, 1), "gain": 4.0}),
        ("double", (4, 3, 256, 256), {"up": 2, "padding": (2, 1), "gain": 4.0}),
        ("halve", (4, 64, 512, 512), {"down": 2, "padding": (1, 1)}),
    ]
    for name, shape, options in ways:
        size = (1, 4, 9, 9) if is_quick else shape
        yield Case(
            "upfirdn2d",
            f"{name} {'x'.join(map(str, size))} {label}",
            functools.partial(upfirdn2d_cuda, **options),
            functools.partial(upfirdn2d_reference, **options),
            [draw(*size)],
        )


def _segment_gather_case(
    device: str, dtype: torch.dtype, dtype_name: str, *, is_quick: bool
) -> Case:
    """A tenth of four images of 512 px, ten members, 32 labels; or of one, with little of all."""
    members, width1, width2, labels = (2, 8, 4, 3) if is_quick else (10, 256, 128, 32)
    images, side, sizes = (1, 16, (4, 8)) if is_quick else (4, 512, (4, 8, 16, 32, 64))
    draw = functools.partial(_draw, device=device, dtype=dtype, layout=torch.channels_last)
    layers = PixelLayers(
        draw(members, width2, width1) / width1**0.5,
        draw(members, width2, 1),
        draw(labels, members * width2) / (members * width2) ** 0.5,
        draw(labels, 1),
    )
    layers = PixelLayers(*(tensor.detach() for tensor in layers))
    start, stop = side // 4, side // 4 + round(side * 0.1**0.5)
    axes = [torch.arange(images), torch.arange(start, stop), torch.arange(start, stop)]
    pixels = torch.cartesian_prod(*axes).to(device)
    maps = [draw(images, members * width1, size, size) for size in sizes]
    options: dict[str, Any] = {"size": (side, side)}

    def run(function: Function, *operands: Tensor) -> Tensor:
        return function(operands[:-1], pixels, layers, addend=operands[-1], **options)

    return Case(
        "segment_gather",
        f"{len(pixels)} pixels {dtype_name}",
        functools.partial(run, segment_gather_cuda),
        functools.partial(run, segment_gather_reference),
        [*maps, draw(len(pixels), members * width1)],
    )


def _draw(*shape: int, device: str, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)
    x = x.contiguous(memory_format=layout) if x.ndim == 4 else x
    return x.requires_grad_()
