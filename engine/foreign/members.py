"""Pixel classifiers of DatasetGAN and EditGAN: one file for each member, `{'model_state_dict'}`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from editvec.engine.errors import ForeignFileError
from editvec.engine.foreign.records import damaged, finite_weights
from editvec.engine.foreign.torch_files import is_torch_file, read_torch_file, require_file
from editvec.engine.networks.config import GeneratorConfig, SegmentationConfig

MAX_MEMBERS = 100
SUFFIXES = frozenset({".pth", ".pt"})

_NUMBER = re.compile(r"([0-9]+)")
_STEPS = r"(?:iter|iters|iteration|step|steps|epoch|ep|snapshot|snap|checkpoint|ckpt|kimg)"
_TIME = re.compile(rf"(?i)(?<![a-z]){_STEPS}[^a-z0-9]*\Z")
_SNAPSHOT = re.compile(rf"(?i)(?<![a-z]){_STEPS}[^a-z0-9]*[0-9]|[0-9]+[^a-z0-9]*kimg")
_LAYER = re.compile(r"(?:module\.)?layers\.([02356])\.(\w+)")
_WEIGHTS = ("weight", "bias")
_AVERAGES = (*_WEIGHTS, "running_mean", "running_var")
_NAMES = {"0": _WEIGHTS, "2": _AVERAGES, "3": _WEIGHTS, "5": _AVERAGES, "6": _WEIGHTS}


class ImportedMembers(NamedTuple):
    """Members as a segmentation branch takes them.

    Attributes:
        state: `<member>.layers.{0,2,3,5,6}.*`, float32.
        members: How many.
        inputs: Feature channels that they read.
        hidden: Sizes of the two hidden layers.
        num_labels: Labels that they tell apart.
    """

    state: dict[str, Tensor]
    members: int
    inputs: int
    hidden: tuple[int, int]
    num_labels: int

    def config_for(self, generator: GeneratorConfig) -> SegmentationConfig:
        """The settings of a branch of these members on a generator.

        Raises:
            ForeignFileError: They were trained on features of another generator.
        """
        channels = generator.feature_channels
        if self.inputs != sum(channels):
            raise ForeignFileError(
                f"members: expected classifiers of the {sum(channels)} feature channels of the "
                f"generator, got some of {self.inputs}"
            )
        return SegmentationConfig(
            num_labels=self.num_labels,
            feature_channels=channels,
            members=self.members,
            hidden=self.hidden,
        )


def member_files(sources: Sequence[Path]) -> list[Path]:
    """The files of members: those given, and of a folder its .pth files by their numbers.

    Trainings leave more in a folder than members: EditGAN's has `model_0.pth`, and snapshots on
    the way there, `model_iter5000_number_0.pth`. Where finished members are, they are taken alone.
    Where names do not tell what is a member of its own, nothing is guessed.

    Raises:
        ForeignFileError: A folder has none, or files of several kinds, or a file is given twice.
    """
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found += _members_of(source)
        else:
            found.append(source)
    places = [path.resolve() for path in found]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise ForeignFileError(f"members: expected every file once, got {found[number]} twice")
    return found


def _members_of(folder: Path) -> list[Path]:
    """The members in a folder: files whose names differ in one number."""
    try:
        inside = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()]
    except OSError as exc:
        raise ForeignFileError(f"{folder}: cannot be read: {exc.strerror or exc}") from exc
    if not inside:
        raise ForeignFileError(f"{folder}: expected .pth files of members, found none")
    finished = [path for path in inside if not _SNAPSHOT.search(path.stem)]
    chosen = sorted(finished or inside, key=_by_number)
    for one in chosen[1:]:
        first, other = _NUMBER.split(chosen[0].name), _NUMBER.split(one.name)
        # texts have even places, numbers odd ones
        if first[::2] != other[::2]:
            raise _several_kinds(folder, chosen[0], one)
    parts = [_NUMBER.split(path.name) for path in chosen]
    varying = [place for place in range(len(parts[0])) if len({part[place] for part in parts}) > 1]
    if len(varying) > 1:
        raise _several_kinds(folder, chosen[0], chosen[-1])
    numbers = {int(part[varying[0]]) for part in parts} if varying else {0}
    if len(numbers) < len(chosen):  # model_1 and model_01
        raise _several_kinds(folder, chosen[0], chosen[-1])
    is_counted = not varying or not _counts_time("".join(parts[0][: varying[0]]))
    if not is_counted:
        raise _several_kinds(folder, chosen[0], chosen[-1])
    return chosen


def _several_kinds(folder: Path, one: Path, other: Path) -> ForeignFileError:
    return ForeignFileError(
        f"{folder}: expected one file for each member, with names that differ in its number alone; "
        f"{one.name} and {other.name} may be two states of one member: give the members' files "
        "in the place of the folder"
    )


def _counts_time(before: str) -> bool:
    """Whether a number counts steps of a training, by what stands before it."""
    return _TIME.search(before) is not None


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts model_2 before model_10."""
    parts = _NUMBER.split(path.name)
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]


