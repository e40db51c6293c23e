"""Pages for people who change the code: the picture is that of the rules, the paths are there."""

import re

import pytest

from docs import floors
from tests.support.places import ROOT

PAGES = ("CONTRIBUTING.md", "README.md", "docs/architecture.md")
TOPS = "registry|engine|batch|avatars|cuda_ext|migrations|editvec|tests|benchmarks|studies|docs"


def test_the_picture_and_the_table_are_those_of_the_import_rules() -> None:
    page = floors.PAGE.read_text(encoding="utf-8")

    hint = "run python docs/floors.py"
    assert floors.PICTURE.read_text(encoding="utf-8") == floors.picture(), hint
    assert page == floors.page(page), hint


def test_every_room_is_on_the_picture_and_in_the_table() -> None:
    picture, table = floors.picture(), floors.rooms()

    for house in floors.HOUSES:
        folders = [path for path in (ROOT / house).iterdir() if (path / "__init__.py").exists()]
        assert len(folders) > 4
        for folder in folders:
            assert f">{folder.name}</text>" in picture
            assert f"| `{house}/{folder.name}/` | " in table


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    named = re.findall(rf"`((?:{TOPS})/[\w./-]*)`", text)
    missing = [path for path in named if not (ROOT / path).exists()]
    assert missing == []
    assert named
