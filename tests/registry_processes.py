"""What the processes of the tests of the library do: importable without pytest."""

from sqlalchemy import inspect, select, update

from registry.config import RegistryConfig
from registry.database import open_engine, transaction
from registry.models import HistoryRow
from registry.store import Library
from tests.registry_fixtures import new_vector, random_delta


def add_vector(config: RegistryConfig, seed: int) -> int:
    """Adds a vector of its own delta under one name; returns the version that it got."""
    with Library.open(config) as library:
        return library.add_vector(new_vector("raced"), random_delta(seed)).version


def count_tables(config: RegistryConfig) -> int:
    """Opens a library for the first time; returns how many tables it has."""
    with Library.open(config) as library:
        return len(inspect(library.engine).get_table_names())


def claim_until_none_is_left(url: str, name: str) -> int:
    """What a worker does: claims 16 rows at a time by an UPDATE, one transaction each."""
    engine = open_engine(url)
    claimed = 0
    while True:
        with transaction(engine) as session:
            free = select(HistoryRow.id).where(HistoryRow.by == "").limit(16)
            ids = list(session.scalars(free))
            if not ids:
                break
            changed = session.execute(
                update(HistoryRow)
                .where(HistoryRow.id.in_(ids), HistoryRow.by == "")
                .values(by=name)
                .returning(HistoryRow.id)
            )
            claimed += len(changed.all())
    engine.dispose()
    return claimed
