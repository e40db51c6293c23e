"""The page about deployment is true, and what deploy/ starts is there."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import editvec.cli
from tests.support.console_blocks import LANGUAGES, Shell, blocks_of, failures
from tests.support.places import ROOT
from tests.support.servers import missing

DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "deploy.md"
UNIT = DEPLOY / "editvec-worker@.service"
PROGRAM = "/opt/editvec/.venv/bin/editvec"

# Names that others than editvec read.
READ_BY_OTHERS = {
    "PGPASSWORD": "libpq",
    "CUDA_VISIBLE_DEVICES": "CUDA",
    "CUDA_CACHE_PATH": "CUDA",
    "OMP_NUM_THREADS": "PyTorch",
    "AWS_ACCESS_KEY_ID": "s3fs",
    "AWS_SECRET_ACCESS_KEY": "s3fs",
    "AWS_ENDPOINT_URL": "s3fs",
    "POSTGRES_USER": "the image of PostgreSQL",
    "POSTGRES_DB": "the image of PostgreSQL",
    "POSTGRES_PASSWORD": "the image of PostgreSQL",
    "REDISCLI_AUTH": "redis-cli",
}


# --- the page ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the shipped class, like a checkout."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "avatars").symlink_to(ROOT / "avatars")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def redis_database(redis_url: str) -> Iterator[str]:
    """An empty database of the test's own on this machine's Redis."""
    import redis

    for number in range(15, 0, -1):
        url = f"{redis_url.rpartition('/')[0]}/{number}"
        with redis.Redis.from_url(url) as client:
            # the database is taken by whoever writes its mark first
            if client.dbsize() == 0 and client.set("taken-by-a-test", 1, nx=True, ex=900):
                yield url
                client.flushdb()
                return
    pytest.fail("no database of Redis is empty")


@pytest.fixture
def replaced(postgresql_url: str, redis_database: str) -> Iterator[dict[str, str]]:
    """Names of the test's own for those of the page; what they name is dropped at the end."""
    import psycopg
    from psycopg import sql

    token = uuid.uuid4().hex[:12]
    names = {"faces": f"faces_{token}", "faces_restored": f"restored_{token}"}
    names["editor"] = f"editor_{token}"
    yield {**names, "redis://127.0.0.1:6379/7": redis_database}
    server = postgresql_url.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        for name in (names["faces"], names["faces_restored"]):
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))
        drop = sql.SQL("DROP ROLE IF EXISTS {}")
        connection.execute(drop.format(sql.Identifier(names["editor"])))


def require_true(needs: set[str], folder: Path, replaced: Mapping[str, str]) -> None:
    """Types the blocks that need no more than these services, in the order of the page."""
    words = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in replaced))
    blocks = []
    for block in blocks_of(PAGE):
        if block.needs in needs and block.language == "console":
            text = words.sub(lambda match: replaced[match[0]], "\n".join(block.lines))
            blocks.append(dataclasses.replace(block, lines=tuple(text.split("\n"))))
    shell = Shell(folder, dict(os.environ))
    try:
        found = failures(blocks, shell, {})
    finally:
        shell.type("kill $(jobs -p) 2>&-; wait")
        shell.close()
    if found:
        logs = [log.read_text() for log in folder.glob("*.log")]
        pytest.fail("\n\n".join([*found, *logs]), pytrace=False)


def test_every_block_is_of_a_language_and_service_that_is_run() -> None:
    blocks = blocks_of(PAGE)

    assert {block.language for block in blocks} <= set(LANGUAGES)
    assert {block.needs for block in blocks if block.language == "console"} == {"servers", "more"}


@pytest.mark.services
@pytest.mark.slow
def test_what_the_page_shows_is_what_happens(folder: Path, replaced: dict[str, str]) -> None:
    require_true({"servers"}, folder, replaced)


@pytest.mark.slow
@pytest.mark.services
def test_what_the_page_shows_of_rabbitmq_is_what_happens(
    folder: Path, replaced: dict[str, str], rabbitmq_url: str
) -> None:
    control = shutil.which("rabbitmqctl")
    if control is None:
        missing("rabbitmqctl")
    try:
        require_true({"servers", "more"}, folder, replaced)
    finally:
        for words in (("delete_vhost", replaced["faces"]), ("delete_user", replaced["editor"])):
            subprocess.run(
                [str(control), "--quiet", *words], check=False, stderr=subprocess.DEVNULL
            )


# --- what deploy/ starts ---


