"""Is the database at head? What is done about it, and what is said."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from editvec.registry.config import RegistryConfig
from editvec.registry.errors import ConfigError, DatabaseError, SchemaError
from editvec.registry.library.library import Library
from editvec.registry.tables.database import open_engine, transaction
from editvec.registry.tables.schema import current, ensure_current, known_revisions, upgrade

HEAD = known_revisions()[-1]


def _named(tmp_path: Path, url: str) -> RegistryConfig:
    return RegistryConfig(home=tmp_path, database_url=url, blob_url=str(tmp_path / "blobs"))


def _set_revision(config: RegistryConfig, revision: str) -> None:
    engine = open_engine(config.database_url)
    with transaction(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    engine.dispose()


def test_home_database_is_created_on_first_use(tmp_path: Path) -> None:
    config = RegistryConfig.for_home(tmp_path / "new" / "home with space")
    assert current(config).revision is None
    assert not config.home.exists()

    ensure_current(config)

    assert current(config).is_current


def test_current_database_is_opened_without_alembic(tmp_path: Path) -> None:
    ensure_current(RegistryConfig.for_home(tmp_path))
    program = (
        "import sys; from pathlib import Path; from editvec.registry.config import RegistryConfig\n"
        "from editvec.registry.library.library import Library\n"
        "Library.open(RegistryConfig.for_home(Path(sys.argv[1]))).classes()\n"
        "print(*sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert not {"alembic", "PIL.ImageQt", "torch", "celery", "fsspec"} & set(done.stdout.split())


def test_named_database_waits_for_the_upgrade_command(tmp_path: Path) -> None:
    config = _named(tmp_path, f"sqlite:///{tmp_path}/team.db")

    with pytest.raises(SchemaError, match="does not exist; `editvec db upgrade` creates it"):
        Library.open(config)
    assert not (tmp_path / "team.db").exists()

    before = upgrade(config)

    assert before.revision is None
    assert current(config).is_current
    Library.open(config).close()


@pytest.mark.services
def test_named_postgresql_waits_for_the_upgrade_command(
    tmp_path: Path, postgresql_url: str
) -> None:
    config = _named(tmp_path, postgresql_url)

    with pytest.raises(SchemaError, match=r"no tables yet .*run `editvec db upgrade`"):
        Library.open(config)

    upgrade(config)
    Library.open(config).close()


def test_database_of_a_later_release_is_refused(tmp_path: Path) -> None:
    config = RegistryConfig.for_home(tmp_path)
    upgrade(config)
    _set_revision(config, "9999")

    for refused in (ensure_current, upgrade):
        with pytest.raises(SchemaError, match=f"revision 9999 is newer than this program.*{HEAD}"):
            refused(config)

    assert current(config).revision == "9999"


def test_upgrading_twice_changes_nothing(config: RegistryConfig) -> None:
    upgrade(config)

    assert upgrade(config).is_current


def test_unreachable_database_is_one_line(tmp_path: Path) -> None:
    config = _named(tmp_path, "postgresql://ada@127.0.0.1:1/x")

    for failing in (current, upgrade, Library.open):
        with pytest.raises(DatabaseError, match="refused") as caught:
            failing(config)
        assert "\n" not in str(caught.value)


def test_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ConfigError, match=r"home folder .*Not a directory"):
        Library.open(RegistryConfig.for_home(tmp_path / "file" / "home"))