def read_members(paths: Sequence[Path]) -> ImportedMembers:
    """Read the members of an ensemble; nothing in the files is run.

    Args:
        paths: One file for each member.

    Raises:
        ForeignFileError: A file is damaged or no member, or they do not fit each other.
    """
    if not 1 <= len(paths) <= MAX_MEMBERS:
        raise ForeignFileError(f"members: expected 1 to {MAX_MEMBERS} files, got {len(paths)}")
    states = [_read_member(path) for path in paths]
    shapes = {key: list(tensor.shape) for key, tensor in states[0].items()}
    for path, state in zip(paths, states, strict=True):
        for key, tensor in state.items():
            if list(tensor.shape) != shapes[key]:
                raise ForeignFileError(
                    f"{path.name}: expected {key} of shape {shapes[key]}, as in {paths[0].name}, "
                    f"got {list(tensor.shape)}"
                )
    first, second, last = (states[0][f"layers.{layer}.weight"] for layer in "036")
    return ImportedMembers(
        state={
            f"{i}.{key}": value for i, state in enumerate(states) for key, value in state.items()
        },
        members=len(states),
        inputs=first.shape[1],
        hidden=(first.shape[0], second.shape[0]),
        num_labels=last.shape[0],
    )


def _read_member(path: Path) -> dict[str, Tensor]:
    """Weights by `layers.<layer>.<name>`."""
    try:
        require_file(path)
        with path.open("rb") as file:
            start = file.read(16)
        if not is_torch_file(start):
            raise ForeignFileError(f"{path.name}: expected a file of torch.save with a member")
        content = read_torch_file(path)
    except OSError as exc:
        raise ForeignFileError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if isinstance(content, Mapping):
        content = content.get("model_state_dict", content)
    if not isinstance(content, Mapping):
        raise ForeignFileError(f"{path.name}: expected model_state_dict, found none")
    state: dict[str, Tensor] = {}
    for key, tensor in content.items():
        match = _LAYER.fullmatch(str(key))
        if match is None or not isinstance(tensor, Tensor):
            raise ForeignFileError(f"{path.name}: expected layers of a pixel classifier, got {key}")
        if match[2] != "num_batches_tracked":
            state[f"layers.{match[1]}.{match[2]}"] = finite_weights(tensor, f"{path.name}: {key}")
    _check_member(state, path.name)
    return state


def _check_member(state: Mapping[str, Tensor], name: str) -> None:
    """Every weight is there and fits the next layer."""
    wanted = {f"layers.{layer}.{key}" for layer, keys in _NAMES.items() for key in keys}
    for word, keys in (("missing", wanted - state.keys()), ("unknown", state.keys() - wanted)):
        if keys:
            raise ForeignFileError(f"{name}: {word} weights: {', '.join(sorted(keys)[:3])}")
    weights = [state[f"layers.{layer}.weight"] for layer in "036"]
    if any(weight.ndim != 2 or weight.numel() == 0 for weight in weights):
        raise damaged(name, "a layer's weight is no matrix")
    first, second, last = (weight.shape[0] for weight in weights)
    widths = {"0": first, "2": first, "3": second, "5": second, "6": last}
    for key, tensor in state.items():
        layer = key.split(".")[1]
        if key.endswith("weight") and layer in "036":
            inputs = {"0": weights[0].shape[1], "3": first, "6": second}[layer]
            expected = [widths[layer], inputs]
        else:
            expected = [widths[layer]]
        if list(tensor.shape) != expected:
            raise ForeignFileError(
                f"{name}: expected {key} of shape {expected}, got {list(tensor.shape)}"
            )
