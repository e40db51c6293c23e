"""Label schemes: what a file may say, and the line that a refusal names."""

import json
from pathlib import Path

import pytest

from editvec.registry.errors import LabelNotFoundError, SchemeError
from editvec.registry.labels.files import parse_scheme, read_scheme
from editvec.registry.labels.label import IGNORED, VOID_COLOR, Label, chosen_color, expand_parts
from editvec.registry.labels.scheme import LabelScheme, Spelling, Split

FULL = """\
name: faces
description: For tests.
source: nobody
parts:
  - background
  - {name: skin, color: "#ffcda0"}
  - name: eye_left
    color: [10, 20, 30]
    also: ["Left Eye", "#00ff00", 200, "201"]
  - {name: eye_right, index: 3}
  - {name: tire, value: 90}
  - spoke
groups:
  wheel: [tire, spoke]
  most: [wheel, eye, skin]
splits:
  eye: {left: eye_left, right: eye_right, color: "#112233", value: 77}
resolution: 512
rectangle: [64, 0, 448, 512]
"""


def test_file_says_parts_groups_splits_and_spellings() -> None:
    scheme = parse_scheme(FULL)

    assert scheme.label_names == (
        "background", "skin", "eye_left", "eye_right", "tire", "spoke",
    )  # fmt: skip
    assert scheme.labels[1].color == (255, 205, 160)
    assert scheme.labels[2].color == (10, 20, 30)
    assert scheme.spellings["eye_left"] == Spelling(("Left Eye", "201"), ((0, 255, 0),), (2, 200))
    assert scheme.splits == (Split("eye", "eye_left", "eye_right", 1),)
    values = {0: 0, 1: 1, 2: 2, 200: 2, 3: 3, 90: 4, 5: 5, 77: 6}
    assert scheme.index_of_value == values | {255: IGNORED}
    assert scheme.index_of_color[0x11, 0x22, 0x33] == 6
    assert scheme.index_of_name["left_eye"] == 2
    assert (scheme.name, scheme.source, scheme.resolution) == ("faces", "nobody", 512)
    assert scheme.rectangle == (64, 0, 448, 512)


RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)


@pytest.mark.parametrize(
    ("spellings", "known"),
    [
        ({}, {GREY: 0, RED: 1, GREEN: 2}),
        ({"eye": Spelling(colors=(BLUE,))}, {GREY: 0, RED: 1, GREEN: 2, BLUE: 3}),
        ({"eye": Spelling(colors=(RED,))}, {GREY: 0, GREEN: 2}),
        ({"eye": Spelling(colors=(RED, BLUE))}, {GREY: 0, GREEN: 2, BLUE: 3}),
        (
            {"left": Spelling(colors=(BLUE,)), "eye": Spelling(colors=(BLUE,))},
            {GREY: 0, RED: 1, GREEN: 2},
        ),
        (
            {"eye": Spelling(colors=(BLUE,)), "lid": Spelling(colors=(BLUE,))},
            {GREY: 0, RED: 1, GREEN: 2},
        ),
        ({"left": Spelling(colors=(GREEN,))}, {GREY: 0, RED: 1}),
        ({"left": Spelling(colors=(RED,))}, {GREY: 0, RED: 1, GREEN: 2}),  # its own
    ],
)
def test_colour_that_two_parts_or_splits_share_is_none(
    spellings: dict[str, Spelling], known: dict[tuple[int, int, int], int]
) -> None:
    labels = (Label(0, "background", GREY), Label(1, "left", RED), Label(2, "right", GREEN))
    splits = (Split("eye", "left", "right", 1), Split("lid", "left", "right", 1))

    scheme = LabelScheme(labels=labels, splits=splits, spellings=spellings)

    assert scheme.index_of_color == known | {VOID_COLOR: IGNORED}


