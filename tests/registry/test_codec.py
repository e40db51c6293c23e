"""Vector files: what is read, and every kind of trap that is not."""

import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from editvec.registry import codec
from editvec.registry.codec import (
    check_delta,
    check_shape,
    decode_latent,
    encode_latent,
    load_tensor,
    read_file,
    safetensors_header,
)
from editvec.registry.errors import CodecError


def read_delta(path: Path) -> np.ndarray:
    """The way of a vector file: bytes, tensor, delta; [3, 4]."""
    data = read_file(path, of=f"vector file {path}")
    return check_delta(load_tensor(data, of="vector file").array, num_ws=3, w_dim=4)


def _npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-(2.0**99), 2.0**99, width=32),
    )
)
def test_saving_and_loading_is_exact(array: np.ndarray) -> None:
    loaded = decode_latent(encode_latent(array))

    np.testing.assert_array_equal(loaded.view(np.uint32), array.view(np.uint32))


def test_equal_arrays_give_equal_bytes() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)

    assert len({encode_latent(array.copy(order="F")) for _ in range(20)}) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4)])
@pytest.mark.parametrize("fmt", ["npy", "safetensors"])
def test_vector_files_of_any_float_dtype_become_float32(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], fmt: str
) -> None:
    values = np.arange(1, 13).reshape(shape).astype(dtype)
    native = values.astype(values.dtype.newbyteorder("="))  # safetensors knows no other order
    data = _npy(values) if fmt == "npy" else safetensors.numpy.save({"anything": native})
    # the content tells the format, not the name
    path = tmp_path / "vector.bin"
    path.write_bytes(data)

    delta = read_delta(path)

    assert delta.dtype == np.float32
    np.testing.assert_array_equal(delta, np.arange(1, 13).reshape(3, 4))


@pytest.mark.parametrize("length", [640, 0x4B50])
def test_header_whose_length_looks_like_a_pickle_or_a_zip_is_read(
    tmp_path: Path, length: int
) -> None:
    entry = {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}
    header = json.dumps({"x": entry}).encode().ljust(length)
    path = tmp_path / "vector"
    path.write_bytes(_safetensors(header, np.ones((3, 4), "<f4").tobytes()))

    np.testing.assert_array_equal(read_delta(path), np.ones((3, 4)))


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_pickle_is_refused_and_nothing_is_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for name, data in {
        "plain.npy": pickle.dumps(_Bomb(touched)),
        "protocol0.npy": pickle.dumps(_Bomb(touched), protocol=0),
        "object.npy": _npy(np.array([_Bomb(touched)], dtype=object), allow_pickle=True),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(CodecError):
            read_delta(path)

    assert not touched.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected safetensors or .npy, got 0 bytes"),
        (b"PK\x03\x04" + b"\0" * 40, "zip archive"),
        (b"hello, this is no vector", "neither safetensors nor .npy"),
        (struct.pack("<Q", 1 << 62) + b"{}" * 10, "header announces"),
        (_safetensors(b'{"a": ' + b"[" * 100_000), "broken safetensors header"),
        (_safetensors(b'{"a": {"dtype": "F32"}, "a": {"dtype": "F32"}}'), "duplicate keys"),
        (_safetensors({}), "expected one tensor, got 0"),
        (
            safetensors.numpy.save({"a": np.ones(2, "f4"), "b": np.ones(2, "f4")}),
            "expected one tensor, got 2",
        ),
        (safetensors.numpy.save({"a": np.ones((3, 4), np.int32)}), "expected dtype F16, F32"),
        (
            _safetensors({"a": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 999]}}),
            "not a readable safetensors file",
        ),
        (_npy(np.ones((3, 4), "f4"))[:-4], "announces 48 bytes of data, there are 44"),
        (_npy(np.ones((3, 4), "f4")).replace(b"(3, 4)", b"(9**9)"), "not a readable .npy"),
        (_npy(np.ones((3, 4), "f4")).replace(b"(3, 4), ", b"(3, 999999999999)"), "there are 57"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 64, "version"),
        (_npy(np.array([["a"]])), "expected a float dtype"),
        (_npy(np.ones((4, 3), "f4")), r"expected shape \[3, 4\] \(num_ws, w_dim\), got \[4, 3\]"),
        (_npy(np.ones((2, 3, 4), "f4")), r"got \[2, 3, 4\]"),
        (_npy(np.full((3, 4), 1e300)), "too large for float32"),
        (_npy(np.full((3, 4), np.inf)), r"got inf at \[0, 0\]"),
        (_npy(np.zeros((3, 4))), "all values are zero"),
        (_npy(np.full((3, 4), 1e-300)), "all values are zero"),
    ],
)
def test_file_that_holds_no_usable_vector_is_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "vector"
    path.write_bytes(data)

    with pytest.raises(CodecError, match=message) as caught:
        read_delta(path)

    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"nowhere\.npy: No such file"):
        read_delta(tmp_path / "nowhere.npy")


