"""Requests to learn: one way to say what the mask shall become, there and back as JSON."""

from pathlib import Path
from typing import Any

import pytest

from editvec.batch.errors import SettingsError
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.registry.errors import OperationError

FOLDER = Path("/pairs")


def read(**entry: Any) -> LearnRequest:
    base = {"address": "a/b", "image": "i.png"}
    return LearnRequest.from_json({**base, **entry}, folder=FOLDER)


def test_an_entry_names_files_below_its_folder_and_is_written_as_it_was() -> None:
    entry = {
        "address": "a/smile",
        "image": "in/i.png",
        "mask_after": "after.png",
        "mask_before": "/elsewhere/before.png",
        "roi_labels": ["mouth"],
        "tags": ["x"],
        "settings": {"num_steps": 7},
    }

    made = LearnRequest.from_json(entry, folder=FOLDER)

    assert made.image == FOLDER / "in/i.png"
    assert made.mask_before == Path("/elsewhere/before.png")
    assert made.settings.num_steps == 7
    written = made.to_json(folder=FOLDER)
    assert {name: written[name] for name in entry if name != "settings"} == {
        name: value for name, value in entry.items() if name != "settings"
    }
    assert "accept_failure" not in written
    assert LearnRequest.from_json(written, folder=FOLDER) == made
    moved = LearnRequest.from_json(written, folder=Path("/other"))
    assert (moved.image, moved.mask_before) == (Path("/other/in/i.png"), made.mask_before)


def test_an_entry_may_say_an_operation_and_accept_a_failure() -> None:
    made = read(operation="mouth: paste m.png, grow 1", accept_failure=True)

    assert made.operation == "mouth: paste /pairs/m.png, grow 1"
    assert made.to_json(folder=FOLDER)["accept_failure"] is True
    assert (made.mask_after, made.mask_before) == (None, None)
    relative = LearnRequest(address="a/b", image=Path("i.png"), operation="mouth: paste m.png")
    below = relative.below(FOLDER)
    assert (below.image, below.operation) == (FOLDER / "i.png", "mouth: paste /pairs/m.png")
    assert (below.mask_after, below.mask_before) == (None, None)


def test_settings_of_an_entry_stand_before_those_of_all() -> None:
    defaults = LearnSettings(num_steps=9, embed="steps:4")
    entry = {"address": "a/b", "image": "i", "mask_after": "m", "settings": {"num_steps": 3}}

    made = LearnRequest.from_json(entry, folder=FOLDER, defaults=defaults)

    assert (made.settings.num_steps, made.settings.embed) == (3, "steps:4")
    assert LearnRequest.from_json({**entry, "settings": {}}, folder=FOLDER) == read(
        image="i", mask_after="m"
    )


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({}, SettingsError, r"an entry has \['mask_after'\] missing"),
        ({"mask_after": "m", "colour": 1}, SettingsError, r"an entry has unknown \['colour'\]"),
        ({"mask_after": "m", "operation": "mouth: grow 1"}, SettingsError, "give either"),
        ({"operation": ""}, SettingsError, "a/b: give either mask_after or operation"),
        ({"operation": "mouth: melt"}, OperationError, "expected one of grow"),
        ({"mask_after": "m", "accept_failure": 1}, SettingsError, "expected true or false, got 1"),
        ({"mask_after": "m", "settings": {"speed": 1}}, SettingsError, "pair list: 'a/b': .*speed"),
        ({"mask_after": 3}, SettingsError, "pair list: 'a/b': "),
    ],
)
def test_wrong_entries_are_refused(
    entry: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(**entry)
    with pytest.raises(SettingsError, match=r"\['address', 'image'\] missing"):
        LearnRequest.from_json({"mask_after": "m"}, folder=FOLDER)
