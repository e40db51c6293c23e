"""Options say what the fields of settings say, and commands train what functions train."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import editvec.cli
from editvec.batch.cli.settings import SettingOption
from editvec.batch.cli.train import encoder, generator, segmentation
from editvec.batch.recipes.settings import RunSettings
from editvec.batch.training.requests import (
    EncoderRequest,
    GeneratorRequest,
    SegmentationRequest,
)
from editvec.engine.errors import EngineSettingsError
from editvec.engine.networks.config import GeneratorConfig, SegmentationConfig
from editvec.engine.training.settings import (
    EncoderTraining,
    GeneratorTraining,
    SegmentationTraining,
)

# What each command fills; the fields of these are never written by hand beside an option.
SETTINGS: dict[str, tuple[type, ...]] = {
    "train generator": (GeneratorRequest, GeneratorConfig, GeneratorTraining),
    "train encoder": (EncoderRequest, EncoderTraining),
    "batch run": (RunSettings,),
    "batch generate": (RunSettings,),
    "embed": (RunSettings,),
    "train segmentation": (SegmentationRequest, SegmentationTraining, SegmentationConfig),
}

# Of what is computed at a time, and of what is drawn: no setting has this very default or range.
OF_NO_SETTINGS = {
    *((path, "--batch-size") for path in ("batch run", "batch generate", "embed")),
    *((path, "--chunk-size") for path in ("batch run", "batch generate", "embed")),
    *((path, "--seed") for path in ("batch run", "batch generate")),
    ("batch generate", "--count"),
}


def commands(
    command: click.Command = editvec.cli.cli, path: str = ""
) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}".strip())
    else:
        yield path, command


def options() -> list[tuple[str, click.Option]]:
    return [
        (path, one)
        for path, command in commands()
        for one in command.params
        if isinstance(one, click.Option)
    ]


MIRRORED = [(path, one) for path, one in options() if isinstance(one, SettingOption)]


def number_of(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@pytest.mark.parametrize(
    ("path", "option"), MIRRORED, ids=[f"{path} {one.opts[0]}" for path, one in MIRRORED]
)
def test_default_and_range_are_those_of_the_field(path: str, option: SettingOption) -> None:
    field = {one.name: one for one in dataclasses.fields(option.owner)}[option.field]
    rule = field.metadata["editvec-rule"]
    default = option.to_info_dict()["default"]

    if field.default is not dataclasses.MISSING and default is not None:
        typed = default * option.times if option.times != 1 else default
        assert number_of(typed) == number_of(field.default) or typed == str(field.default)
    elif field.default is not dataclasses.MISSING and field.default is not None:
        # a class may keep its own: the help says what a new one gets
        assert f"[default: {field.default}]" in (option.help or "")
    kind = option.type
    if isinstance(kind, click.Choice):
        assert tuple(kind.choices) == tuple(rule.choices)
        assert not rule.choices or path
    elif isinstance(kind, click.IntRange | click.FloatRange):
        low = rule.above if rule.least is None else rule.least
        bounds = [None if one is None else one * option.times for one in (kind.min, kind.max)]
        assert [number_of(one) for one in bounds] == [number_of(low), number_of(rule.most)]
        assert kind.min_open == (rule.above is not None and rule.least is None)
        assert not kind.max_open


@pytest.mark.parametrize("path", SETTINGS)
def test_an_option_called_like_a_field_is_made_of_it(path: str) -> None:
    names = {
        one.name
        for owner in SETTINGS[path]
        for one in dataclasses.fields(owner)
        if "editvec-rule" in one.metadata
    }
    command = dict(commands())[path]

    by_hand = [
        one.name
        for one in command.params
        if isinstance(one, click.Option)
        and one.name in names
        and not (isinstance(one, SettingOption) and one.owner in owners(SETTINGS[path]))
    ]

    assert by_hand == []


def owners(classes: tuple[type, ...]) -> set[type]:
    return {base for one in classes for base in one.__mro__}


def test_no_command_writes_a_number_of_settings_by_hand() -> None:
    found = {
        (path, one.opts[0])
        for path, one in options()
        if not isinstance(one, SettingOption)
        and path in SETTINGS
        and (
            isinstance(one.type, click.IntRange | click.FloatRange)
            or (isinstance(one.default, int | float) and not isinstance(one.default, bool))
        )
    }

    assert found == OF_NO_SETTINGS


# --- what a command asks for without any option is what a function asks for ---


def chosen(command: click.Command, *words: str) -> dict[str, Any]:
    context = command.make_context("x", list(words))
    values = dict(context.params)
    for name in ("work", "device", "as_json"):
        values.pop(name, None)
    return values


def test_train_generator_and_its_function_train_the_same(tmp_path: Path) -> None:
    values = chosen(generator.train_generator, "--class", "a", "--resolution", "64", str(tmp_path))
    asked = generator._request(**values)
    plain = GeneratorRequest(class_name="a", photographs=tmp_path, resolution=64)

    assert dataclasses.replace(asked, network={}, training={}) == plain
    network = GeneratorConfig(64, **asked.network)
    assert network == GeneratorConfig(64)
    assert (network.mapping_layers, network.channel_base, network.z_dim) == (2, 16384, 512)
    assert GeneratorConfig(512).channel_base == 32768
    assert GeneratorTraining.for_resolution(64, **asked.training) == (
        GeneratorTraining.for_resolution(64)
    )


def test_numbers_of_train_generator_arrive(tmp_path: Path) -> None:
    words = ["--kimg", "0.064", "--w-dim", "16", "--gamma", "3", "--snapshot-kimg", "1.5"]
    values = chosen(generator.train_generator, "--class", "a", *words, str(tmp_path))

    asked = generator._request(**values)

    assert (asked.images, asked.snapshot_images) == (64, 1500)
    assert asked.network == {"w_dim": 16}
    assert GeneratorConfig(16, **asked.network).z_dim == 16
    assert asked.training["r1_gamma"] == 3


def test_train_encoder_and_its_function_train_the_same() -> None:
    asked = encoder._request(**chosen(encoder.train_encoder, "--class", "a"))
    plain = EncoderRequest(class_address="a")

    assert dataclasses.replace(asked, training={}) == plain
    trained = EncoderTraining(asked.warmup_steps, **asked.training)
    assert trained == EncoderTraining(plain.warmup_steps)
    assert (trained.ws_steps, trained.validate_steps, trained.patience) == (10_000, 500, 10)


def test_train_segmentation_and_its_function_train_the_same(tmp_path: Path) -> None:
    values = chosen(segmentation.train_segmentation, "--class", "a", str(tmp_path))

    asked = segmentation._request(**values)

    assert dataclasses.replace(asked, training={}) == (
        SegmentationRequest(class_name="a", pairs=tmp_path)
    )
    assert SegmentationTraining(**asked.training) == SegmentationTraining()
    assert asked.members == SegmentationConfig(2, (4,)).members


@pytest.mark.parametrize(
    ("owner", "required", "name", "right", "wrong"),
    [
        (EncoderTraining, {"num_steps": 5}, "learning_rate", (1e-9, 1), (0, 1.1, -1, float("nan"))),
        (EncoderTraining, {"num_steps": 5}, "ws_steps", (0, 5), (-1, 6, 2.5, True)),
        (EncoderTraining, {"num_steps": 5}, "validate_steps", (1,), (0, 1.5)),
        (SegmentationTraining, {}, "batch_size", (2, 1 << 16), (1, (1 << 16) + 1)),
        (SegmentationTraining, {}, "label_power", (0, 1), (-0.1, 1.1, float("inf"))),
    ],
)
def test_ranges_hold_in_constructors_from_both_sides(
    owner: Any, required: dict[str, Any], name: str, right: tuple[Any, ...], wrong: tuple[Any, ...]
) -> None:
    for value in right:
        assert getattr(owner(**required, **{name: value}), name) == value
    for value in wrong:
        with pytest.raises(EngineSettingsError, match=f"^{name}: expected .*, got "):
            owner(**required, **{name: value})
