"""YAML: refusals name the line, and aliases cannot make much of little."""

import pytest

from editvec.registry import yaml_reading
from editvec.registry.errors import RecordError
from editvec.registry.yaml_reading import NodeReader, read_nodes


def test_an_empty_text_has_no_nodes() -> None:
    assert read_nodes("", of="x", error=RecordError) is None
    assert read_nodes("# nothing\n", of="x", error=RecordError) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1\n", r"^x, line 3: not YAML \("),
        ("a: *b\n", r"^x, line 1: not YAML \(found undefined alias"),
        ("a: \x00\n", r"^x: not YAML \("),
        ('a: "\\U00110000"\n', r"^x: not YAML \("),
        ("[" * 5000, r"^x: not YAML \("),
    ],
)
def test_what_is_no_yaml_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        read_nodes(text, of="x", error=RecordError)

    assert "\n" not in str(caught.value)


def test_aliases_stand_for_as_many_values_as_the_limit_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the root, two keys, and twice a list of three: 1 + 2 + 2 * 4 nodes
    text = "a: &list [1, 2, 3]\nb: *list\n"

    monkeypatch.setattr(yaml_reading, "MAX_ALIASED_NODES", 11)
    assert read_nodes(text, of="x", error=RecordError) is not None
    monkeypatch.setattr(yaml_reading, "MAX_ALIASED_NODES", 10)
    with pytest.raises(RecordError, match=r"stand for 11 values; expected at most 10"):
        read_nodes(text, of="x", error=RecordError)
    # what is written out has no limit
    assert read_nodes(text.replace("*list", "[1, 2, 3]"), of="x", error=RecordError) is not None


def test_few_lines_that_mean_billions_are_refused_and_so_is_what_holds_itself() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]")

    with pytest.raises(RecordError, match=r"its aliases .* stand for [0-9,]{13} values"):
        read_nodes("\n".join(lines), of="x", error=RecordError)
    for text in ("a: &a [1, *a]\n", "&a {b: *a}\n"):
        with pytest.raises(RecordError, match=r"^x, line 1: an alias holds itself"):
            read_nodes(text, of="x", error=RecordError)


def _pairs(text: str, allowed: tuple[str, ...] | None = None) -> list[str]:
    node = read_nodes(text, of="x", error=RecordError)
    assert node is not None
    return [name for name, _ in NodeReader("x", RecordError)._fields(node, allowed)]


def test_fields_are_given_once_and_mean_something() -> None:
    assert _pairs("b: 1\na: 2\n") == ["b", "a"]
    assert _pairs("b: 1\n", ("a", "b")) == ["b"]
    for text, allowed, message in (
        ("a: 1\nb: 2\na: 3\n", None, "line 3: 'a' is given twice"),
        ("a: 1\nc: 2\n", ("a", "b"), "line 2: expected one of a, b, got 'c'"),
        ("- a\n", None, "line 1: expected `name: value` pairs"),
        ("a: 1\n? [b]\n: 2\n", None, "line 2: key: expected one value"),
        ("a: 1\n' ': 2\n", None, "line 2: key: expected one value"),
    ):
        with pytest.raises(RecordError, match=f"^x, {message}"):
            _pairs(text, allowed)
