"""The CUDA operators on the CPU: the kernels' own arithmetic, compiled by a bare C++ compiler.

`emulated_operators` registers `torch.ops.editvec.*` for CPU tensors, so that all of `cuda_ext` but
the launch and the checks of the bindings runs where no GPU is.
"""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from editvec.cuda_ext.errors import ExtensionBuildError
from editvec.cuda_ext.loader import SOURCE_FOLDER, load_extension

COMPILER = shutil.which("g++")
SOURCE = Path(__file__).with_suffix(".cpp")
CUDA_HEADERS = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"

# in the order of the kernels' DType
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

MAX_SCALES = 16
_Pointers = ctypes.c_void_p * MAX_SCALES
_Integers = ctypes.c_int * MAX_SCALES


class _SegmentGatherCall(ctypes.Structure):
    """As in kernel_emulation.cpp."""

    _fields_ = (
        ("maps", _Pointers),
        ("grad_maps", _Pointers),
        ("images", _Integers),
        ("heights", _Integers),
        ("widths", _Integers),
        ("pixels", ctypes.c_void_p),
        ("addend", ctypes.c_void_p),
        ("grad_addend", ctypes.c_void_p),
        ("layers", ctypes.c_void_p * 6),
        ("logits", ctypes.c_void_p),
        ("grad_logits", ctypes.c_void_p),
        ("num_pixels", ctypes.c_int64),
        *(
            (name, ctypes.c_int)
            for name in (
                "num_scales", "target_height", "target_width", "num_members", "hidden1", "hidden2",
                "labels", "tile", "num_threads", "backwards",
            )
        ),
    )  # fmt: skip


