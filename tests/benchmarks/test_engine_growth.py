"""The table of growth, on small networks."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.engine import growth as engine_growth


@pytest.mark.slow
def test_every_row_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [engine_growth.CHANGES[0], engine_growth.CHANGES[-2], engine_growth.CHANGES[-1]]
    monkeypatch.setattr(engine_growth, "CHANGES", chosen)
    file = tmp_path / "rows.json"

    result = CliRunner().invoke(engine_growth.main, ["--quick", "--json", str(file)])

    assert result.exit_code == 0, result.output
    rows = json.loads(file.read_text())
    assert [row["task"] for row in rows] == [task for task, _ in chosen]
    assert all(min(row["gflop"], row["seconds"], row["peak_mib"]) > 0 for row in rows)