def test_groups_within_groups_and_splits_stand_for_their_parts() -> None:
    scheme = parse_scheme(FULL)

    assert scheme.expand(["most"]) == ("skin", "eye_left", "eye_right", "tire", "spoke")
    assert scheme.expand(["spoke", "eye"]) == ("eye_left", "eye_right", "spoke")
    assert scheme.indices(["wheel", "spoke"]) == (4, 5)
    assert expand_parts(["b", "g"], ["a", "b"], {"g": ["a", "b"]}, of="x") == ("b", "a")


def test_unknown_part_is_refused_with_all_parts_and_groups() -> None:
    with pytest.raises(LabelNotFoundError, match=r"no part 'rim'; .* tire, spoke; .*wheel, most"):
        parse_scheme(FULL).expand(["rim"])


def test_json_is_read_like_yaml_with_tabs_and_lines() -> None:
    text = json.dumps({"parts": ["background", {"name": "a", "color": [1, 2, 3]}]}, indent="\t")

    assert parse_scheme(text).labels[1].color == (1, 2, 3)
    with pytest.raises(SchemeError, match=r"line 5: .*expected one of name, index"):
        parse_scheme(text.replace('"name"', '"nama"'))


def test_mapping_of_values_makes_the_indices_contiguous() -> None:
    scheme = parse_scheme('{"0": "background", "7": "left  door", "2": "wheel"}', name="cars")

    assert scheme.label_names == ("background", "wheel", "left_door")
    assert scheme.index_of_value == {0: 0, 2: 1, 7: 2, 255: IGNORED}
    assert scheme.name == "cars"


def test_short_split_names_its_parts() -> None:
    scheme = parse_scheme("parts: [bg, lip_top, lip_bottom]\nsplits:\n  lip: split top/bottom\n")

    assert scheme.splits == (Split("lip", "lip_top", "lip_bottom", 0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("- a", "line 1: expected `name: value` pairs"),
        ("a: [", "line 1: not YAML"),
        ('{"parts": [\n"a",\n]}', "line 3: not JSON"),
        ("name: x", "line 1: expected `parts:`"),
        ("parts: []", "line 1: parts: expected a list"),
        ("part: [a]", "line 1: expected one of name, .*, got 'part'"),
        ("parts: [a]\nparts: [a]", "line 2: 'parts' is given twice"),
        ("parts:\n- a\n- A", "line 3: the name 'a' is that of a already, line 2"),
        ("parts:\n- a\n- b c", "line 3: part name: expected a letter or digit"),
        ("parts:\n- a\n- {name: b, color: '#000000'}\n- {name: c, color: [0, 0, 0]}",
         "line 4: the colour #000000 is that of b already, line 3"),
        ("parts:\n- {name: b_left, color: [0, 0, 1]}\n- b_right\nsplits:\n"
         "  b: {left: b_left, right: b_right, color: [0, 0, 1]}",
         "line 5: the colour #000001 is that of b_left already, line 2"),
        ("parts:\n- b_left\n- {name: b_right, also: [7]}\nsplits:\n"
         "  b: {left: b_left, right: b_right, value: 7}",
         "line 5: the value 7 is that of b_right already, line 3"),
        ("parts:\n- a\n- {name: b, color: red}", "line 3: color: expected \"#rrggbb\""),
        ("parts:\n- a\n- {name: b, color: [1, 2, 300]}", "line 3: color: .* 0 to 255"),
        ("parts:\n- a\n- {name: b, index: 2}", "line 3: index: b is number 1"),
        ("parts:\n- a\n- {name: b, also: [0]}", "line 3: the value 0 is that of a already"),
        ("parts:\n- a\n- {name: b, also: [A]}", "line 3: the name 'a' is that of a already"),
        ("parts:\n- a\ngroups:\n  g: [h]", "line 4: group g has no part 'h'"),
        ("parts:\n- a\ngroups:\n  g: []", "line 4: g: expected a list"),
        ("parts:\n- a\ngroups:\n  a: [a]", "line 4: the name 'a' is that of a already, line 2"),
        ("parts:\n- a\ngroups:\n  g: [h]\n  h: [g]", "line 4: .*holds itself"),
        ("parts:\n- a\nsplits:\n  e: left/right", "line 4: e: 'e_left' is none of the parts"),
        ("parts: [a, b]\nsplits:\n  e: left/down", "line 3: e: expected left and right"),
        ("parts: [a, b]\nsplits:\n  e: {left: a, right: a}", "line 3: e: expected two parts"),
        ("parts: [a]\nrectangle: [0, 0, 4, 4]", "line 2: rectangle: it needs `resolution:`"),
        ("parts: [a]\nresolution: 8\nrectangle: [4, 0, 4, 4]", "line 3: rectangle: expected top"),
        ("parts: [a]\nresolution: big", "line 2: resolution: expected a number"),
        ("x: &x [*x]", "line 1: an alias holds itself"),
    ],
)  # fmt: skip
def test_refusal_names_the_line(text: str, message: str) -> None:
    with pytest.raises(SchemeError, match=message):
        parse_scheme(text)


