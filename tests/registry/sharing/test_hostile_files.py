"""Files that mean harm or are damaged: one precise line, nothing executed, nothing changed.

Every case goes through Python and through the command, and the library is compared row by row.
"""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import editvec.cli
from editvec.registry.codec import MAX_FILE_BYTES, check_delta, load_tensor
from editvec.registry.entities.vectors import RoiPolicy
from editvec.registry.errors import (
    CodecError,
    CompatibilityError,
    LabelNotFoundError,
    MaskError,
    RecordError,
)
from editvec.registry.labels.label import Label
from editvec.registry.library.library import Library
from editvec.registry.masks.brushes import encode_brush, read_brush
from editvec.registry.masks.pairs import PairFiles
from editvec.registry.masks.png import encode_mask, read_mask, read_picture
from editvec.registry.sharing.vector_files import FileRequest, add_vector_file
from tests.support.places import ROOT
from tests.support.registry_fixtures import (
    NUM_WS,
    RESOLUTION,
    W_DIM,
    contents,
    mask_pair,
    random_delta,
)


@pytest.fixture
def library(sqlite_library: Library) -> Library:
    """What is refused does not depend on the database."""
    sqlite_library.add_vectors([])
    return sqlite_library


def _npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def _safetensors(header: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def _entry(shape: str = f"[{NUM_WS},{W_DIM}]", end: int = 4 * NUM_WS * W_DIM) -> bytes:
    return b'{"dtype":"F32","shape":%s,"data_offsets":[0,%d]}' % (shape.encode(), end)


GOOD = random_delta()
ZEROS_BUT_ONE_ROW = np.where(np.arange(NUM_WS)[:, None] == 2, GOOD, 0)
BYTES = GOOD.tobytes()
ENTRY = _entry()

BAD_VECTORS: dict[str, tuple[bytes, type[Exception], str]] = {
    "empty": (b"", CodecError, "expected safetensors or .npy, got 0 bytes"),
    "text": (b"0.1 0.2 0.3 0.4 0.5", CodecError, "neither safetensors nor .npy"),
    "npz": (b"PK\x03\x04" + b"\0" * 60, CodecError, r"a zip archive \(.npz or .pt\)"),
    "NaN": (_npy(GOOD * np.nan), CodecError, r"expected finite values, got nan at \[0, 0\]"),
    "infinity": (_npy(np.full((NUM_WS, W_DIM), -np.inf)), CodecError, "got -inf at"),
    "float64 overflow": (_npy(GOOD.astype("f8") * 1e300), CodecError, "too large for float32"),
    "zeros": (_npy(GOOD * 0), CodecError, "all values are zero, so it would change nothing"),
    "negative zeros": (_npy(GOOD * -0.0), CodecError, "all values are zero"),
    "vanishes in float32": (_npy(np.full((NUM_WS, W_DIM), 1e-300)), CodecError, "are zero"),
    "integers": (_npy(GOOD.astype("i8")), CodecError, "expected a float dtype, got int64"),
    "complex": (_npy(GOOD.astype("c8")), CodecError, "expected a float dtype, got complex64"),
    "rows of another class": (_npy(np.ones((18, W_DIM))), CodecError, r"\[6, 4\].*got \[18, 4\]"),
    "transposed": (_npy(GOOD.T.copy()), CodecError, r"got \[4, 6\]"),
    "npy version 3": (_npy(GOOD, (3, 0)), CodecError, r"\.npy version \(3, 0\) is not supported"),
    "cut npy": (_npy(GOOD)[:-1], CodecError, "announces 96 bytes of data, there are 95"),
    "npy with a tail": (_npy(GOOD) + b"tail", CodecError, "announces 96 bytes.*there are 100"),
    "npy that announces terabytes": (
        _npy(GOOD).replace(b"(6, 4), ", b"(6, 9999999999), "),
        CodecError,
        "announces 239999999976 bytes of data, there are 105",
    ),
    "npy with a negative length": (
        _npy(GOOD).replace(b"(6, 4), ", b"(-6, -4),"),
        CodecError,
        "expected shape|not a readable|announces",
    ),
    "npy with an expression": (
        _npy(GOOD).replace(b"(6, 4), ", b"(2*3,4),"),
        CodecError,
        "not a readable .npy",
    ),
    "npy with an open bracket": (
        _npy(GOOD).replace(b"(6, 4), }", b"((((((((("),
        CodecError,
        "not a readable .npy",
    ),
    "oversized header": (
        _safetensors(b"{}", length=1 << 40),
        CodecError,
        "header announces 1099511627776 bytes, too many",
    ),
    "header beyond the file": (_safetensors(b"{}" * 8, length=999), CodecError, "too many"),
    "header of nothing": (_safetensors(b"{}" * 8), CodecError, "broken safetensors header"),
    "deep header": (_safetensors(b'{"a":' + b"[" * 200_000), CodecError, "broken safetensors"),
    "duplicate tensors": (
        _safetensors(b'{"a":%s,"a":%s}' % (ENTRY, ENTRY), BYTES),
        CodecError,
        "duplicate keys",
    ),
    "duplicate fields": (
        _safetensors(b'{"a":{"dtype":"F32","dtype":"F32"}}', BYTES),
        CodecError,
        "duplicate keys",
    ),
    "two tensors": (
        safetensors.numpy.save({"a": GOOD, "b": GOOD}),
        CodecError,
        "expected one tensor, got 2",
    ),
    "data beyond the file": (
        _safetensors(b'{"a":%s}' % _entry(end=400), BYTES),
        CodecError,
        "not a readable safetensors file",
    ),
    "shape against data": (
        _safetensors(b'{"a":%s}' % _entry("[6,5]"), BYTES),
        CodecError,
        "not a readable safetensors file",
    ),
    "cut safetensors": (
        _safetensors(b'{"a":%s}' % ENTRY, BYTES[:-1]),
        CodecError,
        "not a readable safetensors file",
    ),
    "integers in safetensors": (
        safetensors.numpy.save({"a": GOOD.astype("i4")}),
        CodecError,
        "expected dtype F16, F32 or F64, got I32",
    ),
    "metadata that is a number": (
        _safetensors(b'{"__metadata__":{"editvec":7},"a":%s}' % ENTRY, BYTES),
        CodecError,
        "not a readable safetensors file",
    ),
    "one row without its space": (_npy(GOOD[:1]), CompatibilityError, "give the space"),
}


def _refused(
    library: Library,
    path: Path,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
    message: str,
) -> None:
    """The file is refused by Python and by the command, alike, and the library stays as it was."""
    before = contents(library)

    with pytest.raises(error, match=message) as caught:
        add_vector_file(library, path, FileRequest(name="smile", roi_labels=("mouth",)))

    assert "\n" not in str(caught.value)
    home = str(library.config.home)
    arguments = ["registry", "add", str(path), "--name", "smile", "--roi", "mouth"]
    assert editvec.cli.main(["--home", home, *arguments]) == 1
    assert capsys.readouterr().err == f"editvec: error: {caught.value}\n"
    assert contents(library) == before


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("case", BAD_VECTORS)
def test_vector_file_that_cannot_be_used_is_refused(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, suffix: str
) -> None:
    data, error, message = BAD_VECTORS[case]
    path = tmp_path / f"vector{suffix}"
    path.write_bytes(data)

    _refused(library, path, capsys, error, message)


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mknod, (str(self.path),))


