from pathlib import Path

from engine.bundle import load_bundle


def test_a_bundle_loads_with_all_networks_frozen(tiny_bundle: Path) -> None:
    loaded = load_bundle(tiny_bundle)

    networks = loaded[1:]
    assert all(network is not None for network in networks)
    for network in networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
