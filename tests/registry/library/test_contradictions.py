"""What contradicts itself, or would replace what is not ours, is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from editvec.outputs import OutputError
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.vectors import NewTerm
from editvec.registry.errors import RecordError
from editvec.registry.library.library import Library
from editvec.registry.maintenance.garbage import gc
from editvec.registry.maintenance.verification import verify
from editvec.registry.sharing.annotations import export_vector
from editvec.registry.sharing.exchange import export_library
from editvec.registry.tables.database import transaction
from editvec.registry.tables.models import VectorRow
from tests.support.registry_fixtures import contents, new_vector, random_delta


def test_a_text_is_not_taken_for_several_tags(library: Library) -> None:
    with pytest.raises(RecordError, match="tags: expected several names, got the text 'abc'"):
        library.add_vector(new_vector(tags="abc"), random_delta())
    library.add_vector(new_vector(), random_delta())
    before = contents(library)

    with pytest.raises(RecordError, match="add: expected several names"):
        library.tag("smile", add="abc")

    assert contents(library) == before


@pytest.mark.parametrize("scale", [-1.5, 5.0])
def test_a_default_scale_outside_of_its_own_range_is_refused(
    sqlite_library: Library, scale: float
) -> None:
    new = new_vector(default_scale=scale, scale_min=-1.0, scale_max=1.0)

    with pytest.raises(RecordError, match=r"outside of its usable range, -1\.0 to 1\.0"):
        sqlite_library.add_vector(new, random_delta())


@pytest.mark.parametrize("name", ["mine.zip", "mine.safetensors"])
def test_an_export_replaces_its_own_files_only(
    sqlite_library: Library, tmp_path: Path, name: str
) -> None:
    sqlite_library.add_vector(new_vector(), random_delta())
    path = tmp_path / name
    path.write_bytes(b"a thesis")

    def export() -> None:
        if name.endswith(".zip"):
            export_library(sqlite_library, path, ["smile"])
        else:
            export_vector(sqlite_library, path, "smile")

    with pytest.raises(OutputError, match="choose another name"):
        export()
    assert path.read_bytes() == b"a thesis"

    path.unlink()
    export()
    written = path.read_bytes()
    export()
    assert path.read_bytes() == written


def test_gc_of_a_library_without_anything_has_nothing_to_do(config: RegistryConfig) -> None:
    with Library.open(config) as library:
        report = gc(library)

    assert report.blobs == ()


def test_verify_finds_a_composition_that_is_not_its_sum(library: Library) -> None:
    library.add_vector(new_vector("a"), random_delta(1))
    library.add_vector(new_vector("b"), random_delta(2))
    wrong = library.add_vector(new_vector("wrong"), random_delta(3))
    composed = library.compose(
        "c", [NewTerm(address="a", scale=1.0), NewTerm(address="b", scale=2.0)]
    )
    assert verify(library).is_clean

    with transaction(library.engine) as session:
        session.execute(
            update(VectorRow)
            .where(VectorRow.id == composed.id)
            .values(delta_digest=wrong.delta_digest)
        )

    texts = {(fault.subject, fault.text) for fault in verify(library).faults}
    assert (composed.address, "its delta is not the sum of its terms") in texts
    assert not np.array_equal(library.delta(library.get_vector("c")), library.delta(composed))