def _npz(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def _object_array(trap: _Trap) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([[trap]], dtype=object), allow_pickle=True)
    return stream.getvalue()


DISGUISES: dict[str, Callable[[_Trap], bytes]] = {
    **{
        f"pickle protocol {protocol}": lambda trap, protocol=protocol: pickle.dumps(trap, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "object array": _object_array,
    "object array in an .npz": lambda trap: _npz("arr_0.npy", _object_array(trap)),
    "checkpoint of PyTorch": lambda trap: _npz("archive/data.pkl", pickle.dumps(trap, 2)),
    "pickle behind a safetensors header": lambda trap: _safetensors(
        b'{"a":%s}' % ENTRY, pickle.dumps(trap)
    ),
    "pickle instead of a header": lambda trap: _safetensors(pickle.dumps(trap)),
}


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_nothing_of_a_disguised_pickle_is_executed(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str], disguise: str, suffix: str
) -> None:
    trapped = tmp_path / "trapped"
    data = DISGUISES[disguise](_Trap(trapped))
    path = tmp_path / f"vector{suffix}"
    path.write_bytes(data)

    _refused(library, path, capsys, CodecError, f"vector file {path}: ")

    assert not trapped.exists()


def test_the_trap_of_these_tests_does_snap(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Trap(tmp_path / "trapped")))

    assert (tmp_path / "trapped").exists()


def test_every_cut_of_a_vector_file_is_refused(library: Library, tmp_path: Path) -> None:
    before = contents(library)
    path = tmp_path / "vector"
    for whole in (_npy(GOOD), safetensors.numpy.save({"a": GOOD})):
        for length in range(0, len(whole), 7):
            path.write_bytes(whole[:length])
            with pytest.raises(CodecError):
                add_vector_file(library, path, FileRequest(roi_labels=("mouth",)))

    assert contents(library) == before


@given(position=st.integers(0, 127), value=st.integers(0, 255), seed=st.binary(max_size=8))
def test_no_change_of_a_header_ends_in_another_error(
    position: int, value: int, seed: bytes
) -> None:
    for whole in (_npy(GOOD), safetensors.numpy.save({"a": GOOD})):
        changed = bytearray(whole)
        changed[position] = value
        changed[position + 1 : position + 1 + len(seed)] = seed
        try:
            check_delta(load_tensor(bytes(changed), of="x").array, num_ws=NUM_WS, w_dim=W_DIM)
        except CodecError as error:
            assert "\n" not in str(error)  # noqa: PT017 (some changes are harmless)


def test_what_is_no_regular_file_is_not_opened(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "fifo.npy")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "endless.npy").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "endless"):
        path = tmp_path / f"{name}.npy"
        _refused(library, path, capsys, CodecError, "expected a regular file")
    _refused(library, tmp_path / "nowhere.npy", capsys, CodecError, "No such file or directory")


