"""Options say what the fields of settings say, and commands train what functions train."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from editvec.batch.classes.request import ImportRequest
from editvec.batch.cli.execution import execution_of
from editvec.batch.cli.settings import SettingOption, take
from editvec.batch.cli.train import encoder, generator, segmentation
from editvec.batch.discovery.request import DiscoverRequest, Method
from editvec.batch.errors import SettingsError
from editvec.batch.evaluation.pairs.settings import PairSettings
from editvec.batch.evaluation.settings import EvaluateSettings
from editvec.batch.execution.execution import Execution
from editvec.batch.learning.request import LearnRequest, LearnSettings
from editvec.batch.previews.preview import SCALES
from editvec.batch.previews.probes import PreviewProbes
from editvec.batch.quality.settings import Comparison
from editvec.batch.recipes.scales import parse_scales
from editvec.batch.recipes.settings import (
    EMBED_AHEAD,
    Composite,
    Mode,
    Output,
    RunSettings,
    Space,
)
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
from tests.support.command_tree import commands
from tests.support.places import ROOT

UNSET = click.Option(["--nothing"]).default
"""What click says of an option without a default."""

# What each command fills; the fields of these are never written by hand beside an option.
SETTINGS: dict[str, tuple[type, ...]] = {
    "train generator": (GeneratorRequest, GeneratorConfig, GeneratorTraining),
    "train encoder": (EncoderRequest, EncoderTraining),
    "train segmentation": (SegmentationRequest, SegmentationTraining, SegmentationConfig),
    "batch run": (RunSettings, Execution),
    "batch generate": (RunSettings, Execution),
    "batch resume": (Execution,),
    "batch retry": (Execution,),
    "embed": (RunSettings, Execution),
    "learn": (LearnRequest, LearnSettings, Execution),
    "evaluate": (EvaluateSettings, Execution),
    "disentangle": (EvaluateSettings, PairSettings, Execution),
    "discover interfacegan": (DiscoverRequest, Execution),
    "discover mean": (DiscoverRequest, Execution),
    "discover sefa": (DiscoverRequest, Execution),
    "discover ganspace": (DiscoverRequest, Execution),
    "registry preview": (PreviewProbes, Execution),
    "model import": (ImportRequest,),
    "model compare": (Comparison,),
}

# Fields that an option fills in another form: pixels of a scheme's file, boxes of a file.
OTHERWISE = {
    "batch run": {"boxes"},
    "batch generate": {"boxes"},
    "embed": {"boxes"},
}

# A default that depends on what the command does: what the function takes that does the same.
DEFAULTS: dict[tuple[str, str], Any] = {
    ("embed", "embed"): EMBED_AHEAD,
    **{
        (f"discover {method}", "samples"): DiscoverRequest(
            None, "a", method, attribute="smiling"
        ).num_samples
        for method in Method
    },
    **{
        (f"discover {method}", "confident"): DiscoverRequest(
            None, "a", method, attribute="smiling"
        ).share
        for method in Method
        if method.is_supervised
    },
}

CHOICES = {("batch generate", "mode"): (Mode.VECTOR, Mode.REFINE)}
"""Those of a command that has not all of the field's."""

# What the files of commands write by hand: none of it is of a setting.
BY_HAND = {
    "demo.py": {"default='editvec-demo'"},
    "model/quality.py": {"default=64", "default=0"},
    "runs.py": {"default=20", "default=2.0"},
    "worker.py": {"default='INFO'", "Choice(['DEBUG', 'INFO', 'WARNING', 'ERROR'])"},
}  # fmt: skip


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
    expected = DEFAULTS.get((path, option.field), field.default)

    if default is not None and default is not UNSET and not option.multiple:
        typed = typed_as(option, rule.kind, default)
        assert number_of(typed) == number_of(expected) or typed == str(expected)
    elif expected not in (None, (), dataclasses.MISSING, 0) and not option.multiple:
        # a class may keep its own: the help says what a new one gets
        assert f"[default: {expected}" in (option.help or "")
    kind = option.type
    if isinstance(kind, click.Choice):
        words = [option.words.get(one, one) for one in kind.choices]
        allowed = rule.choices or ((True, False) if rule.kind is bool else ())
        assert sorted(map(str, words)) == (
            sorted(map(str, CHOICES.get((path, option.field), allowed)))
        )
    elif isinstance(kind, click.IntRange | click.FloatRange) and rule.kind is not tuple:
        low = rule.above if rule.least is None else rule.least
        if default in (None, UNSET) and field.default == 0:
            low = 1  # 0 is what it is to leave the option out
        bounds = [None if one is None else one * option.times for one in (kind.min, kind.max)]
        assert [number_of(one) for one in bounds] == [number_of(low), number_of(rule.most)]
        assert kind.min_open == (rule.above is not None and rule.least is None)
        assert not kind.max_open
    elif rule.kind in (int, float):
        assert option.callback is not None or (rule.least, rule.above, rule.most) == (None,) * 3


