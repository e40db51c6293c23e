"""A class bundle on disk: bundle.json and one safetensors file per network, digest-checked."""

import contextlib
import hashlib
import json
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from editvec.engine.bundle.building import build_network, check_fit
from editvec.engine.bundle.description import (
    Bundle,
    BundleLabel,
    FileEntry,
    NetworkEntry,
    parse_bundle,
)
from editvec.engine.errors import BundleError
from editvec.engine.networks.classifier import AttributeClassifier
from editvec.engine.networks.config import GeneratorConfig, JsonConfig
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.identity import IdentityNetwork
from editvec.engine.networks.perceptual import PerceptualDistance
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.whole_files import new_file

DESCRIPTION_FILE = "bundle.json"
MAX_DESCRIPTION_BYTES = 4 * 2**20
DTYPES: Mapping[str, torch.dtype] = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "I64": torch.int64,
}
"""Of weights, as safetensors spells them; networks compute in float32, I64 counts batches."""


class NetworkState(NamedTuple):
    """A network as `write_bundle` takes it: its architecture and its weights.

    The segmentation branch is stored as its members' own weights (`<member>.layers...`), before
    folding; every other network as its state dict.
    """

    config: JsonConfig
    state: Mapping[str, Tensor]


class LoadedBundle(NamedTuple):
    """A verified bundle with its networks on a device, frozen and in eval mode."""

    bundle: Bundle
    generator: Generator
    segmentation: SegmentationBranch | None
    encoder: Encoder | None
    perceptual: PerceptualDistance | None
    identity: IdentityNetwork | None
    classifier: AttributeClassifier | None


def generator_digest(state: Mapping[str, Tensor], *, conv_clamp: float | None = None) -> str:
    """Digest of what decides a generator's images, whatever file it is in.

    SHA-256 over the tensors (mapping with w_avg, synthesis) in the order of their names: name,
    dtype, shape, little-endian bytes. Their names and shapes tell all settings but the clamp, which
    comes last where there is one.

    Args:
        state: The generator's state dict.
        conv_clamp: Clamp of its activations.

    Returns:
        64 hex digits.
    """
    return _digest_of(((name, state[name]) for name in sorted(state)), conv_clamp)


