import random

from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.naming import IMAGE_SUFFIXES, MAX_COMPONENT_BYTES, output_names

COMPONENT = st.binary(min_size=1, max_size=260).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
PATH = st.lists(COMPONENT, min_size=1, max_size=3).map(b"/".join)


def test_a_lonely_file_keeps_its_name_and_its_folder() -> None:
    assert output_names([b"b/a.jpg", b"b.c.png"]) == ["b/a", "b.c"]


def test_files_that_differ_by_suffix_get_different_names() -> None:
    assert output_names([b"a.jpg", b"a.png", b"a.PNG"]) == ["a~jpg", "a~png", "a~PNG"]


def test_a_file_named_like_an_escaped_one_does_not_collide() -> None:
    names = output_names([b"a.jpg", b"a.png", b"a~jpg.png", b"a~jpg.gif"])

    assert len(set(names)) == 4


def test_a_file_does_not_take_the_place_of_a_folder() -> None:
    for suffix in IMAGE_SUFFIXES.values():
        names = output_names([b"a.jpg", f"a{suffix}/b.jpg".encode()])

        assert names[0] + suffix != f"a{suffix}"


def test_bytes_that_are_no_utf8_and_control_characters_are_escaped() -> None:
    assert output_names([b"caf\xe9.png", b"new\nline.png", "grüße😀.png".encode()]) == [
        "caf%E9",
        "new%0Aline",
        "grüße😀",
    ]


def test_an_escaped_name_differs_from_the_file_that_is_called_so() -> None:
    assert len(set(output_names([b"caf\xe9.png", b"caf%E9.png"]))) == 2


def test_long_names_are_cut_and_stay_apart() -> None:
    names = output_names([b"x" * 251 + b"1.png", b"x" * 251 + b"2.png"])

    assert len(set(names)) == 2
    assert all(len(name.encode()) <= MAX_COMPONENT_BYTES for name in names)


@given(st.lists(PATH, unique=True, max_size=30), st.randoms())
def test_names_are_unique_writable_and_do_not_depend_on_the_order(
    paths: list[bytes], shuffler: random.Random
) -> None:
    named = dict(zip(paths, output_names(paths), strict=True))
    shuffled = list(paths)
    shuffler.shuffle(shuffled)

    assert dict(zip(shuffled, output_names(shuffled), strict=True)) == named
    assert len(set(named.values())) == len(paths)
    files = {name + suffix for name in named.values() for suffix in IMAGE_SUFFIXES.values()}
    for name in files:
        components = name.split("/")
        assert all(0 < len(c.encode()) <= 255 and c not in (".", "..") for c in components)
        folders = {"/".join(components[:end]) for end in range(1, len(components))}
        assert not folders & files