@given(st.binary(max_size=200))
def test_no_bytes_at_all_end_in_another_error(data: bytes) -> None:
    for prefix in (b"", b"\x93NUMPY\x01\x00", struct.pack("<Q", 20) + b"{"):
        try:
            check_delta(decode_latent(prefix + data), num_ws=3, w_dim=4)
        except CodecError as error:
            assert str(error)  # noqa: PT017 (most bytes are refused, a few may be valid)


def test_files_and_headers_end_at_their_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vector"
    path.write_bytes(bytes(2 << 20))
    monkeypatch.setattr(codec, "MAX_FILE_BYTES", 2 << 20)
    assert len(read_file(path, of="x")) == 2 << 20
    path.write_bytes(bytes((2 << 20) + 1))
    with pytest.raises(CodecError, match=r"x: larger than 2 MiB"):
        read_file(path, of="x")

    header = b"{" + b" " * 18 + b"}"
    monkeypatch.setattr(codec, "MAX_HEADER_BYTES", 20)
    assert safetensors_header(_safetensors(header), of="x") == {}
    with pytest.raises(CodecError, match=r"announces 21 bytes, too many"):
        safetensors_header(_safetensors(header[:-1] + b" }"), of="x")
    monkeypatch.undo()
    with pytest.raises(CodecError, match=r"announces 21 bytes, too many"):
        safetensors_header(struct.pack("<Q", 21) + header, of="x")


def test_the_shortest_safetensors_file_has_ten_bytes() -> None:
    assert safetensors_header(_safetensors(b"{}"), of="x") == {}
    for data in (b"", _safetensors(b"{}")[:9]):
        with pytest.raises(CodecError, match=f"got {len(data)} bytes"):
            safetensors_header(data, of="x")


@pytest.mark.parametrize("data", [b"[1, 2, 3] ", b'{"a": 1,}', b'{"a": 1, "a": 2}'])
def test_headers_that_are_no_object_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError, match=r"broken safetensors header|neither safetensors nor"):
        safetensors_header(_safetensors(data), of="x")


def test_texts_beside_a_tensor_come_with_it() -> None:
    data = safetensors.numpy.save({"a": np.ones(2, "f4")}, metadata={"space": "W+"})

    assert load_tensor(data, of="x").metadata == {"space": "W+"}
    assert load_tensor(_npy(np.ones(2)), of="x").metadata == {}


def test_a_shape_is_exact() -> None:
    array = np.ones((1, 2, 3))

    assert check_shape(array, (1, 2, 3), of="x").dtype == np.float32
    for shape in ((2, 3), (1, 3, 2)):
        with pytest.raises(CodecError, match=r"x: expected shape .*, got \[1, 2, 3\]"):
            check_shape(array, shape, of="x")
    # a delta may have a leading axis of one, and no other
    assert check_delta(array, num_ws=2, w_dim=3).shape == (2, 3)
    for wrong in (np.ones((1, 1, 2, 3)), np.ones((2, 2, 3)), np.ones(6)):
        with pytest.raises(CodecError, match=r"expected shape \[2, 3\]"):
            check_delta(wrong, num_ws=2, w_dim=3)


def test_the_place_of_the_first_value_that_is_none_is_told() -> None:
    array = np.ones((3, 4))
    array[1, 2] = np.nan
    array[2, 0] = np.inf

    with pytest.raises(CodecError, match=r"got nan at \[1, 2\]"):
        check_delta(array, num_ws=3, w_dim=4)


def test_a_folder_is_no_vector_file(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"x: expected a regular file"):
        read_file(tmp_path, of="x")
    with pytest.raises(CodecError, match=r"x: .*null"):
        read_file(Path("a\0b"), of="x")