def _doubled(levels: int) -> str:
    """Groups that hold the one before twice, through two others: 2 ** levels ways to the part."""
    lines = [
        f"  g{n}: [a{n}, b{n}]\n  a{n}: [{below}]\n  b{n}: [{below}]"
        for n in range(levels)
        for below in [f"g{n - 1}" if n else "tire"]
    ]
    return "parts: [background, tire]\ngroups:\n" + "\n".join(lines)


def test_groups_of_groups_take_the_time_of_their_members() -> None:
    scheme = parse_scheme(_doubled(60))

    assert scheme.expand(["g59"]) == ("tire",)


@pytest.mark.parametrize("count", [1200, 2048])
@pytest.mark.parametrize("turn", [1, -1])
def test_long_chains_of_groups_are_read(count: int, turn: int) -> None:
    lines = [f"  g{n}: [{f'g{n - 1}' if n else 'tire'}]" for n in range(count)]

    scheme = parse_scheme("parts: [background, tire]\ngroups:\n" + "\n".join(lines[::turn]))

    assert scheme.expand([f"g{count - 1}", "background"]) == ("background", "tire")


def test_more_groups_than_anybody_names_are_refused() -> None:
    lines = [f"  g{n}: [tire]" for n in range(2049)]

    with pytest.raises(SchemeError, match="line 3: expected at most 2048 groups, got 2049"):
        parse_scheme("parts: [background, tire]\ngroups:\n" + "\n".join(lines))


def test_a_long_ring_of_groups_is_named() -> None:
    lines = [f"  g{n}: [g{(n + 1) % 1500}]" for n in range(1500)]

    with pytest.raises(SchemeError, match="line 3: group g0: the group 'g0' holds itself"):
        parse_scheme("parts: [background, tire]\ngroups:\n" + "\n".join(lines))


def test_aliases_that_stand_for_millions_of_values_are_refused() -> None:
    text = "parts: [background, tire]\ngroups:\n  g: &all [" + "tire, " * 50_000 + "]\n"
    text += "".join(f"  g{n}: *all\n" for n in range(2000))

    with pytest.raises(SchemeError, match=r"its aliases \(\*name\) stand for 100,\d+,\d+ values"):
        parse_scheme(text)


def test_missing_file_and_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemeError, match="none of the known ones"):
        read_scheme("no-such-scheme")
    with pytest.raises(SchemeError, match="No such file"):
        read_scheme(tmp_path / "no.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SchemeError, match="not UTF-8"):
        read_scheme(tmp_path / "x.yaml")


def test_chosen_colors_differ_and_give_way_to_given_ones() -> None:
    assert len({chosen_color(index) for index in range(256)}) == 256
    scheme = parse_scheme("parts:\n- a\n- b\n- {name: c, color: '#800000'}")

    assert chosen_color(1) == (128, 0, 0)
    assert len({label.color for label in scheme.labels}) == 3


def test_colour_that_two_parts_of_a_bundle_share_means_neither() -> None:
    scheme = parse_scheme("parts: [a, b, c]")
    first, second, third = scheme.labels
    shared = LabelScheme(labels=(first, second, type(third)(2, "c", second.color)))

    assert shared.index_of_color == {first.color: 0, VOID_COLOR: IGNORED}