def typed_as(option: SettingOption, kind: type, default: Any) -> Any:
    """The value of the field that an option's default stands for."""
    if option.words:
        return option.words[default]
    if kind is tuple:
        return tuple(default.split(","))
    return default * option.times if option.times != 1 else default


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
        and one.name in names - OTHERWISE.get(path, set())
        and not (isinstance(one, SettingOption) and one.owner in owners(SETTINGS[path]))
    ]

    assert by_hand == []


def owners(classes: tuple[type, ...]) -> set[type]:
    return {base for one in classes for base in one.__mro__}


@pytest.mark.parametrize("path", SETTINGS)
def test_options_beside_those_of_fields_have_neither_default_nor_choices(path: str) -> None:
    found = [
        one.opts[0]
        for one in dict(commands())[path].params
        if isinstance(one, click.Option)
        and not isinstance(one, SettingOption)
        and (
            isinstance(one.type, click.IntRange | click.FloatRange | click.Choice)
            or one.default not in (None, UNSET, False)
        )
        and not one.hidden
    ]

    # a sweep of scales that `preview` takes too, and the names of forms that the registry reads
    assert found == {"registry preview": ["--scales"], "train segmentation": ["--form"]}.get(
        path, []
    )


def test_files_of_commands_write_no_default_and_no_choice_by_hand() -> None:
    folder = ROOT / "batch" / "cli"
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found.setdefault(str(path.relative_to(folder)), set()).update(written_by_hand(node))

    assert {name: told for name, told in found.items() if told} == BY_HAND


def written_by_hand(node: ast.AST) -> Iterator[str]:
    """Defaults, choices, and defaults in words."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from re.findall(r"\[default: [-\d.`'\"][^]]*\]", node.value)
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    if name == "Choice" and isinstance(node.args[0], ast.List | ast.Tuple):
        choices = node.args[0].elts
        if any(isinstance(one, ast.Constant) for one in choices):
            yield f"Choice({ast.unparse(node.args[0])})"
    if name in ("option", "argument", "setting_option"):
        for word in node.keywords:
            if (
                word.arg == "default"
                and isinstance(word.value, ast.Constant)
                and word.value.value != ""
            ):
                yield f"default={ast.unparse(word.value)}"


def test_sweep_of_a_preview_stands_once() -> None:
    (scales,) = (one for one in dict(commands())["registry preview"].params if one.name == "scales")

    assert isinstance(scales, click.Option)
    assert parse_scales(scales.to_info_dict()["default"]) == SCALES


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("batch run", ["in", "out"]),
        ("batch generate", ["out", "--count", "3"]),
        ("embed", ["in", "--embed", "encoder"]),
    ],
)
def test_runs_of_commands_and_of_functions_are_the_same(path: str, words: list[str]) -> None:
    command = dict(commands())[path]
    values = chosen(command, *words)

    settings = RunSettings(**take(RunSettings, values, besides=("boxes",)))

    assert settings == RunSettings(count=3 if "generate" in path else 0)
    assert execution_of(values | {"device": None}) == Execution()


def test_words_of_runs_arrive() -> None:
    words = [
        "out",
        "--count",
        "3",
        "--sources",
        "no",
        "--refine",
        "auto",
        "--roi",
        " mouth, teeth,",
    ]
    words += ["--max-leakage", "0", "--write", "coco", "--composite", "none", "--chunk-size", "5"]
    values = chosen(dict(commands())["batch generate"], *words)

    settings = RunSettings(**take(RunSettings, values))

    assert settings == RunSettings(
        count=3,
        sources=False,
        refine_auto=True,
        roi=("mouth", "teeth"),
        max_leakage=0.0,
        output=Output.COCO,
        composite=Composite.NONE,
        chunk_size=5,
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("batch generate", "out --count 0"),
        ("batch generate", "out --count 1 --mode optimize"),
        ("batch generate", "out --count 1 --sources maybe"),
        ("batch run", "in out --chunk-size 0"),
        ("batch run", "in out --batch-size 1025"),
        ("batch run", "in out --max-leakage -1"),
        ("batch run", "in out --fit none"),
        ("evaluate", "a --renders 0"),
        ("evaluate", "a --samples 0"),
        ("discover mean", "a --confident 0"),
        ("learn", "a --steps 10001"),
        ("learn", "a --trunk resnet"),
        ("registry preview", "a --count 33"),
    ],
)
def test_what_a_field_does_not_take_is_refused_where_it_is_typed(path: str, words: str) -> None:
    with pytest.raises(click.BadParameter):
        dict(commands())[path].make_context("x", words.split())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("mode", "fly"),
        ("fit", 3),
        ("output", ""),
        ("sources", "yes"),
        ("max_leakage", float("nan")),
        ("min_success", -0.1),
        ("count", 10_000_001),
        ("chunk_size", 65),
        ("seed", -1),
        ("seed", 2**62 + 1),
        ("roi", "mouth"),
    ],
)
def test_runs_refuse_what_their_fields_do_not_take(name: str, wrong: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: expected .*, got "):
        RunSettings(**{name: wrong})


def test_words_of_choices_are_members_of_their_kinds() -> None:
    settings = RunSettings(mode="refine", space="W", output="coco")  # type: ignore[arg-type]

    assert settings.mode is Mode.REFINE
    assert settings == RunSettings(mode=Mode.REFINE, space=Space.W, output=Output.COCO)


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