def _digest_of(tensors: Iterable[tuple[str, Tensor]], conv_clamp: float | None) -> str:
    """The digest of tensors that come in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        if tensor.dtype == torch.bfloat16:
            raise BundleError(f"generator: expected a dtype that numpy has, {name} is bfloat16")
        array = tensor.detach().cpu().contiguous().numpy()
        header = [name, str(array.dtype), list(array.shape)]
        digest.update(json.dumps(header, separators=(",", ":")).encode() + b"\n")
        digest.update(np.asarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    if conv_clamp is not None:
        digest.update(json.dumps({"conv_clamp": float(conv_clamp)}).encode() + b"\n")
    return digest.hexdigest()


# ----------------------------------------------------------------------------------------------
# Write


def write_bundle(
    folder: Path,
    *,
    class_name: str,
    description: str,
    license: str,  # noqa: A002 - the field's name in bundle.json
    labels: Sequence[BundleLabel],
    networks: Mapping[str, NetworkState],
    built: Mapping[str, Any],
    valid_rectangle: tuple[int, int, int, int] | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    mask_spellings: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Bundle:
    """Write a bundle: all of it, or nothing.

    Args:
        folder: New or empty, unless `replace`.
        class_name: Lower case letters, digits, `-` and `_`.
        description: For people.
        license: Of the weights.
        labels: The label scheme; as many as the segmentation branch has.
        networks: By name: generator, segmentation, encoder, perceptual, identity, classifier;
            all but the generator may be left out.
        built: How the bundle was made; JSON.
        valid_rectangle: top, left, bottom, right; None is the whole square.
        groups: Names for several labels; members are labels or other groups.
        mask_spellings: How mask files spell the labels, beside names, colours and indices; JSON.
        replace: Replace a bundle that is in `folder`. A folder with any other file is refused.

    Raises:
        BundleError: The parts do not fit each other, the folder is in use, or it cannot be
            written.
    """
    _check_target(folder, replace=replace)
    contents = {
        f"{name}.safetensors": safetensors.torch.save(_storable(network.state))
        for name, network in networks.items()
    }
    config = networks["generator"].config if "generator" in networks else None
    if not isinstance(config, GeneratorConfig):
        raise BundleError("networks: expected a generator, found none")
    bundle = Bundle(
        class_name=class_name,
        description=description,
        license=license,
        valid_rectangle=valid_rectangle or (0, 0, config.resolution, config.resolution),
        labels=tuple(labels),
        networks={
            name: NetworkEntry(f"{name}.safetensors", network.config)
            for name, network in networks.items()
        },
        files={
            name: FileEntry(hashlib.sha256(content).hexdigest(), len(content))
            for name, content in contents.items()
        },
        generator_digest=generator_digest(
            networks["generator"].state, conv_clamp=config.conv_clamp
        ),
        built=built,
        groups=groups or {},
        mask_spellings=mask_spellings or {},
    )
    for name, network in networks.items():
        build_network(name, network.config, network.state, networks["generator"].state)
    text = json.dumps(bundle.to_json(), indent=2, ensure_ascii=False) + "\n"
    contents[DESCRIPTION_FILE] = text.encode()
    try:
        _write_folder(folder, contents)
    except OSError as exc:
        raise BundleError(f"folder: {folder} cannot be written: {exc.strerror}") from exc
    return bundle


def _check_target(folder: Path, *, replace: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"folder: expected a folder, {folder} is a file")
    present = {path.name for path in folder.iterdir()}
    if not present:
        return
    if not replace:
        raise BundleError(f"folder: expected a new or empty folder, {folder} has files in it")
    bundle = parse_bundle(_read_description(folder))
    foreign = sorted(present - {DESCRIPTION_FILE, *bundle.files})
    if foreign:
        raise BundleError(f"folder: {folder} also has {foreign[0]}, which is no part of a bundle")


def _storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def _write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write beside the folder, then rename; a bundle that was there goes last."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(6)
    partial = folder.with_name(f".{folder.name}.{token}.partial")
    previous = folder.with_name(f".{folder.name}.{token}.previous")
    partial.mkdir()
    try:
        for name, content in contents.items():
            with new_file(partial / name) as file:
                file.write(content)
        if folder.is_dir() and any(folder.iterdir()):
            folder.rename(previous)
        try:
            partial.rename(folder)
        except OSError:
            if previous.exists():
                previous.rename(folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(previous, ignore_errors=True)


# ----------------------------------------------------------------------------------------------
# Read


def read_networks(folder: Path) -> tuple[Bundle, dict[str, NetworkState]]:
    """Read a bundle with the weights of its networks as `write_bundle` takes them.

    Raises:
        BundleError: Anything is missing, altered or of an unknown format.
    """
    bundle, states = _read_verified(folder)
    return bundle, {
        name: NetworkState(entry.config, states[name]) for name, entry in bundle.networks.items()
    }


def load_bundle(folder: Path, *, device: torch.device | str = "cpu") -> LoadedBundle:
    """Verify a bundle and build its networks, frozen and in eval mode.

    Raises:
        BundleError: Anything is missing, altered or of an unknown format, or the weights do not
            fit the architecture.
    """
    bundle, states = _read_verified(folder)
    modules: dict[str, Any] = dict.fromkeys(
        ("generator", "segmentation", "encoder", "perceptual", "identity", "classifier")
    )
    for name, entry in bundle.networks.items():
        module = build_network(name, entry.config, states[name], states["generator"])
        modules[name] = _laid_out(module.to(device).eval().requires_grad_(False), device)
    return LoadedBundle(bundle, **modules)


def check_bundle(folder: Path) -> Bundle:
    """Tell whether every network of a bundle can be built from its weights; none is built.

    Of each file the header is read, which has names, shapes and dtypes. Of the numbers, those of
    the generator are read, a tensor at a time, for its digest. That the bytes are those that
    bundle.json lists, and the numbers finite, `load_bundle` tells, and a library that takes the
    bundle.

    Returns:
        What bundle.json says.

    Raises:
        BundleError: A file is missing or no safetensors, weights are missing, unknown or of another
            shape or dtype than the architecture says, or the generator is another one.
    """
    bundle = parse_bundle(_read_description(folder))
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(_opened(folder / entry.file, bundle.files[entry.file]))
            for name, entry in bundle.networks.items()
        }
        shapes = {
            name: _shapes(files[name], of=entry.file) for name, entry in bundle.networks.items()
        }
        for name, entry in bundle.networks.items():
            check_fit(name, entry.config, shapes[name], shapes["generator"])
            for key in shapes[name]:
                if key.endswith(".running_var"):
                    _check_variances(entry.file, key, files[name].get_tensor(key))
        generator = files["generator"]
        _check_digest(
            bundle, ((key, generator.get_tensor(key)) for key in sorted(generator.keys()))
        )
    return bundle


def _opened(path: Path, entry: FileEntry) -> Any:
    """A file of weights that has the listed size, without its numbers."""
    try:
        _require_size(path, entry)
        return safetensors.safe_open(path, framework="pt")
    except OSError as exc:
        raise BundleError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise BundleError(f"{path.name}: expected a safetensors file: {exc}") from exc


def _shapes(file: Any, *, of: str) -> dict[str, Tensor]:
    """The tensors of an open file on `meta`: shapes and dtypes without numbers."""
    found = {}
    for key in file.keys():  # noqa: SIM118 - an open file is no mapping
        part = file.get_slice(key)
        dtype = DTYPES.get(part.get_dtype())
        if dtype is None:
            raise _wrong_dtype(of, key, part.get_dtype())
        try:
            found[key] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
        except (RuntimeError, TypeError, OverflowError) as exc:
            raise BundleError(f"{of}: {key:.100}: expected a shape, got no such") from exc
    return found


def _laid_out(module: nn.Module, device: torch.device | str) -> nn.Module:
    """The network in the layout that its device convolves faster; maps follow the weights.

    On a CPU that is channels_last. On other devices nothing has been measured.
    """
    if torch.device(device).type != "cpu":
        return module
    return module.to(memory_format=torch.channels_last)


def _read_verified(folder: Path) -> tuple[Bundle, dict[str, dict[str, Tensor]]]:
    """bundle.json and the tensors of every network."""
    bundle = parse_bundle(_read_description(folder))
    states = {}
    for name, entry in bundle.networks.items():
        content = _read_file(folder / entry.file, bundle.files[entry.file])
        try:
            states[name] = safetensors.torch.load(content)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as exc:
            raise BundleError(f"{entry.file}: expected a safetensors file: {exc}") from exc
        for key, tensor in states[name].items():
            if tensor.dtype not in DTYPES.values():
                raise _wrong_dtype(entry.file, key, str(tensor.dtype))
            if not bool(torch.isfinite(tensor).all()):
                raise BundleError(f"{entry.file}: expected finite weights, {key} is not")
            _check_variances(entry.file, key, tensor)
    _check_digest(bundle, ((key, states["generator"][key]) for key in sorted(states["generator"])))
    return bundle, states


def _wrong_dtype(file: str, key: str, dtype: str) -> BundleError:
    return BundleError(
        f"{file}: expected weights as {', '.join(DTYPES)}, {key:.100} is {dtype:.40}"
    )


def _check_variances(file: str, key: str, tensor: Tensor) -> None:
    """Refuse a BatchNorm whose outputs would not be numbers."""
    if key.endswith(".running_var") and bool((tensor < 0).any()):
        raise BundleError(f"{file}: expected variances of at least 0, {key:.100} has others")


def _check_digest(bundle: Bundle, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Compare the generator's digest with its tensors, which come in the order of their names."""
    clamp = bundle.generator_config.conv_clamp
    digest = _digest_of(tensors, clamp)
    if digest != bundle.generator_digest:
        having = "the tensors have" if clamp is None else f"tensors and conv_clamp {clamp} have"
        raise BundleError(
            f"generator_digest: expected {bundle.generator_digest}, {having} {digest}"
        )


def _read_description(folder: Path) -> str:
    path = folder / DESCRIPTION_FILE
    try:
        _require_file(path)
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise BundleError(f"{path}: expected at most {MAX_DESCRIPTION_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise BundleError(f"{path}: expected UTF-8 text") from exc
    except OSError as exc:
        raise BundleError(f"{path}: cannot be read: {exc.strerror}") from exc


def _require_file(path: Path) -> None:
    """Refuse what may never end or never begin when it is read: pipes, devices."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise BundleError(f"{path}: expected a regular file")


def _require_size(path: Path, entry: FileEntry) -> None:
    """Refuse a file of another size than is listed."""
    _require_file(path)
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(f"{path.name}: expected {entry.bytes} bytes, got {size}")


def _read_file(path: Path, entry: FileEntry) -> bytes:
    """The bytes of a file that has the listed size and digest."""
    try:
        _require_size(path, entry)
        content = path.read_bytes()
    except OSError as exc:
        raise BundleError(f"{path}: cannot be read: {exc.strerror}") from exc
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry.sha256:
        raise BundleError(f"{path.name}: expected digest {entry.sha256}, got {digest}")
    return content
