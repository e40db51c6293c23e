import re

from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.sinks.shards import next_version, record_name, sample_key

NAMES = st.text(min_size=1, max_size=400)


@given(st.sets(st.tuples(NAMES, NAMES), max_size=20))
def test_keys_are_short_plain_and_different(items: set[tuple[str, str]]) -> None:
    keys = {sample_key(recipe, name) for recipe, name in items}

    assert len(keys) == len(items)
    for key in keys:
        assert re.fullmatch(r"[0-9A-Za-z_-]{1,90}", key)


def test_names_that_are_alike_when_they_are_escaped_stay_apart() -> None:
    names = ["a b", "a.b", "a/b", "a_b", "ä/b", "a_" * 150 + "b", "b" * 300]

    keys = {sample_key(recipe, name) for name in names for recipe in ("s+1.0", "s+1_0")}

    assert len(keys) == 2 * len(names)
    assert all(len(f"{key}.mask.png") <= 100 for key in keys)


def test_a_key_ends_with_what_tells_files_of_one_folder_apart() -> None:
    key = sample_key("smile+1.00", "a/very/long/folder/name/that/fills/the/key/photo-17")

    assert "photo-17".replace("-", "_") in key
    assert "smile_1_00" in key


def test_a_record_lies_beside_its_image() -> None:
    assert record_name("shards/000001.tar/key.png") == "shards/000001.tar/key.json"
    assert record_name("key.mask.png") == "key.json"


def test_versions_of_a_shard_are_counted() -> None:
    assert next_version("000012", set()) == "000012"
    assert next_version("000012", {"000012", "000012-2"}) == "000012-3"
    assert next_version("000012", {"000012-2"}) == "000012"
