"""Tables for people."""

import pytest

from editvec.registry.text_tables import cell_text, format_record, format_table, range_text


def test_columns_are_aligned_and_numbers_stand_right() -> None:
    table = format_table(["name", "value"], [["a", 1.23456], ["longer", None], ["b", 10]])

    assert table.splitlines() == ["NAME    VALUE", "a       1.235", "longer", "b          10"]


def test_table_without_rows_is_its_header() -> None:
    assert format_table(["name", "value"], []) == "NAME  VALUE"


def test_cells_stay_on_one_line_and_control_nothing() -> None:
    assert format_table(["x"], [["two\nlines \x1b[31mred"]]) == "X\ntwo lines \\x1b[31mred"


def test_record_leaves_out_what_is_empty() -> None:
    assert format_record([("name", "x"), ("scale", 0.0), ("tags", ""), ("license", None)]) == (
        "name   x\nscale  0"
    )


@pytest.mark.parametrize(
    ("lowest", "highest", "text"),
    [
        (-1.0, 2.0, "-1 to 2"),
        (0.0, 0.0, "0 to 0"),
        (None, 0.0, "up to 0"),
        (0.0, None, "from 0"),
        (None, None, ""),
        (-1.23456, None, "from -1.235"),
    ],
)
def test_ranges_may_be_open(lowest: float | None, highest: float | None, text: str) -> None:
    assert range_text(lowest, highest) == text


def test_only_columns_of_numbers_stand_right() -> None:
    mixed = format_table(["a", "b"], [[1, "x"], ["yy", 222]])

    assert mixed.splitlines() == ["A   B", "1   x", "yy  222"]
    assert format_table(["a"], [[None], [None]]).split("\n") == ["A", "", ""]
    assert [cell_text(cell) for cell in (None, 0, 0.0, 123456.0, " a\tb ")] == [
        "", "0", "0", "1.235e+05", "a b",
    ]  # fmt: skip


def test_a_record_of_nothing_is_nothing() -> None:
    assert format_record([]) == ""
    assert format_record([("a", None), ("b", "")]) == ""
    assert format_record([("a", 0), ("bb", "x")]) == "a   0\nbb  x"
