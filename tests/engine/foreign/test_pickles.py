"""Pickles that want more than there is: depth, copies, tensors without numbers."""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.checkpoint import read_generator
from editvec.engine.foreign.members import read_members
from editvec.engine.foreign.pickles import read_pickle
from tests.support.foreign_files import (
    Network,
    Persistent,
    persistent_generator,
    random_variables,
    tensorflow_networks,
    write_pickle,
)

# the callable in place 0 of the memo, a list of 100,000 elements in place 1, and what comes then
COPIES = b"\x80\x02cbuiltins\n%s\nq\x00]q\x01(" + b"N" * 100_000 + b"e0%s."


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes, of 2^63
        b"\x80\x04r\xff\xff\xff\xff.",  # a memo of 2^32 places
        b"\x80\x04)r\xff\xff\xff\xff.",
        b"\x80\x04j\xff\xff\xff\xff.",
        b"\x80\x04\x82\x01.",  # the extension registry
        b"\x80\x04K\x01Q.",  # a persistent id
        b"\x80\x04(ios\nsystem\n.",
        b"\x80\x04cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x04}K\x01\x86R.",  # calls a dict
        b"\x80\x04]]s.",
        b"\x80\x04" + b"(" * 100_000,
        b"\x80\x04" + b")\x85" * 100_000 + b".",
        b"\x80\x04)" + b"\x85" * 2_000_000 + b".",  # tuples in each other
        b"\x80\x04\x8f()" + b"\x85" * 2_000_000 + b"\x90.",  # the same in a set, which hashes them
        b"\x80\x04()" + b"\x85" * 150 + b"\x91.",
        b"\x80\x04()" + b"K\x01\x86" * 300_000 + b"\x91.",
        b"\x80\x04" + b"]" * 300_000 + b"a" * 299_999 + b".",
        b"\x80\x04" + b"}K\x01" * 300_000 + b"N" + b"s" * 300_000 + b".",
        COPIES % (b"list", b"h\x00h\x01\x85R" * 1000),
        COPIES % (b"tuple", b"h\x00h\x01\x85R" * 1000),
        COPIES % (b"list", b"h\x00h\x01\x85R0" * 100_000),
        b"\x80\x04" + b"\x88" * 5,
        b"not a pickle at all",
    ],
)
def test_hostile_pickles_give_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.pkl"
    path.write_bytes(content)

    with pytest.raises(ForeignFileError, match=r"^network\.pkl: ") as caught:
        read_generator(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", [b"list", b"tuple", b"set", b"frozenset", b"dict"])
def test_calls_may_not_copy_more_than_the_file_holds(function: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.pkl"
    items = {b"set": 1, b"frozenset": 1, b"dict": 2}.get(function, 0)
    element = (b"N", b"N", b"K\x01K\x02\x86")[items]
    start = b"\x80\x02cbuiltins\n" + function + b"\nq\x00]q\x01(" + element * 20_000 + b"e0"
    path.write_bytes(start + b"h\x00h\x01\x85R.")

    assert read_pickle(path) is not None
    path.write_bytes(start + b"h\x00h\x01\x85R0" * 200 + b"N.")
    with pytest.raises(ForeignFileError, match="it copies more than it holds"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_and_containers_of_a_usual_file_are_within_bounds(
    protocol: int, tmp_path: Path
) -> None:
    content: Any = OrderedDict(
        (f"array{place}", np.full((40, 50), 200, np.uint8)) for place in range(30)
    )
    content["texts"] = [f"text {place}" for place in range(10_000)]
    for _ in range(90):
        content = [(content,)]

    found: Any = read_pickle(write_pickle(tmp_path / "a.pkl", content, protocol=protocol))

    for _ in range(90):
        ((found,),) = found
    assert all((found[f"array{place}"].array == 200).all() for place in range(30))
    assert found["texts"][9_999] == "text 9999"


def test_modules_that_are_parts_of_many_are_refused(tmp_path: Path) -> None:
    """Seven levels of ten names for one module each would be ten million."""
    module: Any = Persistent("FullyConnectedLayer", "")
    for _ in range(7):
        holder = Persistent("SynthesisBlock", "")
        for place in range(10):
            holder.add_module(f"b{place}", module)
        module = holder
    network = Persistent("Generator", "")
    network.add_module("mapping", Persistent("MappingNetwork", ""))
    network.add_module("synthesis", module)

    with pytest.raises(ForeignFileError, match="a module is a part of two others"):
        read_generator(write_pickle(tmp_path / "g.pkl", {"G_ema": network}))


def test_networks_that_are_parts_of_many_are_refused(tmp_path: Path) -> None:
    network = Network(build_func_name="G_main", variables=[], components={})
    for _ in range(40):
        network = Network(
            build_func_name="G_main", variables=[], components={"a": network, "b": network}
        )

    with pytest.raises(ForeignFileError, match="a network is a part of two others"):
        read_generator(write_pickle(tmp_path / "g.pkl", network))


def test_many_tensors_of_the_same_numbers_are_refused(tmp_path: Path) -> None:
    numbers = torch.zeros(1000)
    state = {f"mapping.fc{place}.bias": numbers for place in range(100)}
    network = persistent_generator(state | {"synthesis.b4.const": torch.zeros(4)}, "")
    shared = Persistent("MappingNetwork", "")
    for place in range(100):
        shared.register_parameter(f"p{place}", network.mapping.fc0.bias)  # type: ignore[union-attr]
    network.mapping = shared

    with pytest.raises(ForeignFileError, match="one of many tensors that share their numbers"):
        read_generator(write_pickle(tmp_path / "g.pkl", {"G_ema": network}))


def test_tensors_without_numbers_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "faces.pt"
    torch.save({"g_ema": {"input.input": torch.empty(1, 4, 4, 4, device="meta")}}, path)

    with pytest.raises(ForeignFileError, match=r"^faces\.pt: .*b4\.const: .* device meta"):
        read_generator(path)


@pytest.mark.parametrize(
    "change",
    [
        {"variables": [1]},
        {"variables": 7},
        {"variables": [("a", "b", "c")]},
        {"static_kwargs": {"conv_clamp": "x"}},
        {"static_kwargs": {"resample_kernel": 3}},
        {"static_kwargs": {"mapping_lrmul": [1]}},
        {"static_kwargs": {"nonlinearity": np.zeros(3)}},
    ],
)
def test_values_of_other_types_give_one_line(change: dict[str, Any], tmp_path: Path) -> None:
    *_, network = tensorflow_networks(random_variables(16), "")
    network.__dict__.update(change)

    with pytest.raises(ForeignFileError, match=r"^g\.pkl: ") as caught:
        read_generator(write_pickle(tmp_path / "g.pkl", network))

    assert "\n" not in str(caught.value)


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model_0.pth")

    for path in (tmp_path / "model_0.pth", Path("/dev/zero")):
        with pytest.raises(ForeignFileError, match="expected a regular file"):
            read_generator(path)
        with pytest.raises(ForeignFileError, match="expected a regular file"):
            read_members([path])
