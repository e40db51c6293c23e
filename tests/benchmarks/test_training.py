"""The benchmark of trainings: what it calls naive is what it says, and it runs."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.training.__main__ import _networks, _spread_out, main
from editvec.engine.training.pixels import PixelFeatures


def test_both_ways_see_the_same_features() -> None:
    generator, _ = _networks(16)
    ws = generator.mapping(torch.randn(1, 512, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        features = list(generator.synthesis.with_features(ws).features)
    pixels = torch.cartesian_prod(torch.arange(1), torch.arange(5), torch.arange(16))

    spread_out = _spread_out(features, 5, 16)
    gathered = PixelFeatures.of_maps(features).rows(pixels)

    torch.testing.assert_close(spread_out, gathered, atol=5e-3, rtol=2e-3)


def test_quick_measures_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    main(["--quick", "--json", "found.json"], standalone_mode=False)

    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"naive:16", "ours:16"}
    assert 0 < found["ours:16"]["features_gib"] < found["naive:16"]["expected_gib"]
    assert "one step of 10 members, ms" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
