"""What deploy/ builds and starts: named by its bytes, closed, without a known password."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from editvec.batch.errors import BrokerError
from editvec.batch.workers.app import create_app, require_broker
from tests.support.console_blocks import blocks_of
from tests.support.places import ROOT
from tests.support.servers import free_port, missing, wait_for

DEPLOY = ROOT / "deploy"
BY_DIGEST = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
PASSWORD = "never-seen-1c7f"


def services() -> dict[str, dict[str, Any]]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    found: dict[str, dict[str, Any]] = loaded["services"]
    return found


# --- by digest ---


def test_every_image_is_ours_or_named_by_its_digest() -> None:
    images = {one["image"] for one in services().values()} - {"editvec"}
    images |= set(re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))

    assert {image.partition(":")[0] for image in images} == {"postgres", "redis", "python"}
    assert [image for image in images if BY_DIGEST.fullmatch(image) is None] == []


@pytest.fixture
def pinning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a copy of deploy/."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "pin_images.py"
    spec = importlib.util.spec_from_file_location("pin_images", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return module


def answer(tmp_path: Path, script: str) -> None:
    """A docker that answers in place of the registries, which no test can reach."""
    program = tmp_path / "bin" / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_digests_are_asked_anew_and_nothing_else_changes(
    pinning: ModuleType, tmp_path: Path
) -> None:
    digest = "sha256:" + "a1" * 32
    answer(tmp_path, f'[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {digest}')

    pinning.main()

    for name in ("compose.yaml", "Dockerfile"):
        written = (tmp_path / "deploy" / name).read_text()
        assert written == re.sub(r"sha256:[0-9a-f]{64}", digest, (DEPLOY / name).read_text())
        assert digest in written


@pytest.mark.parametrize("script", ["echo latest", "echo 'no such image' >&2; exit 1"])
def test_what_is_no_digest_is_written_nowhere(
    pinning: ModuleType, tmp_path: Path, script: str
) -> None:
    answer(tmp_path, script)

    with pytest.raises(SystemExit, match="expected a digest"):
        pinning.main()

    for name in ("compose.yaml", "Dockerfile"):
        assert (tmp_path / "deploy" / name).read_text() == (DEPLOY / name).read_text()


# --- with the digest of every file ---


def hashed() -> dict[str, tuple[str, list[str]]]:
    """Version and digests of each package that the image installs."""
    text = (DEPLOY / "requirements.hashes.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pinned, *digests = line.split()
            name, _, version = pinned.partition("==")
            found[str(canonicalize_name(name))] = (version, digests)
    return found


def test_the_image_installs_the_versions_that_are_tested_each_with_its_digests() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.partition("==") for line in lines if "==" in line]
    tested = {str(canonicalize_name(name)): version for name, _, version in pairs}

    assert {name: version for name, (version, _) in hashed().items()}.items() <= tested.items()
    for name, (_, digests) in hashed().items():
        assert digests, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in digests), name


def test_the_image_installs_all_that_is_needed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    direct = project["project"]["dependencies"] + extras["postgresql"] + extras["s3"]
    asked = [Requirement(line) for line in direct + project["build-system"]["requires"]]
    found = hashed()

    for one in asked:
        version, _ = found[str(canonicalize_name(one.name))]
        assert one.specifier.contains(version), one
    assert sum(name.startswith("nvidia-") for name in found) >= 10, "PyTorch's own for GPUs"


def test_every_package_of_the_image_finds_there_what_it_needs() -> None:
    from importlib.metadata import PackageNotFoundError, requires

    found = hashed()
    markers = {"python_version": "3.11", "python_full_version": "3.11.16", "extra": ""}
    markers |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    looked_at = 0
    for name in found:
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:  # of GPUs; this machine may have none
            continue
        looked_at += 1
        for one in needed:
            if one.marker is None or one.marker.evaluate(markers):
                assert str(canonicalize_name(one.name)) in found, f"{name} needs {one}"

    assert looked_at > 40


def test_the_list_of_files_names_no_index() -> None:
    text = (DEPLOY / "requirements.hashes.txt").read_text()

    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []


def test_the_image_takes_no_file_that_is_not_in_the_list() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    installing = [line.split() for line in lines if "pip install" in line]
    taken = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()

    first, second = installing
    assert {"--require-hashes", "--only-binary", "-r", "requirements.hashes.txt"} <= set(first)
    assert {"--no-deps", "--no-index", "--no-build-isolation", "."} <= set(second)
    assert "COPY deploy/requirements.hashes.txt ./" in lines
    assert "!deploy/requirements.hashes.txt" in taken


def test_pip_refuses_a_file_that_differs_from_the_list(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    wheel = tmp_path / "vine-5.1.0-py3-none-any.whl"
    wheel.write_bytes(b"another file of this name")
    listed = re.search(r"^vine==5\.1\.0 .*?(?=^\w)", (_listing()), re.DOTALL | re.MULTILINE)
    assert listed is not None
    (tmp_path / "list.txt").write_text(listed[0])

    tried = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary", ":all:"),
            *("--require-hashes", "--no-index", "--find-links", str(tmp_path)),
            *("--target", str(tmp_path / "package"), "-r", str(tmp_path / "list.txt")),
        ],
        env={"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )

    assert tried.returncode != 0
    assert "DO NOT MATCH THE HASHES" in tried.stderr
    assert list((tmp_path / "package").iterdir()) == []


def _listing() -> str:
    return (DEPLOY / "requirements.hashes.txt").read_text()


# --- may do little ---


@pytest.mark.parametrize("name", sorted(services()))
def test_no_container_has_rights_that_it_does_not_need(name: str) -> None:
    service = services()[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert {"cap_add", "privileged", "ports", "network_mode", "pid", "devices"}.isdisjoint(service)
    if service["image"] != "editvec":
        assert service["user"] == service["image"].partition(":")[0], "not root"


# --- no password that is known ---


def test_nothing_starts_before_every_variable_is_given() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    given = dict(
        line.split("=", 1)
        for line in (DEPLOY / "compose.env").read_text().splitlines()
        if re.match(r"[A-Z_]+=", line)
    )

    asked = re.findall(r"\$\{(\w+)(:\?)?[^}]*\}", text)

    assert {name for name, _ in asked} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "PICTURES"}
    assert all(is_required for _, is_required in asked), "`:?` refuses what is empty too"
    assert {given[name] for name, _ in asked} == {""}


def test_passwords_of_the_systemd_unit_have_to_be_written_too() -> None:
    lines = (DEPLOY / "editvec.env").read_text().splitlines()

    assert "PGPASSWORD=" in lines
    assert [line for line in lines if re.match(r"EDITVEC_\w+=.*//[^@/]*:[^@/]+@", line)] == []


def test_the_command_of_the_page_makes_passwords_of_its_own(tmp_path: Path) -> None:
    page = [line for block in blocks_of(ROOT / "docs" / "deploy.md") for line in block.lines]
    first = next(index for index, line in enumerate(page) if line.startswith("sed "))
    command = "\n".join(page[first : first + 2])
    assert "\\\n" in command
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        shutil.copy(DEPLOY / "compose.env", folder)
        subprocess.run(["sh", "-c", command], cwd=folder, check=True)
        text = (folder / ".env").read_text()
        made += re.findall(r"^(?:POSTGRES|REDIS)_PASSWORD=([0-9a-f]{48})$", text, re.MULTILINE)
        assert "\nPICTURES=/srv/editvec/pictures\n" in text
        assert (folder / ".env").stat().st_mode & 0o077 == 0

    assert len(set(made)) == 4


@pytest.fixture
def redis_of_compose(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Process and port of a Redis that is started as compose.yaml says."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server")
    port = free_port()
    program, option, script = services()["redis"]["command"]
    assert (program, option) == ("sh", "-c")
    here = f"{binary} --port {port} --bind 127.0.0.1 --dir {tmp_path}"
    process = subprocess.Popen(
        [program, option, script.replace("$$", "$").replace("redis-server", here)],
        env={"PATH": os.environ["PATH"], "REDISCLI_AUTH": PASSWORD},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def test_redis_lets_in_who_knows_the_password_and_nobody_else(
    redis_of_compose: tuple[int, int],
) -> None:
    process, port = redis_of_compose
    url = services()["editvec"]["environment"]["EDITVEC_BROKER_URL"]
    asked = re.compile(r"\$\{REDIS_PASSWORD:[^}]*\}")
    assert asked.search(url)
    ours = url.replace("@redis:6379", f"@127.0.0.1:{port}")

    require_broker(create_app(asked.sub(PASSWORD, ours)))
    for wrong in (asked.sub("another", ours), f"redis://127.0.0.1:{port}/0"):
        with pytest.raises(BrokerError) as refused:
            require_broker(create_app(wrong))
        assert "another" not in str(refused.value)

    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert PASSWORD not in Path(f"/proc/{process}/cmdline").read_text()
    if (client := shutil.which("redis-cli")) is not None:
        _, healthy = services()["redis"]["healthcheck"]["test"]
        here = healthy.replace("redis-cli", f"{client} -p {port}")
        for password, status in ((PASSWORD, 0), ("another", 1), ("", 1)):
            variables = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": password}
            asked_now = subprocess.run(
                ["sh", "-c", here], env=variables, stderr=subprocess.DEVNULL, check=False
            )
            assert asked_now.returncode == status
