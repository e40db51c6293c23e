"""A class that gets another generator by an import keeps what fits."""

from pathlib import Path

from editvec.batch.classes.importing import PLACEHOLDER, ReadyBundle, store_import
from editvec.engine.bundle.bundle import NetworkState, read_networks
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library
from editvec.registry.library.succession import succession_notes


def test_imported_generator_keeps_scheme_and_networks_of_pixels(
    tiny_bundle: Path, home: Path
) -> None:
    bundle, networks = read_networks(tiny_bundle)
    weights = {
        name: tensor + 0.25 if name.endswith("weight") else tensor
        for name, tensor in networks["generator"].state.items()
    }
    values = {
        "class_name": "tiny",
        "description": "Another one",
        "license": "unknown",
        "labels": [PLACEHOLDER],
        "networks": {"generator": NetworkState(networks["generator"].config, weights)},
        "built": {"by": "a test"},
    }
    with Library.open(RegistryConfig.for_home(home)) as library:
        former = library.get_class("tiny")
        model = store_import(library, ReadyBundle(values, "elsewhere", ()))
        again = store_import(library, ReadyBundle(values, "elsewhere", ()))
        after, held = read_networks(library.materialise_bundle(model))
        notes = succession_notes(library, former, model)

    assert model.address == again.address == "tiny@2"
    assert after.labels == bundle.labels
    assert set(held) == set(networks) - {"segmentation", "encoder"}
    assert sum("is dropped" in note for note in notes) == 2
