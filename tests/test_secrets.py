"""No command shows or stores a password of a URL: real commands, addresses where nobody answers."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

import editvec.cli
from editvec import masking
from editvec.batch.runs.leases import ItemResult, Leases
from editvec.batch.runs.owner import Owner
from editvec.batch.runs.planning import open_run
from editvec.batch.runs.store import Runs
from editvec.registry.blobs.local import LocalBlobStore
from editvec.registry.blobs.opening import open_blob_store
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from tests.support.folder_runs import request
from tests.support.servers import RedisServer, free_port
from tests.support.worker_processes import environment, start, worker

SECRET = "tulip-9f3c-bulb"
DATABASE, BROKER, BLOBS = "EDITVEC_DATABASE_URL", "EDITVEC_BROKER_URL", "EDITVEC_BLOB_URL"

# HERE is a port of this machine that nobody listens on.
DATABASES = [
    "postgresql://ada:SECRET@HERE/x",
    "postgresql+psycopg://SECRET:SECRET@HERE/x",
    "postgresql://ada:SECRET%2F@HERE/x",
    "postgresql://ada@HERE/x?password=SECRET",
    "postgresql://ada@HERE/x?sslpassword=SECRET&sslmode=require",
    "postgresql://ada@HERE/x?passwort=SECRET",
    "postgresql://ada:SECRET@127.0.0.1:port/x",
    "mysql://ada:SECRET@HERE/x",
    "postgresql://ada:SECRET@[::1/x",
    "ada:SECRET@HERE",
]
BROKERS = [
    "redis://:SECRET@HERE/0",
    "redis://ada:SECRET/@HERE/0",
    "rediss://ada:SECRET@HERE/0?ssl_cert_reqs=none",
    "rediss://HERE/0?ssl_cert_reqs=none&password=SECRET",
    "redis://HERE/0?password=SECRET",
    "rediss://HERE/0?ssl_cert_reqs=maybe&token=SECRET",
    "rediss://:SECRET@HERE/0?ssl_ca_certs=/nowhere",
    "amqp://ada:SECRET@HERE//",
    "amqps://ada:SECRET@HERE//",
    "amqp://ada@HERE//?sig=SECRET",
    "filesystem://ada:SECRET@host/x",
    "filesystem://host/x?password=SECRET",
    "sqs://KEY:SECRET@HERE",
    "redis://:SECRET@127.0.0.1:port/0",
    "redis://:SECRET@[::1/0",
    "redis://:SECRET℀@HERE/0",
]
STORES = [
    "s3://KEYOFADA:SECRET@bucket/x",
    "s3://KEYOFADA:SECRET/+@bucket/x",
    "s3://SECRET@bucket/x",
    "s3:/KEYOFADA:SECRET@bucket/x",
    "filecache::s3://KEYOFADA:SECRET@bucket/x",
    "ftp://ada:SECRET@HERE/x",
    "sftp://ada:SECRET@HERE/x",
    "smb://ada:SECRET@HERE/x",
    "webhdfs://ada:SECRET@HERE/x",
    "https://ada:SECRET@HERE/x",
    "https://SECRET@HERE/x",
    "http://HERE/x?sig=SECRET",
    "http://HERE/x?a=1&Password=SECRET",
    "http://HERE/x?X-Amz-Signature=SECRET&X-Amz-Credential=KEYOFADA",
    "nosuch://ada:SECRET@HERE/x",
    "http://ada:SECRET@[::1/x",
    "http://ada:SECRET℀@HERE/x",
]
TABLE = [
    *((DATABASE, url) for url in DATABASES),
    *((BROKER, url) for url in BROKERS),
    *((BLOBS, url) for url in STORES),
]
GENERATE = ["batch", "generate", "OUT", "--class", "tiny", "--count", "1"]
COMMANDS = {
    DATABASE: [["db", "upgrade"], ["db", "current"], ["--traceback", "registry", "list"]],
    BROKER: [
        ["worker", "--class", "tiny", "--device", "cpu", "--log-level", "DEBUG"],
        ["--traceback", *GENERATE, "--workers", "celery", "--detach"],
    ],
    BLOBS: [["db", "upgrade"], ["--traceback", "model", "add", "BUNDLE"], ["registry", "verify"]],
}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests gave is forgotten for the length of one."""
    monkeypatch.setattr(masking, "_known", masking._Known())