def test_file_that_is_too_large_is_not_read(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)

    _refused(library, path, capsys, CodecError, "larger than 64 MiB")


def test_rows_that_leave_a_vector_of_zeros_are_refused(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "smile.npy"
    path.write_bytes(_npy(ZEROS_BUT_ONE_ROW))
    before = contents(library)

    with pytest.raises(CodecError, match="would change nothing"):
        add_vector_file(library, path, FileRequest(roi_labels=("mouth",), rows=(3, 6)))

    assert contents(library) == before


def test_unknown_part_is_refused_with_the_parts_there_are(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "smile.npy"
    path.write_bytes(_npy(GOOD))

    with pytest.raises(LabelNotFoundError, match="no part 'hat'; its parts are background, skin"):
        add_vector_file(library, path, FileRequest(roi_labels=("hat",)))


# --- pictures ---


def _png(mode: str, size: int = RESOLUTION, color: object = 1, format_name: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (size, size), color).save(stream, format=format_name)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize(
    ("brush", "policy", "error", "message"),
    [
        (b"", "brush", MaskError, "not a readable PNG"),
        (_png("L")[:45], "brush", MaskError, "not a readable PNG"),
        (_png("L", format_name="GIF"), "brush", MaskError, "not a readable PNG"),
        (_png("RGB", color=(0, 0, 0)), "brush", MaskError, "nothing is painted"),
        (_png("L", size=8), "union", MaskError, "expected 16 x 16 pixels, got 8 x 8"),
        (_png("L", color=0), "brush", MaskError, "nothing is painted"),
        (_png("L"), "labels", RecordError, "ROI policy labels takes no brush"),
        (None, "brush", RecordError, "ROI policy brush needs a brush, got none"),
        (None, "union", RecordError, "ROI policy union needs a brush, got none"),
    ],
)
def test_brush_that_cannot_be_one_is_refused(
    library: Library,
    tmp_path: Path,
    brush: bytes | None,
    policy: str,
    error: type[Exception],
    message: str,
) -> None:
    path = tmp_path / "smile.npy"
    path.write_bytes(_npy(GOOD))
    before = contents(library)
    request = FileRequest(roi_labels=("mouth",), roi_policy=RoiPolicy(policy), brush_png=brush)

    with pytest.raises(error, match=message) as caught:
        add_vector_file(library, path, request)

    assert "\n" not in str(caught.value)
    assert contents(library) == before


def test_pictures_that_are_no_regular_files_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")

    for name in ("fifo", "endless"):
        path = tmp_path / f"{name}.png"
        for read in (read_brush, read_mask, read_picture):
            with pytest.raises(MaskError, match=rf"{name}\.png: expected a regular file"):
                read(path)


def test_brush_with_no_part_needs_no_part_but_union_does(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "smile.npy"
    path.write_bytes(_npy(GOOD))
    brush = encode_brush(np.ones((RESOLUTION, RESOLUTION), bool))

    with pytest.raises(LabelNotFoundError, match="at least one part"):
        add_vector_file(library, path, FileRequest(roi_policy=RoiPolicy.UNION, brush_png=brush))
    vector = add_vector_file(library, path, FileRequest(brush_png=brush)).vector

    assert (vector.roi_policy, vector.roi_labels) == (RoiPolicy.BRUSH, ())


def test_mask_with_labels_outside_the_scheme_is_refused(
    library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = library.get_class().labels
    good = mask_pair(labels)
    hat = np.zeros((RESOLUTION, RESOLUTION), np.uint8)
    hat[3, 7] = len(labels)
    hatted = encode_mask(hat, (*labels, Label(len(labels), "hat", (0, 0, 0))))
    files = {"image": good.image_png, "before": good.mask_before_png, "after": hatted}
    for name, data in files.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    path = tmp_path / "smile.npy"
    path.write_bytes(_npy(GOOD))
    pair = [tmp_path / f"{name}.png" for name in files]
    before = contents(library)

    with pytest.raises(
        MaskError, match=r"after.png: value 5 at row 3, column 7 is none of .* \(0 to 4\)"
    ):
        add_vector_file(
            library,
            path,
            FileRequest(roi_labels=("mouth",), pair_files=(PairFiles(*pair),)),
        )
    arguments = ["registry", "add", path, "--roi", "mouth", "--mask-pair", *pair]
    assert editvec.cli.main(["--home", *map(str, [library.config.home, *arguments])]) == 1

    assert "value 5 at row 3, column 7" in capsys.readouterr().err
    assert contents(library) == before


def test_refusing_a_file_loads_no_torch(library: Library, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(_npz("archive/data.pkl", b""))
    program = (
        "import sys, editvec.cli\n"
        "status = editvec.cli.main(sys.argv[1:])\n"
        "print(status, 'torch' in sys.modules)"
    )
    arguments = ["--home", str(library.config.home), "registry", "add", str(tmp_path / "model.pt")]

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == "1 False"
    assert done.stderr.count("\n") == 1
