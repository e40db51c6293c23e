"""What a class keeps when it gets another generator: all that still fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from editvec.engine.bundle.bundle import NetworkState, read_networks
from editvec.engine.networks.config import ClassifierConfig

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library

_OF_THE_GENERATOR = ("generator", "segmentation", "encoder")


class Heritage(NamedTuple):
    """What a new version takes over from the one before.

    Attributes:
        scheme: labels, groups, mask_spellings and valid_rectangle, as `write_bundle` takes them.
        networks: Those that work on pixels, of this size.
        built: How they were made.
        license: Of the weights.
    """

    scheme: dict[str, Any]
    networks: dict[str, NetworkState]
    built: dict[str, Any]
    license: str


def heritage_of(library: Library, former: ClassModel, *, resolution: int) -> Heritage:
    """What of a class fits any generator of a resolution.

    The label scheme is independent of weights; perceptual network and classifiers read pixels. A
    segmentation branch reads features of its generator, an encoder finds its latents: neither fits
    another one.

    Args:
        library: Where the class is.
        former: Its latest version.
        resolution: Of the new generator in pixels.
    """
    bundle, held = read_networks(library.materialise_bundle(former))
    networks = {
        name: network
        for name, network in held.items()
        if name not in _OF_THE_GENERATOR
        and (
            not isinstance(network.config, ClassifierConfig)
            or network.config.resolution == resolution
        )
    }
    rectangle = tuple(edge * resolution // bundle.resolution for edge in bundle.valid_rectangle)
    scheme = {
        "labels": bundle.labels,
        "groups": former.groups,
        "mask_spellings": bundle.mask_spellings,
        "valid_rectangle": rectangle,
    }
    built = {name: bundle.built[name] for name in networks if name in bundle.built}
    return Heritage(scheme, networks, {**built, "parent": bundle.bundle_digest}, bundle.license)
