"""Vector files of other programs: each published format becomes the delta that it means."""

import io
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from editvec.registry.entities.spaces import MAX_COLUMNS
from editvec.registry.entities.vectors import LatentSpace
from editvec.registry.errors import CodecError, CompatibilityError
from editvec.registry.library.library import Library
from editvec.registry.sharing.vector_files import FileRequest, add_vector_file
from tests.support.registry_fixtures import NUM_WS, W_DIM, random_delta

Z, W, W_PLUS, S = LatentSpace.Z, LatentSpace.W, LatentSpace.W_PLUS, LatentSpace.S
ROI = ("mouth",)


def _file(tmp_path: Path, array: np.ndarray, name: str = "smile.npy") -> Path:
    path = tmp_path / name
    np.save(path, array)
    return path


@pytest.fixture
def library(sqlite_library: Library) -> Library:
    """What the files mean does not depend on the database."""
    return sqlite_library


def test_editgan_vector_is_a_delta_of_w_plus(library: Library, tmp_path: Path) -> None:
    path = _file(tmp_path, random_delta()[None])

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI)).vector

    assert (vector.latent_space, vector.num_ws, vector.w_dim) == (W_PLUS, NUM_WS, W_DIM)
    assert (vector.name, vector.kind, vector.roi_labels) == ("smile", "imported", ROI)
    np.testing.assert_array_equal(library.delta(vector), random_delta())


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_direction_of_any_float_dtype_and_order_is_a_delta_of_w_plus(
    library: Library, tmp_path: Path, dtype: str, order: str
) -> None:
    values = np.arange(1, NUM_WS * W_DIM + 1).reshape(NUM_WS, W_DIM)
    path = _file(tmp_path, np.asarray(values, dtype=dtype, order=order))  # type: ignore[call-overload]

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI)).vector

    assert vector.latent_space is W_PLUS
    np.testing.assert_array_equal(library.delta(vector), values.astype(np.float32))


def test_direction_that_python_2_wrote_is_read_without_a_warning(
    library: Library, tmp_path: Path
) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({NUM_WS}L, {W_DIM}L), }}"
    text = header.ljust(117).encode() + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    path = tmp_path / "old.npy"
    path.write_bytes(data + random_delta().tobytes())

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI)).vector

    np.testing.assert_array_equal(library.delta(vector), random_delta())


@pytest.mark.parametrize("shape", [(1, W_DIM), (W_DIM,)])
def test_interfacegan_boundary_in_w_moves_every_row_alike(
    library: Library, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = _file(tmp_path, np.arange(1.0, W_DIM + 1).reshape(shape))

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI, latent_space=W)).vector

    assert (vector.latent_space, vector.num_ws) == (W, NUM_WS)
    np.testing.assert_array_equal(library.delta(vector), [[1, 2, 3, 4]] * NUM_WS)


def test_interfacegan_boundary_in_z_stays_one_row(library: Library, tmp_path: Path) -> None:
    path = _file(tmp_path, np.ones((1, W_DIM)))

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI, latent_space=Z)).vector

    assert (vector.latent_space, vector.num_ws, vector.row_mask) == (Z, 1, (True,))
    assert library.delta(vector).shape == (1, W_DIM)
    assert library.find_vectors()[0] == vector


def test_one_row_without_its_space_is_refused(library: Library, tmp_path: Path) -> None:
    path = _file(tmp_path, np.ones((1, W_DIM)))

    with pytest.raises(CompatibilityError, match=r"--space W or --space Z"):
        add_vector_file(library, path, FileRequest(roi_labels=ROI))
    with pytest.raises(CompatibilityError, match="one row lives in W or in Z"):
        add_vector_file(library, path, FileRequest(roi_labels=ROI, latent_space=W_PLUS))


def test_many_rows_in_a_space_of_one_are_refused(library: Library, tmp_path: Path) -> None:
    path = _file(tmp_path, random_delta())

    with pytest.raises(CompatibilityError, match=r"expected one row in space Z, got \[6, 4\]"):
        add_vector_file(library, path, FileRequest(roi_labels=ROI, latent_space=Z))
    with pytest.raises(CompatibilityError, match="equal rows in space W, row 1 differs from row 0"):
        add_vector_file(library, path, FileRequest(roi_labels=ROI, latent_space=W))


def test_style_channels_may_be_any_number_within_reason(library: Library, tmp_path: Path) -> None:
    request = FileRequest(roi_labels=ROI, latent_space=S)

    vector = add_vector_file(library, _file(tmp_path, np.ones(9088)), request).vector

    assert (vector.latent_space, vector.num_ws, vector.w_dim) == (S, 1, 9088)
    np.testing.assert_array_equal(library.delta(vector), np.ones((1, 9088)))
    for channels in (0, MAX_COLUMNS + 1):
        with pytest.raises(CodecError, match="style channels"):
            add_vector_file(library, _file(tmp_path, np.ones(channels)), request)
    with pytest.raises(CodecError, match=r"expected shape \[1, 4\], got \[2, 4\]"):
        add_vector_file(library, _file(tmp_path, np.ones((2, 4))), request)


