"""Groups of parts: named once, they stand wherever the name of a part may stand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editvec.registry.bundles.manifest import bundle_digest_of, parse_manifest, read_manifest
from editvec.registry.cli.suggestions import suggest_parts
from editvec.registry.config import RegistryConfig
from editvec.registry.entities.queries import VectorQuery
from editvec.registry.entities.vectors import NewTerm, NewVector
from editvec.registry.errors import (
    BundleFormatError,
    InvalidNameError,
    LabelNotFoundError,
    RecordError,
)
from editvec.registry.library.library import Library
from tests.support.registry_fixtures import Failure, Run, random_delta


def _with_groups(folder: Path, groups: Any) -> bytes:
    content = json.loads((folder / "bundle.json").read_text())
    content["groups"] = groups
    content["bundle_digest"] = bundle_digest_of(content)
    data = json.dumps(content).encode()
    (folder / "bundle.json").write_bytes(data)
    return data


def test_groups_are_named_changed_and_removed(library: Library) -> None:
    library.set_groups("avatars", {"gaze": ["eye"], "lips": ["mouth", "teeth", "mouth"]})
    library.set_groups(None, {"most": ["lips", "gaze"], "gaze": ["eye", "skin"]}, reason="why")

    model = library.get_class("avatars@1")
    assert model.parts(["most", "eye"]) == ("mouth", "teeth", "eye", "skin")
    assert library.classes()[0].groups == model.groups
    library.set_groups("avatars", {"most": []})
    assert set(library.get_class().groups) == {"gaze", "lips"}
    told = [(one.subject, one.reason) for one in library.history() if one.action == "set groups"]
    assert sorted(told) == [("avatars@1", ""), ("avatars@1", ""), ("avatars@1", "why")]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"mouth": ["teeth"]}, RecordError, "has a part of that name"),
        ({"a b": ["teeth"]}, InvalidNameError, "group name"),
        ({"g": ["beak"]}, LabelNotFoundError, "has no part 'beak'"),
        ({"g": ["h"], "h": ["g"]}, LabelNotFoundError, "holds itself"),
        ({"g": []}, LabelNotFoundError, "has no group 'g'"),
        ({"held": []}, LabelNotFoundError, "has no part 'held'"),
    ],
)
def test_wrong_groups_change_nothing(
    library: Library, groups: dict[str, list[str]], error: type[Exception], message: str
) -> None:
    library.set_groups("avatars", {"held": ["eye"], "above": ["held"]})

    with pytest.raises(error, match=message):
        library.set_groups("avatars", groups)

    assert set(library.get_class().groups) == {"held", "above"}


def test_roi_of_a_group_is_kept_as_its_parts(library: Library) -> None:
    library.set_groups("avatars", {"lips": ["mouth", "teeth"]})
    new = NewVector(class_name="avatars", name="grin", roi_labels=("lips", "eye", "mouth"))
    added = library.add_vector(new, random_delta(0))
    composed = library.compose("both", [NewTerm(address="grin", scale=1.0)], roi_labels=["lips"])

    assert added.roi_labels == ("mouth", "teeth", "eye")
    assert composed.roi_labels == ("mouth", "teeth")
    with pytest.raises(LabelNotFoundError, match=r"no part 'lip'.*its groups are lips"):
        library.add_vector(NewVector(class_name="avatars", name="x", roi_labels=("lip",)),
                           random_delta(1))  # fmt: skip


def test_vectors_are_found_by_a_group(library: Library, make_bundle: Callable[..., Path]) -> None:
    library.set_groups("avatars", {"lips": ["mouth", "teeth"]})
    for place, roi in enumerate((("mouth",), ("mouth", "teeth"), ("eye", "mouth", "teeth"))):
        name = f"v{place}"
        library.add_vector(
            NewVector(class_name="avatars", name=name, roi_labels=roi), random_delta(place)
        )

    def found(**asked: Any) -> list[str]:
        return [one.name for one in library.find_vectors(VectorQuery(**asked))]

    assert found(roi_labels=("lips",)) == ["v1", "v2"]
    assert found(roi_labels=("lips", "eye"), class_name="avatars") == ["v2"]
    library.add_bundle(make_bundle("cars", name="cars", weights=b"1"))
    library.set_groups("cars", {"lips": ["mouth"]})
    with pytest.raises(LabelNotFoundError, match=r"other parts in each of avatars, cars"):
        found(roi_labels=("lips",))
    assert found(roi_labels=("lips",), class_name="avatars") == ["v1", "v2"]


def test_groups_of_a_bundle_come_with_it(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    folder = make_bundle("second", weights=b"2")
    _with_groups(folder, {"lips": ["mouth", "teeth"], "all": ["lips", "eye"]})

    added = library.add_bundle(folder)

    assert added.version == 2
    assert added.parts(["all"]) == ("mouth", "teeth", "eye")


def test_new_version_with_equal_parts_keeps_the_groups(
    library: Library, make_bundle: Callable[..., Path]
) -> None:
    library.set_groups("avatars", {"lips": ["mouth", "teeth"]})

    second = library.add_bundle(make_bundle("second", weights=b"2"))

    assert second.groups == {"lips": ("mouth", "teeth")}


def test_bundle_without_groups_is_read_as_ever(bundle: Path) -> None:
    assert "groups" not in json.loads((bundle / "bundle.json").read_text())
    assert read_manifest(bundle).groups == {}


@pytest.mark.parametrize(
    "groups",
    [[], {"lips": "mouth"}, {"lips": []}, {"lips": ["beak"]}, {"mouth": ["teeth"]},
     {"a": ["b"], "b": ["a"]}, {"a b": ["mouth"]}],
)  # fmt: skip
def test_wrong_groups_of_a_bundle_are_refused(bundle: Path, groups: Any) -> None:
    data = _with_groups(bundle, groups)

    with pytest.raises(BundleFormatError, match="groups"):
        parse_manifest(data)


def test_groups_on_the_command_line(filled: Run, tmp_path: Path, vector_file: Path) -> None:
    assert filled("model", "group", "lips", "mouth,teeth") == "lips: mouth, teeth"
    assert "lips   mouth, teeth" in filled("model", "show")
    filled("registry", "add", vector_file, "--name", "other", "--roi", "lips,eye")
    assert "other" in filled("registry", "list", "--roi", "lips,eye")
    assert "mouth, teeth, eye" in filled("registry", "show", "other")
    config = RegistryConfig.for_home(tmp_path / "home")
    assert [one.text for one in suggest_parts(config, "eye,li")] == ["eye,lips"]
    with pytest.raises(Failure, match="give the parts of the group, or --remove"):
        filled("model", "group", "lips")
    assert filled("model", "group", "lips", "--remove") == "lips: removed"
    with pytest.raises(Failure, match="has no part 'lips'"):
        filled("registry", "add", vector_file, "--name", "third", "--roi", "lips")
