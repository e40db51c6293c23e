"""What is asked for of a discovery: limits from both sides, and what belongs to which method."""

from pathlib import Path
from typing import Any

import pytest

from editvec.batch.discovery.request import DiscoverRequest
from editvec.batch.errors import SettingsError


def asked(method: str = "sefa", **settings: Any) -> DiscoverRequest:
    return DiscoverRequest(class_name=None, name="found", method=method, **settings)


@pytest.mark.parametrize(
    ("name", "fitting", "wrong", "said"),
    [
        ("samples", (2, 100_000), (1, 100_001), "samples"),
        ("seed", (0, 9), (-1,), "seed"),
        ("probes", (0, 9), (-1,), "probes"),
        ("count", (1, None), (0,), "count"),
        ("embed", ("steps:3",), ("steps:0",), "embed"),
    ],
)
def test_settings_end_at_their_limits(
    name: str, fitting: tuple[Any, ...], wrong: tuple[Any, ...], said: str
) -> None:
    for value in fitting:
        asked(**{name: value})
    for value in wrong:
        with pytest.raises(SettingsError, match=f"^{said}: expected"):
            asked(**{name: value})


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("mean", {}, "attribute: mean needs one, or a file of labels"),
        ("mean", {"labels": Path("l.csv")}, None),
        ("interfacegan", {"attribute": "a", "count": 1}, "count: interfacegan finds one"),
        ("mean", {"attribute": "a", "conditional": ("b",)}, "conditional: mean has no boundary"),
        ("interfacegan", {"attribute": "a", "conditional": ("b",)}, None),
        ("interfacegan", {"attribute": "not a", "conditional": ("a",)}, "conditional: a is the"),
        ("interfacegan", {"attribute": "a", "confident": 1.0}, None),
        ("interfacegan", {"attribute": "a", "confident": 0.0}, "confident: expected more than 0"),
        ("interfacegan", {"attribute": "a", "confident": 1.01}, "confident: expected more than 0"),
        ("interfacegan", {"attribute": "a", "confident": float("nan")}, "confident: expected"),
        ("sefa", {"conditional": ("b",)}, "conditional: sefa is found without labels"),
        ("ganspace", {"labels": Path("l.csv")}, "labels: ganspace is found without labels"),
        ("sefa", {"confident": 0.5}, "confident: sefa is found without labels"),
        ("sefa", {"attribute": "a", "probes": 0}, "probes: expected 1 or more, to find"),
        ("sefa", {"attribute": "a", "probes": 1}, None),
        ("sefa", {"probes": 0}, None),
        ("sefa", {"version": 2}, "version: expected none, for 5 directions"),
        ("sefa", {"version": 2, "count": 2}, "version: expected none, for 2 directions"),
        ("sefa", {"version": 2, "count": 1}, None),
        ("sefa", {"version": 2, "attribute": "a"}, None),
        ("other", {}, "method: expected one of interfacegan, mean, sefa, ganspace, got 'other'"),
    ],
)
def test_settings_belong_to_their_methods(
    method: str, settings: dict[str, Any], message: str | None
) -> None:
    if message is None:
        asked(method, **settings)
    else:
        with pytest.raises(SettingsError, match=f"^{message}"):
            asked(method, **settings)


def test_defaults_follow_from_the_method() -> None:
    made = [asked("interfacegan", attribute="not a"), asked("mean", attribute="a"), asked("sefa"),
            asked("ganspace", attribute="a"), asked("sefa", count=3, samples=9)]  # fmt: skip

    assert [one.num_samples for one in made] == [1000, 1000, 10_000, 10_000, 9]
    assert [one.share for one in made[:2]] == [0.2, 1.0]
    assert [one.num_directions for one in made[2:]] == [5, 10, 3]
    assert [(one.own_attribute, one.sign) for one in made[:3]] == [("a", -1), ("a", 1), (None, 1)]
