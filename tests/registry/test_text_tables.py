"""Tables for people."""

from editvec.registry.text_tables import format_record, format_table


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