def test_tensor_of_safetensors_is_read_under_any_name(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "smile.safetensors"
    path.write_bytes(safetensors.numpy.save({"whatever": random_delta()}))

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI)).vector

    np.testing.assert_array_equal(library.delta(vector), random_delta())


def test_rows_of_zeros_are_rows_that_the_vector_does_not_touch(
    library: Library, tmp_path: Path
) -> None:
    delta = random_delta()
    delta[[0, 4]] = 0

    path = _file(tmp_path, delta)
    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI)).vector

    assert vector.row_mask == (False, True, True, True, False, True)


def test_rows_that_are_asked_for_are_kept_and_the_others_are_not(
    library: Library, tmp_path: Path
) -> None:
    delta = random_delta()
    delta[4] = 0
    path = _file(tmp_path, delta)

    vector = add_vector_file(library, path, FileRequest(roi_labels=ROI, rows=(3, 6))).vector

    assert vector.row_mask == (False, False, False, True, False, True)
    np.testing.assert_array_equal(library.delta(vector)[[3, 5]], delta[[3, 5]])
    assert not library.delta(vector)[:3].any()
    for rows in ((3, 7), (3, 3), (-1, 2)):
        with pytest.raises(CompatibilityError, match="expected rows inside 0:6"):
            add_vector_file(library, path, FileRequest(roi_labels=ROI, rows=rows))
    with pytest.raises(CodecError, match="would change nothing"):
        add_vector_file(library, path, FileRequest(roi_labels=ROI, rows=(4, 5)))


def test_original_file_is_kept_byte_for_byte_with_its_base_name(
    library: Library, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    path = _file(tmp_path / "sub", random_delta(), "big smile.npy")

    request = FileRequest(name="smile", roi_labels=ROI)
    vector = add_vector_file(library, path, request).vector

    assert vector.original_name == "big smile.npy"
    assert vector.original_digest is not None
    assert library.blobs.get(vector.original_digest) == path.read_bytes()


def test_default_and_usable_scales_and_dilation_are_kept(library: Library, tmp_path: Path) -> None:
    request = FileRequest(
        roi_labels=ROI, default_scale=0.5, scale_range=(-1.5, 2.0), dilation=4, license="CC0-1.0"
    )

    vector = add_vector_file(library, _file(tmp_path, random_delta()), request).vector

    assert (vector.default_scale, vector.scale_min, vector.scale_max) == (0.5, -1.5, 2.0)
    assert (vector.dilation, vector.license) == (4, "CC0-1.0")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((NUM_WS, W_DIM), np.int32), "expected a float dtype, got int32"),
        (np.ones((NUM_WS, W_DIM), np.complex64), "expected a float dtype, got complex64"),
        (np.ones((NUM_WS, W_DIM), bool), "expected a float dtype, got bool"),
        (np.zeros((NUM_WS, W_DIM), [("x", "f4")]), "expected a float dtype"),
        (np.ones((18, 512)), r"expected shape \[6, 4\] \(num_ws, w_dim\), got \[18, 512\]"),
        (np.ones((1, 16, 512)), r"got \[16, 512\]"),
        (np.ones((1, 1, W_DIM)), r"got \[1, 4\]"),
        (np.ones((2, NUM_WS, W_DIM)), r"got \[2, 6, 4\]"),
        (np.ones((1, 1, NUM_WS, W_DIM)), r"got \[1, 1, 6, 4\]"),
        (np.zeros((0, W_DIM)), r"got \[0, 4\]"),
        (np.float32(1), "may live in W or in Z"),
    ],
)
def test_array_of_another_dtype_or_shape_is_refused(
    library: Library, tmp_path: Path, array: np.ndarray, message: str
) -> None:
    with pytest.raises((CodecError, CompatibilityError), match=message) as caught:
        add_vector_file(library, _file(tmp_path, array), FileRequest(roi_labels=ROI))

    assert "\n" not in str(caught.value)
    assert library.find_vectors() == []


def test_file_is_the_same_vector_however_it_was_saved(library: Library, tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, random_delta()[None].astype(np.float64))
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    (tmp_path / "b.safetensors").write_bytes(safetensors.numpy.save({"x": random_delta()}))
    request = FileRequest(name="smile", roi_labels=ROI)

    first = add_vector_file(library, tmp_path / "a.npy", request)
    again = add_vector_file(library, tmp_path / "b.safetensors", request)

    assert (first.is_new, again.is_new) == (True, False)
    assert again.vector == first.vector
