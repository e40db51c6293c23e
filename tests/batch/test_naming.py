import random
import unicodedata
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editvec.batch.naming import IMAGE_SUFFIXES, MAX_COMPONENT_BYTES, folded_name, output_names

COMPONENT = st.binary(min_size=1, max_size=260).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
PATH = st.lists(COMPONENT, min_size=1, max_size=3).map(b"/".join)


def test_a_lonely_file_keeps_its_name_and_its_folder() -> None:
    assert output_names([b"b/a.jpg", b"b.c.png"]) == ["b/a", "b.c"]


def test_files_that_differ_by_suffix_get_different_names() -> None:
    assert output_names([b"a.jpg", b"a.png", b"a.gif"]) == ["a~jpg", "a~png", "a~gif"]


@pytest.mark.parametrize("third", ["a~png.gif", "A~PNG.gif", "a~jpg.gif"])
def test_a_file_that_is_called_like_the_name_of_another_keeps_its_own(third: str) -> None:
    names = output_names([b"a.png", b"a.jpg", third.encode()])

    assert names[2] == third.removesuffix(".gif")
    assert len({name.casefold() for name in names}) == 3


def test_a_file_that_is_called_like_a_digest_does_not_take_the_place_of_another() -> None:
    paths = [b"a.png", b"a.jpg", b"a~png.gif"]
    chosen = f"{output_names(paths)[0]}.bmp".encode()

    names = output_names([*paths, chosen])

    assert names[3] == chosen.removesuffix(b".bmp").decode()
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A.png", "a.png"),
        ("Dir/x.png", "dir/x.png"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("CAF\u00c9/x.png", "cafe\u0301/x.png"),
        ("stra\u00dfe.png", "STRASSE.png"),
        ("\u0131.png", "I.png"),
        ("a/b.png", "a/B.jpg"),
    ],
)
def test_names_that_are_one_on_another_disk_stay_apart(one: str, other: str) -> None:
    first, second = (
        unicodedata.normalize("NFC", name).upper().casefold()
        for name in output_names([one.encode(), other.encode()])
    )

    assert first != second


def test_a_file_does_not_take_the_place_of_a_folder_in_other_letters() -> None:
    names = output_names([b"a.jpg", b"A.PNG/b.jpg"])

    assert f"{names[0]}.png".lower() != "a.png"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("CON.png", "%43ON"),
        ("nul.tar.png", "%6Eul.tar"),
        ("lpt1/com\u00b9.png", "%6Cpt1/%63om\u00b9"),
        ("a:b.png", "a%3Ab"),
        ('x?<>|"*.png', "x%3F%3C%3E%7C%22%2A"),
        ("dir./blank /x.png", "dir%2E/blank%20/x"),
        ("dot..png", "dot%2E"),
        ("blank .png", "blank%20"),
        ("evil\u202egnp.png", "evil%E2%80%AEgnp"),
        ("csi\x9b2J.png", "csi%C2%9B2J"),
    ],
)
def test_what_a_system_refuses_is_escaped(path: str, name: str) -> None:
    assert output_names([path.encode()]) == [name]
    assert urllib.parse.unquote(name) == path.removesuffix(".png")


@pytest.mark.parametrize(
    "name",
    [
        "console",
        "con-1",
        "com",
        "com10",
        "a b",
        "100%",
        "~a",
        "café",
        "café",
        "می\u200cخواهم",
        "👨\u200d👩",
        "写真\u3000一",
        "x@y+z,#1 (2)",
    ],
)
def test_a_portable_name_is_kept(name: str) -> None:
    assert output_names([f"{name}/{name}.png".encode()]) == [f"{name}/{name}"]


def test_no_control_or_direction_character_is_left() -> None:
    for code in (*range(0xD800), *range(0xE000, 0x110000)):
        letter = chr(code)
        is_kind = unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")
        if is_kind and letter not in "\0\u200c\u200d":
            assert letter not in output_names([f"x{letter}y.png".encode()])[0], hex(code)


def test_every_letter_is_one_with_its_other_case_and_spelling() -> None:
    for code in (*range(0xD800), *range(0xE000, 0x110000)):
        letter = chr(code)
        spelt = {unicodedata.normalize(form, letter) for form in ("NFC", "NFD")}
        cases = {letter.upper(), letter.lower(), letter.casefold(), letter.title()}
        for other in (spelt | cases) - {letter}:
            assert folded_name(letter) == folded_name(other), hex(code)


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
    assert len({name.casefold() for name in named.values()}) == len(paths)
    files = {name + suffix for name in named.values() for suffix in IMAGE_SUFFIXES.values()}
    for name in files:
        components = name.split("/")
        assert all(0 < len(c.encode()) <= 255 and c not in (".", "..") for c in components)
        folders = {"/".join(components[:end]) for end in range(1, len(components))}
        assert not folders & files