def require_no_secret(*folders: Path, told: str = "") -> None:
    """Neither a text nor a file, nor the name of a file, holds a secret."""
    for secret in (SECRET, "KEYOFADA"):
        assert secret not in told
        for folder in folders:
            for path in folder.rglob("*"):
                assert secret not in str(path)
                if path.is_file():
                    assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(("variable", "url"), TABLE)
def test_no_command_shows_a_secret(
    variable: str,
    url: str,
    home: Path,
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where a folder would be made that is named after it
    here = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv(variable, url.replace("SECRET", SECRET).replace("HERE", here))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{here}")
    replaced = {"OUT": str(tmp_path / "out"), "BUNDLE": str(tiny_bundle)}
    statuses = []
    for words in [["doctor"], *COMMANDS[variable]]:
        given = [replaced.get(word, word) for word in words]
        statuses.append(editvec.cli.main(["--home", str(home), *given]))

    shown = capfd.readouterr()
    told = shown.out + shown.err
    assert 1 in statuses, "nobody answers there"
    assert "editvec: error: " in shown.err
    assert "this is a bug" not in told
    require_no_secret(tmp_path, told=told)


@pytest.mark.parametrize(
    "url", ["s3://KEYOFADA:SECRET@bucket/x", "ftp://ada:SECRET@host/x", "https://host/x?sig=SECRET"]
)
@pytest.mark.parametrize("place", ["in", "out", "home", "masks", "export", "demo"])
def test_a_url_where_a_folder_belongs_makes_nothing_and_shows_nothing(
    place: str,
    url: str,
    home: Path,
    tmp_path: Path,
    make_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    given = url.replace("SECRET", SECRET)
    source, target = str(make_pictures(1)), str(tmp_path / "out")
    edit = ["--class", "tiny", "--edit", "smile=1"]
    optimize = ["--class", "tiny", "--mode", "optimize", "--masks"]
    words = {
        "in": ["--home", str(home), "batch", "run", given, target, *edit],
        "out": ["--home", str(home), "batch", "run", source, given, *edit],
        "masks": ["--home", str(home), "batch", "run", source, target, *optimize, given],
        "home": ["--home", given, "registry", "list"],
        "export": ["--home", str(home), "registry", "export", given, "tiny/smile"],
        "demo": ["--home", str(home), "demo", given],
    }[place]

    assert editvec.cli.main(words) in (1, 2)

    shown = capfd.readouterr()
    assert "rror: " in shown.err
    assert list(here.iterdir()) == []
    require_no_secret(tmp_path, told=shown.out + shown.err)


# --- what is stored ---


def raw_texts(url: str) -> str:
    """Every value of every row, as a program without our types reads them."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            tables = sqlalchemy.inspect(engine).get_table_names()
            return "\n".join(
                repr(tuple(row))
                for table in tables
                for row in connection.execute(sqlalchemy.text(f'SELECT * FROM "{table}"'))
            )
    finally:
        engine.dispose()


def test_reasons_of_runs_and_items_are_stored_without_secrets(
    library: Library, home: Path, tmp_path: Path, make_pictures: Callable[..., Path]
) -> None:
    told = f"ConnectionError: redis://:{SECRET}@host/0, https://host/x?sig={SECRET}"
    run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run
    runs, leases = Runs(library.engine), Leases(library.engine)
    lease = leases.claim(run.id, Owner.current())
    assert lease is not None
    item = ItemResult(position=0, recipe_position=0, state="failed", reason=told)
    leases.finish(lease, [item], {})
    runs.pause(run.id, told)

    shown = "ConnectionError: redis://:***@host/0, https://host/x?sig=***"
    assert runs.get(run.id).reason == shown
    stored = raw_texts(library.config.database_url)
    assert stored.count(shown) == 2
    require_no_secret(home, tmp_path / "out", told=stored)


def test_a_reason_that_an_earlier_release_stored_is_read_without_its_secret(
    library: Library, tmp_path: Path, make_pictures: Callable[..., Path]
) -> None:
    run = open_run(library, request(make_pictures(1), tmp_path / "out", "smile=1")).run
    with library.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE runs SET reason = :told"),
            {"told": f"redis://:{SECRET}@host/0"},
        )

    assert Runs(library.engine).get(run.id).reason == "redis://:***@host/0"


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_the_note_of_a_library_in_its_blob_store_shows_no_secret(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    folder.mkdir()
    place = str(folder) if kind == "folder" else f"local://{folder}"
    (folder / "libraries").mkdir()
    # of an earlier release
    (folder / "libraries" / "ab12").write_text(f"postgresql://h/x?sslpassword={SECRET}\n")

    for identity in ("ab12", "cd34"):
        open_blob_store(place).add_library(identity, f"postgresql://h/x?sslpassword={SECRET}")

    notes = LocalBlobStore(folder).libraries()
    assert notes == dict.fromkeys(("ab12", "cd34"), "postgresql://h/x?sslpassword=***")
    require_no_secret(tmp_path)


def test_no_representation_of_a_setting_shows_its_secret(tmp_path: Path) -> None:
    from editvec.batch.workers.broker import parse_broker_url

    config = RegistryConfig(
        home=tmp_path, database_url=f"postgresql://a:{SECRET}@h/x", blob_url=f"s3://{SECRET}@b"
    )

    assert SECRET not in repr(config) + repr(parse_broker_url(f"redis://:{SECRET}@h/0"))


@pytest.fixture
def closed_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own that asks for the password."""
    server = RedisServer(tmp_path / "redis", password=SECRET)
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
@pytest.mark.services
def test_workers_runs_and_reports_of_servers_with_passwords_show_none(
    closed_redis: RedisServer, postgresql_url: str, home: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    # the server trusts this machine, and reads neither
    parameters = f"?sslpassword={SECRET}"
    database = postgresql_url.replace("postgres@", f"postgres:{SECRET}@") + parameters
    told = [
        _output(start(home, *words, broker=closed_redis.url, database=database))
        for words in (["db", "upgrade"], ["model", "add", str(tiny_bundle)], ["doctor"])
    ]
    log = home / "worker.log"
    debugging = (
        "import sys; from editvec.cli import main; "
        "sys.exit(main([*sys.argv[1:], '--log-level', 'DEBUG']))"
    )
    with worker(home, closed_redis.url, database=database, program=debugging) as process:
        _wait_for(log, "serving tiny@1")
        generate = ("batch", "generate", tmp_path / "out", "--class", "tiny", "--count", "2")
        command = start(
            home, *generate, "--workers", "celery", broker=closed_redis.url, database=database
        )
        told.append(_output(command))
        closed_redis.kill()
        _wait_for(log, "Trying again")
        closed_redis.start()
        _wait_for(log, "Connected to", times=2)
        assert process.poll() is None
    assert environment(closed_redis.url)[BROKER].count(SECRET) == 1

    assert "completed: 2 items, 2 done" in told[-1]
    assert "postgres:***@" in told[2]
    assert ":***@127.0.0.1" in log.read_text()
    notes = [path.read_text() for path in (home / "blobs" / "libraries").iterdir()]
    assert any("sslpassword=***" in note for note in notes)
    assert (tmp_path / "out" / "report.html").exists()
    rows = raw_texts(postgresql_url)
    assert '"tiny' in rows or "'tiny" in rows
    require_no_secret(tmp_path, told="\n".join([*told, rows, log.read_text()]))


def _output(process: subprocess.Popen[str]) -> str:
    return "".join(process.communicate(timeout=120))


def _wait_for(log: Path, words: str, *, times: int = 1) -> None:
    deadline = time.monotonic() + 90
    while log.read_text().count(words) < times:
        assert time.monotonic() < deadline, json.dumps(log.read_text()[-3000:])
        time.sleep(0.1)
