"""Names that are none: of vectors, aliases, tags, classes, parts and metrics.

Each is refused in one line, through Python and through the commands, and nothing changes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.registry.addresses import MAX_NAME_LENGTH
from editvec.registry.entities.metrics import NewMetric
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.entities.vectors import NewTerm
from editvec.registry.errors import (
    BundleFormatError,
    ConflictError,
    InvalidNameError,
    LabelNotFoundError,
    RegistryError,
)
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import Failure, Run, contents, new_vector, random_delta

BAD_NAMES = [
    "../smile",
    "..",
    ".hidden",
    "/etc/passwd",
    "a/b/c",
    "smi le",
    "smile\n",
    "smile\t",
    "'smile'",
    'smile"',
    "smile;drop",
    "smile%",
    "smile*",
    "smile\\",
    "ѕmile",  # begins with a Cyrillic letter
    "smilе",  # ends with one
    "ｓmile",  # begins with a wide letter
    "smile\u200b",
    "smilé",
    "sm\u202eile",
    "\udcff",
    "a" * 300,
    "_smile",
]
IMPOSSIBLE_IN_A_SHELL = ["", "smile\0"]

Change = Callable[[Library, str], Any]

VECTOR_NAMES: dict[str, Change] = {
    "add": lambda library, name: library.add_vector(new_vector(name), random_delta(7)),
    "compose": lambda library, name: library.compose(name, [NewTerm(address="smile", scale=2)]),
    "term": lambda library, name: library.compose("mix", [NewTerm(address=name, scale=2)]),
    "get": lambda library, name: library.get_vector(name),
    "set alias": lambda library, name: library.set_alias(name, "fresh"),
    "remove alias": lambda library, name: library.remove_alias(name, "stable"),
    "retire": lambda library, name: library.retire(name, reason="wrong"),
    "restore": lambda library, name: library.restore(name),
    "tag": lambda library, name: library.tag(name, add=["mood"]),
    "history": lambda library, name: library.history(name),
    "dependents": lambda library, name: library.dependents(name),
}
OTHER_NAMES: dict[str, Change] = {
    "alias": lambda library, name: library.set_alias("smile", name),
    "alias to remove": lambda library, name: library.remove_alias("smile", name),
    "tag": lambda library, name: library.tag("smile", add=[name]),
    "tag to remove": lambda library, name: library.tag("smile", remove=[name]),
    "tag of a new vector": lambda library, name: library.add_vector(
        new_vector(tags=(name,)), random_delta(7)
    ),
    "class": lambda library, name: library.get_class(name),
    "class of a new vector": lambda library, name: library.add_vector(
        new_vector(class_name=name), random_delta(7)
    ),
    "class of a listing": lambda library, name: library.find_vectors(VectorQuery(class_name=name)),
    "metric": lambda library, name: library.add_metrics("smile", [NewMetric(name=name, value=1)]),
}


COMMANDS = [
    ("registry", "show", "{}"),
    ("registry", "show", "smile@{}"),
    ("registry", "alias", "{}", "stable"),
    ("registry", "alias", "smile", "{}"),
    ("registry", "unalias", "smile", "{}"),
    ("registry", "retire", "{}", "--reason", "x"),
    ("registry", "restore", "{}"),
    ("registry", "tag", "smile", "--add", "{}"),
    ("registry", "tag", "smile", "--remove", "{}"),
    ("registry", "history", "{}"),
    ("registry", "list", "--class", "{}"),
    ("registry", "compose", "{}", "--term", "smile=1"),
    ("registry", "add", "{file}", "--roi", "mouth", "--name", "{}"),
    ("registry", "add", "{file}", "--roi", "mouth", "--tag", "{}"),
    ("registry", "add", "{file}", "--roi", "{}"),
    ("model", "show", "{}"),
]


@pytest.fixture
def stocked(sqlite_library: Library) -> Library:
    sqlite_library.add_vector(new_vector(), random_delta())
    sqlite_library.set_alias("smile", "stable")
    return sqlite_library


def refusal(library: Library, change: Change, name: str) -> str:
    """The one line that refuses a change; nothing of the library is different afterwards."""
    before = contents(library)
    with pytest.raises(RegistryError) as caught:
        change(library, name)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 300
    assert contents(library) == before
    return line


def test_bad_vector_name_is_refused_and_nothing_changes(stocked: Library) -> None:
    for name in BAD_NAMES + IMPOSSIBLE_IN_A_SHELL:
        for what, change in VECTOR_NAMES.items():
            assert "expected a letter" in refusal(stocked, change, name), (what, name)


def test_any_other_bad_name_is_refused_and_nothing_changes(stocked: Library) -> None:
    for name in BAD_NAMES + IMPOSSIBLE_IN_A_SHELL:
        for what, change in OTHER_NAMES.items():
            line = refusal(stocked, change, name)
            assert line.startswith(what.split()[0]), (what, name)
            assert "expected a letter" in line, (what, name)


def test_bad_alias_in_an_address_is_refused(stocked: Library) -> None:
    for name in BAD_NAMES + IMPOSSIBLE_IN_A_SHELL:
        refusal(stocked, lambda library, alias: library.get_vector(f"smile@{alias}"), name)


def test_unknown_part_is_refused_and_nothing_changes(stocked: Library) -> None:
    def add(library: Library, part: str) -> object:
        return library.add_vector(new_vector(roi_labels=(part,)), random_delta(7))

    def find(library: Library, part: str) -> object:
        return library.find_vectors(VectorQuery(roi_labels=(part,)))

    for name in BAD_NAMES + IMPOSSIBLE_IN_A_SHELL:
        assert "has no part" in refusal(stocked, add, name), name
        assert "no class has part" in refusal(stocked, find, name), name


def test_bundle_of_a_class_with_a_bad_name_is_refused(
    stocked: Library, make_bundle: Callable[..., Path]
) -> None:
    before = contents(stocked)

    for place, name in enumerate(BAD_NAMES):
        folder = make_bundle(f"other {place}", name=name)
        with pytest.raises(BundleFormatError, match="expected a letter or digit"):
            stocked.add_bundle(folder)

    assert contents(stocked) == before


def test_longest_names_fit(library: Library) -> None:
    longest = "n" * MAX_NAME_LENGTH

    added = library.add_vector(new_vector(longest, tags=(longest,)), random_delta())
    library.set_alias(longest, longest)

    assert library.get_vector(f"avatars/{longest}@{longest}").address == added.address
    with pytest.raises(InvalidNameError):
        library.set_alias(longest, f"{longest}n")


def test_names_that_differ_in_case_only_are_different(library: Library) -> None:
    small = library.add_vector(new_vector("smile", tags=("mood",)), random_delta(0))
    large = library.add_vector(new_vector("Smile", tags=("Mood",)), random_delta(1))
    library.set_alias("smile", "stable")
    library.set_alias("Smile", "Stable")

    assert library.get_vector("smile@stable").address == small.address
    assert library.get_vector("Smile@Stable").address == large.address
    for address in ("smile@Stable", "Smile@stable", "SMILE"):
        with pytest.raises(LookupError):
            library.get_vector(address)
    found = library.find_vectors(VectorQuery(tags=("Mood",)))
    assert [vector.address for vector in found] == [large.address]


def test_silent_no_op_is_impossible_when_the_name_exists(library: Library) -> None:
    first = library.add_vector(new_vector(), random_delta(0))

    same = library.add_vector(new_vector(description="told anew"), random_delta(0))
    other = library.add_vector(new_vector(), random_delta(1))

    assert (first.version, same.version, other.version) == (1, 1, 2)
    with pytest.raises(ConflictError, match=r"avatars/smile@1: that version holds other content"):
        library.add_vector(new_vector(version=1), random_delta(2))
    assert (library.delta(library.get_vector("smile@1")) == random_delta(0)).all()


def test_equal_content_answers_with_its_version_though_that_is_retired(library: Library) -> None:
    library.add_vector(new_vector(), random_delta(0))
    library.retire("smile@1", reason="wrong")

    again = library.add_vector(new_vector(), random_delta(0))

    assert again.version == 1
    assert again.is_retired


def test_commands_refuse_bad_names_in_one_line(filled: Run, vector_file: Path) -> None:
    before = filled("registry", "history", "--json")

    for words in COMMANDS:
        for name in BAD_NAMES:
            given = [word.replace("{}", name).replace("{file}", str(vector_file)) for word in words]
            with pytest.raises(Failure) as caught:
                filled(*given)
            error = str(caught.value)
            assert error.startswith("1: editvec: error: "), given
            assert error.strip().count("\n") == 0, given
            assert error.strip().isprintable(), given

    assert filled("registry", "history", "--json") == before


def test_missing_part_is_named(stocked: Library) -> None:
    with pytest.raises(LabelNotFoundError, match=r"has no part 'a{60}'\.\.\. \(300 characters\)"):
        stocked.add_vector(new_vector(roi_labels=("a" * 300,)), random_delta())
