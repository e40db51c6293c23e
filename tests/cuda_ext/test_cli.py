"""`editvec kernels`."""

import json
import shutil
import stat
from pathlib import Path

import pytest
import torch

from editvec.cli import main
from editvec.cuda_ext.dispatch import OPERATIONS

needs_cuda_torch = pytest.mark.skipif(torch.version.cuda is None, reason="torch without CUDA")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for nvcc that writes its arguments to the output."""
    program = tmp_path / "toolkit" / "bin" / "nvcc"
    program.parent.mkdir(parents=True)
    major = (torch.version.cuda or "0").split(".")[0]
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --version ]; then echo "Cuda, release {major}.0, V"; exit; fi\n'
        'arguments="$*"; while [ "$1" != -o ]; do shift; done; echo "$arguments" > "$2"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))


@needs_cuda_torch
def test_build_compiles_for_named_architectures_without_a_device(
    compiler: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["kernels", "build", "--arch", "100", "--arch", "90", "--arch", "90"]

    assert main([*words, "--cache", str(tmp_path / "own")]) == 0

    library = Path(capsys.readouterr().out.strip())
    assert library.parent == tmp_path / "own"
    assert library.name.startswith("editvec-sm90-100-")
    arguments = library.read_text()
    assert "arch=compute_90,code=sm_90 -gencode=arch=compute_100,code=sm_100" in arguments
    for operation in OPERATIONS:
        assert f"/{operation}.cu " in arguments
        assert f"/{operation}.cpp " in arguments


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_build_without_a_device_or_an_architecture_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["kernels", "build"]) == 1

    error = capsys.readouterr().err
    assert error == (
        "editvec: error: there is no CUDA device to compile the kernels for: "
        "name its compute capability, as in `editvec kernels build --arch 90`\n"
    )


def test_build_refuses_what_is_no_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", "build", "--arch", "sm_90"]) == 1

    assert "architectures must be written like 80 or 90a, got 'sm_90'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_show_says_what_runs_here_and_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["kernels", "show"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(OPERATIONS)]] == list(OPERATIONS)
    assert all(
        line.endswith("reference  there is no CUDA device") for line in lines[: len(OPERATIONS)]
    )
    assert lines[-1].split() == ["cache", str(tmp_path / "cache" / "editvec" / "cuda_ext")]


def test_show_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", "show", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert [operation["name"] for operation in document["operations"]] == list(OPERATIONS)
    assert (document["compiler"] is None) <= (
        shutil.which("nvcc") is None or not torch.version.cuda
    )


@pytest.mark.gpu
def test_show_tells_how_to_choose_a_kernel(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITVEC_KERNELS", "bias_act")

    assert main(["kernels", "show", "--json"]) == 0

    runs = {o["name"]: o for o in json.loads(capsys.readouterr().out)["operations"]}
    assert "EDITVEC_KERNELS=upfirdn2d chooses it" in runs["upfirdn2d"]["reason"]
    assert "chooses it" not in runs["bias_act"]["reason"]