class Emulation:
    """The compiled arithmetic, with the settings that a launch chooses.

    Attributes:
        wide: Count elements in 64 bits instead of 32?
        tile: Pixels of a tile of segment_gather.
        num_threads: Threads of its blocks.
        backwards: Let the last thread begin?
        calls: Operators that were called.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.emulate_bias_act.argtypes = [
            ctypes.c_int, ctypes.c_int, *[ctypes.c_void_p] * 6, ctypes.c_int, ctypes.c_double,
            ctypes.c_double,
        ]  # fmt: skip
        self._library.emulate_upfirdn2d.argtypes = [
            ctypes.c_int, ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_double, ctypes.c_void_p,
        ]  # fmt: skip
        self.calls: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Back to the settings of an ordinary launch."""
        self.wide = False
        self.tile = 32
        self.num_threads = 256
        self.backwards = False
        self.calls.clear()

    def bias_act(
        self,
        x: Tensor,
        bias: Tensor | None,
        noise: Tensor | None,
        activation: int,
        gain: float,
        clamp: float,
    ) -> Tensor:
        return self._bias_act(None, x, bias, noise, activation, gain, clamp)

    def bias_act_grad(self, grad: Tensor, *arguments: object) -> Tensor:
        return self._bias_act(grad, *arguments)  # type: ignore[arg-type]

    def _bias_act(
        self,
        grad: Tensor | None,
        x: Tensor,
        bias: Tensor | None,
        noise: Tensor | None,
        activation: int,
        gain: float,
        clamp: float,
    ) -> Tensor:
        self.calls.append("bias_act" if grad is None else "bias_act_grad")
        last = _is_channels_last(x)
        layout = torch.channels_last if last else torch.contiguous_format
        out = torch.empty_like(x, memory_format=layout)
        assert grad is None or grad.is_contiguous(memory_format=layout)
        pixels = x[0, 0].numel() if x.numel() else 1
        sizes = torch.tensor(
            [
                x.numel(),
                max(x.shape[1], 1),
                1 if last else pixels,
                pixels,
                x.shape[1] if last else 1,
                pixels if noise is not None and len(noise) > 1 else 0,
            ]
        )
        assert self._library.emulate_bias_act(
            DTYPES.index(x.dtype), self.wide, _address(grad), _address(x), _address(bias),
            _address(noise), _address(out), _address(sizes), activation, gain, clamp,
        )  # fmt: skip
        return out

    def upfirdn2d(
        self,
        x: Tensor,
        taps: Sequence[float],
        up: int,
        down: int,
        pad: int,
        out_height: int,
        out_width: int,
        gain: float,
    ) -> Tensor:
        self.calls.append("upfirdn2d")
        last = _is_channels_last(x)
        layout = torch.channels_last if last else torch.contiguous_format
        out = x.new_full((*x.shape[:2], out_height, out_width), float("nan")).contiguous(
            memory_format=layout
        )
        numbers = [*x.shape, out_height, out_width, up, down, pad, len(taps), last]
        sizes = torch.tensor(numbers, dtype=torch.int32)
        filters = torch.tensor(list(taps), dtype=torch.float64)
        assert self._library.emulate_upfirdn2d(
            DTYPES.index(x.dtype), self.wide, _address(x), _address(out), _address(sizes), gain,
            _address(filters),
        )  # fmt: skip
        return out

    def segment_gather(
        self,
        maps: Sequence[Tensor],
        pixels: Tensor,
        addend: Tensor | None,
        layer2: Tensor,
        bias2: Tensor,
        layer3: Tensor,
        bias3: Tensor,
        *sizes: int,
    ) -> Tensor:
        self.calls.append("segment_gather")
        logits = maps[0].new_full((len(pixels), sizes[1]), float("nan"))
        layers = [layer2, bias2, layer3, bias3, None, None]
        call = self._call(maps, pixels, addend, layers, sizes)
        call.logits = _address(logits)
        self._run(call, maps[0].dtype)
        return logits

    def segment_gather_grad(
        self,
        grad: Tensor,
        maps: Sequence[Tensor],
        pixels: Tensor,
        addend: Tensor | None,
        layer2: Tensor,
        bias2: Tensor,
        back2: Tensor,
        back3: Tensor,
        *sizes: int,
    ) -> list[Tensor]:
        self.calls.append("segment_gather_grad")
        grads = [torch.zeros(m.shape, dtype=layer2.dtype) for m in maps]
        call = self._call(maps, pixels, addend, [layer2, bias2, None, None, back2, back3], sizes)
        call.grad_maps = _Pointers(*map(_address, grads))
        if addend is not None:
            grads.append(torch.full_like(addend, float("nan")))
            call.grad_addend = _address(grads[-1])
        assert grad.is_contiguous()
        call.grad_logits = _address(grad)
        self._run(call, maps[0].dtype)
        return grads

    def _call(
        self,
        maps: Sequence[Tensor],
        pixels: Tensor,
        addend: Tensor | None,
        layers: Sequence[Tensor | None],
        sizes: Sequence[int],
    ) -> _SegmentGatherCall:
        hidden1, labels, height, width = sizes
        assert layers[0] is not None
        for tensor in (*maps, *(layer for layer in layers if layer is not None)):
            assert tensor.is_contiguous()
            assert tensor.data_ptr() % 16 == 0
        assert pixels.is_contiguous()
        return _SegmentGatherCall(
            maps=_Pointers(*map(_address, maps)),
            images=_Integers(*(m.shape[0] for m in maps)),
            heights=_Integers(*(m.shape[1] for m in maps)),
            widths=_Integers(*(m.shape[2] for m in maps)),
            pixels=_address(pixels),
            addend=_address(addend),
            layers=(ctypes.c_void_p * 6)(*map(_address, layers)),
            num_pixels=len(pixels),
            num_scales=len(maps),
            target_height=height,
            target_width=width,
            num_members=layers[0].shape[0],
            hidden1=hidden1,
            hidden2=layers[0].shape[2],
            labels=labels,
            tile=self.tile,
            num_threads=self.num_threads,
            backwards=self.backwards,
        )

    def _run(self, call: _SegmentGatherCall, dtype: torch.dtype) -> None:
        assert self._library.emulate_segment_gather(DTYPES.index(dtype), ctypes.byref(call))


def compile_emulation(folder: Path) -> Path:
    """Compile the arithmetic into a folder; what is undefined in C++ ends the process."""
    assert COMPILER is not None
    library = folder / "emulation.so"
    subprocess.run(
        [
            *(COMPILER, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"),
            *("-fsanitize=undefined", "-fno-sanitize-recover=all"),
            *("-I", str(SOURCE_FOLDER), "-isystem", str(CUDA_HEADERS)),
            *(str(SOURCE), "-o", str(library)),
        ],
        check=True,
    )
    return library


@contextlib.contextmanager
def emulated_operators(folder: Path) -> Iterator[Emulation]:
    """Let the operators take CPU tensors, by the schemas that the bindings declare."""
    emulation = Emulation(compile_emulation(folder))
    with contextlib.suppress(ExtensionBuildError):
        load_extension()  # where there is a device, it declares the operators
    library = torch.library.Library("editvec", "FRAGMENT")
    for schema in operator_schemas():
        name = schema.partition("(")[0]
        if not hasattr(torch.ops.editvec, name):
            library.define(schema)
        library.impl(name, getattr(emulation, name), "CPU")
    try:
        yield emulation
    finally:
        library._destroy()


def operator_schemas() -> list[str]:
    """Schemas of the operators, as the bindings write them."""
    found = []
    for source in sorted(SOURCE_FOLDER.glob("*.cpp")):
        calls = re.findall(r"library\.def\(([^;]*)\);", source.read_text())
        found += ["".join(re.findall(r'"([^"]*)"', call)) for call in calls]
    return found


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None or tensor.numel() == 0 else tensor.data_ptr()
