"""What people see of a class model: its networks, parts, versions and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from editvec.registry.text_tables import format_record, format_table

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.contents import ClassContents, Network

_TOLD = {
    "generator": ("architecture", "mapping_layers", "channel_base", "channel_max", "z_dim"),
    "segmentation": ("members", "hidden"),
    "encoder": ("channels", "head_channels", "iterations"),
    "perceptual": ("trunk", "channels"),
}
_LONGEST, _LONGEST_MAKER = 160, 40


def class_text(found: ClassModel, contents: ClassContents) -> str:
    """Everything about a class model."""
    top, left, bottom, right = found.valid_rectangle
    is_whole = (top, left) == (0, 0) and bottom == right == found.resolution
    record = [
        ("class", found.address),
        ("description", found.description),
        ("license", found.license),
        ("resolution", f"{found.resolution} x {found.resolution}"),
        ("valid", None if is_whole else f"rows {top} to {bottom}, columns {left} to {right}"),
        ("ws", f"[{found.num_ws}, {found.w_dim}]"),
        ("generator", found.generator_digest),
        ("bundle", found.bundle_digest),
        ("created", f"{found.created_at:%Y-%m-%d %H:%M} UTC by {found.created_by}"),
        ("built", _short(contents.built) if contents.built else None),
    ]
    networks = [
        (one.name, one.size, one.digest[:12], _settings(one), _made(one))
        for one in contents.networks
    ]
    versions = [
        (
            one.address,
            one.parent or "",
            ", ".join(one.differs_in),
            "same" if one.same_generator else "another",
        )
        for one in contents.versions
    ]
    labels = [
        (label.index, label.name, "#{:02x}{:02x}{:02x}".format(*label.color))
        for label in found.labels
    ]
    files = [(file.name, file.size, file.digest[:12]) for file in found.files]
    groups = [(name, ", ".join(found.parts([name]))) for name in found.groups]
    parts = [format_record(record)]
    if networks:
        headers = ["network", "bytes", "digest", "architecture", "made by"]
        parts.append(format_table(headers, networks))
    parts.append(format_table(["label", "part", "color"], labels))
    if groups:
        parts.append(format_table(["group", "parts"], groups))
    parts.append(format_table(["version", "made of", "new", "generator"], versions))
    parts.append(format_table(["file", "bytes", "digest"], files))
    return "\n\n".join(parts)


def _settings(network: Network) -> str:
    """Those settings that people ask for."""
    told = _TOLD.get(network.name, ())
    return ", ".join(
        f"{name} {_value(network.settings[name])}" for name in told if name in network.settings
    )


def _value(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _made(network: Network) -> str:
    return _cut(str(network.built.get("by", network.built.get("command", ""))), _LONGEST_MAKER)


def _short(built: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in built.items() if name != "parent"})
    return _cut(text, _LONGEST)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