def names_read() -> set[str]:
    """The environment variables that the program reads."""
    found: set[str] = set()
    for folder in ("batch", "registry", "engine", "cuda_ext"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", path.read_text()))
    assert {"EDITVEC_HOME", "EDITVEC_BROKER_URL", "XDG_CACHE_HOME"} <= found
    return found


def require_command(words: Sequence[str]) -> None:
    """The command is there and has all options that are given to it."""
    command: click.Command = editvec.cli.cli
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        assert word in command.commands, f"no such command: {words}"
        command = command.commands[word]
    options = {option for parameter in command.params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= options | {"--help"}, words


@pytest.mark.parametrize("words", [["batch", "nothing"], ["nothing"], ["worker", "--nothing"]])
def test_a_command_that_is_not_there_is_noticed(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        require_command(words)


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]


def settings_of(path: Path) -> dict[str, str]:
    """The variables of an environment file, those too that are commented out."""
    pairs = [re.fullmatch(r"#?([A-Z_]+)=(.*)", line) for line in lines_of(path)]
    return {pair[1]: pair[2] for pair in pairs if pair}


def unit_values(key: str) -> list[str]:
    return [line.partition("=")[2] for line in lines_of(UNIT) if line.startswith(f"{key}=")]


def test_the_unit_starts_a_command_that_is_there() -> None:
    (line,) = unit_values("ExecStart")

    program, *words = shlex.split(line)

    assert program == PROGRAM
    require_command(words)


def test_what_the_unit_and_its_file_set_is_read() -> None:
    set_here = {value.partition("=")[0] for value in unit_values("Environment")}
    in_file = set(settings_of(DEPLOY / "editvec.env"))
    (line,) = unit_values("ExecStart")
    used = set(re.findall(r"\$\{(\w+)\}", line))

    assert used <= set_here, "a variable without a default"
    assert set_here | in_file <= names_read() | set(READ_BY_OTHERS) | used
    assert {"EDITVEC_DATABASE_URL", "EDITVEC_BROKER_URL", "EDITVEC_BLOB_URL"} <= in_file


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    # any program that is there, at a path without a space
    text = UNIT.read_text().replace(PROGRAM, "/bin/sh")
    assert text.count("/bin/sh ") == 1
    (tmp_path / UNIT.name).write_text(text)

    found = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / "editvec-worker@cpu.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_a_worker_has_more_time_to_stop_than_it_takes() -> None:
    from editvec.batch.chunks.stopping import STOP_SECONDS

    (seconds,) = unit_values("TimeoutStopSec")
    services = compose()["services"]

    assert int(seconds) >= 1.5 * STOP_SECONDS
    assert unit_values("KillMode") == ["mixed"], "the parent tells its child"
    for name in ("worker-cpu", "worker-gpu-0"):
        assert services[name]["stop_grace_period"] == "2m"


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def test_what_compose_starts_is_there_and_reads_what_is_set() -> None:
    ours = {name: one for name, one in compose()["services"].items() if one["image"] == "editvec"}

    assert set(ours) == {"migrate", "library", "worker-cpu", "worker-gpu-0", "editvec"}
    known = names_read() | set(READ_BY_OTHERS)
    for service in ours.values():
        require_command(service["command"])
        assert set(service["environment"]) <= known
        assert {"EDITVEC_DATABASE_URL", "EDITVEC_BROKER_URL"} <= set(service["environment"])
    for server in ("postgres", "redis"):
        assert set(compose()["services"][server]["environment"]) <= known


def test_compose_mounts_every_folder_that_it_declares() -> None:
    loaded = compose()
    mounts = [mount for one in loaded["services"].values() for mount in one.get("volumes", [])]
    sources = {mount.rpartition(":")[0] for mount in mounts}

    assert set(loaded["volumes"]) == {source for source in sources if not source.startswith("$")}
    assert any(source.startswith("${PICTURES") for source in sources)


def test_every_variable_of_compose_is_in_its_file() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))

    given = set(settings_of(DEPLOY / "compose.env"))

    assert asked <= given
    assert given - asked == {"COMPOSE_PROJECT_NAME"}


@pytest.mark.parametrize("profile", ["cpu", "gpu", "command"])
def test_docker_understands_the_compose_file(profile: str) -> None:
    words = ["--file", str(DEPLOY / "compose.yaml"), "--profile", profile, "config"]

    found = subprocess.run(
        [*compose_program(), *words],
        env={**os.environ, "POSTGRES_PASSWORD": "x", "REDIS_PASSWORD": "y", "PICTURES": "/p"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    assert "/opt/editvec/avatars/bundle" in found.stdout


def compose_program() -> list[str]:
    """Docker's own, or the older program of this name."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) is not None:
            answer = subprocess.run([*words, "version"], capture_output=True, check=False)
            if answer.returncode == 0:
                return words
    pytest.skip("no docker compose here")


def test_the_image_holds_all_packages_and_runs_as_nobody_in_particular() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    links = {path.name for path in (ROOT / "editvec").iterdir() if path.is_symlink()}
    taken = {line[1:] for line in lines_of(DEPLOY / "Dockerfile.dockerignore") if line[0] == "!"}
    instructions = [line.split() for line in lines_of(DEPLOY / "Dockerfile") if line[0].isupper()]
    users = [words[1] for words in instructions if words[0] == "USER"]

    assert {"editvec", *links} <= taken
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= taken
    assert all((ROOT / name).exists() for name in taken)
    assert users == ["editvec"]
    assert instructions[0][1].startswith("python:3.11")


def test_an_image_for_cpus_leaves_out_what_is_for_gpus_and_nothing_else() -> None:
    program = re.search(r"awk '(.+)' \\\n", (DEPLOY / "Dockerfile").read_text())
    assert program is not None
    listed = DEPLOY / "requirements.hashes.txt"
    kept = subprocess.run(
        ["awk", program[1], str(listed)], capture_output=True, text=True, check=True
    ).stdout

    def names(text: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))

    left_out = names(listed.read_text()) - names(kept)
    assert {"torch", "torchvision", "triton"} <= left_out
    assert all(one.startswith(("nvidia-", "cuda-", "torch", "triton")) for one in left_out)
    assert "torch-fidelity" in names(kept)
    assert kept.count("--hash=") > 500
