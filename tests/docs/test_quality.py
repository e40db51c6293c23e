"""The page about quality tells of every metric, and its table is what the product measures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import editvec.cli
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "quality.md"
_ROW = re.compile(r"^(?P<name>[a-z_]\S+)\s+(?P<value>-?[\d.]+)( dB| nats| s)?\s", re.MULTILINE)


def tables() -> list[dict[str, float]]:
    """The values of every table, by the names of the metrics."""
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [{row["name"]: float(row["value"]) for row in _ROW.finditer(block)} for block in blocks]


def test_every_metric_of_the_tables_is_explained() -> None:
    named = set(re.findall(r"`([a-z_]+)`\*\*", PAGE.read_text(encoding="utf-8")))
    shown = {name.partition(".")[0] for table in tables() for name in table}
    plain = {re.sub(r"_trunk-\w+?(_unedited)?$", "", name) for name in shown}

    assert len(plain) == 14
    assert plain <= named


@pytest.mark.slow
def test_the_first_table_is_what_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--home", str(tmp_path / "home"))
    root = PAGE.parents[1] / "avatars"
    assert editvec.cli.main([*home, "model", "add", str(root / "bundle")]) == 0
    archive = str(root / "starter.editvec.zip")
    assert editvec.cli.main([*home, "registry", "import", archive]) == 0
    capsys.readouterr()

    words = ("evaluate", "avatars/smile", "--samples", "64", "--device", "cpu", "--json")
    assert editvec.cli.main([*home, *words]) == 0

    found = {one["name"]: one["value"] for one in json.loads(capsys.readouterr().out)["measures"]}
    expected = tables()[0]
    assert {name for name in found if not name.startswith(("fid", "kid"))} <= expected.keys()
    for name in expected.keys() - {"seconds_per_image"}:
        assert found[name] == pytest.approx(expected[name], rel=0.02, abs=1e-3), name
