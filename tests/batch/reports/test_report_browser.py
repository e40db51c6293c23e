"""The report in a real browser: it loads whole, asks for nothing, and shows something."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editvec.batch.reports.report import write_report
from tests.support.browser import NEEDS_BROWSER, chromium, requested, require_shown
from tests.support.report_runs import report_run

_HOSTILE = (
    '"><script>document.title="owned"</script><img src=http://127.0.0.1:9/x onerror=alert(1)>'
)

pytestmark = NEEDS_BROWSER


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The report of a run with hostile names and pictures of noise."""
    out = tmp_path / "out"
    rows: list[dict[str, Any]] = []
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        names = [f"{kind}/{number}.png" for kind in ("source", "images", "masks")]
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 0] % 5 if "masks" in name else pixels).save(out / name)
        rows.append(
            {
                "source": names[0],
                "file_name": names[1],
                "mask_file_name": names[2],
                "recipe": _HOSTILE,
                "vectors": [{"address": _HOSTILE, "scale": 1.0}],
                "attributes": {_HOSTILE: number / 6, "b": number % 2},
                "metrics": {"leakage": {"psnr": 30.0 + number}, _HOSTILE: number},
            }
        )
    rows.append({"source": _HOSTILE, "recipe": "x", "state": "failed", "reason": _HOSTILE})
    return write_report(report_run(out, id=_HOSTILE, engine_version=_HOSTILE), rows).report


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_report(report: Path, tmp_path: Path, width: int) -> None:
    require_shown(tmp_path, report, width=width)


def test_what_names_hold_is_not_run(report: Path, tmp_path: Path) -> None:
    document = chromium(tmp_path, report, "--dump-dom").stdout

    assert "<title>owned" not in document
    assert "<script" not in document
    assert "<title>Run &quot;" in document or '<title>Run "' in document
    assert document.rstrip().endswith("</html>")


def test_the_browser_tells_when_a_page_asks_for_more(tmp_path: Path) -> None:
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text("<img src=http://127.0.0.1:9/x><script>console.log('it ran')</script>")

    done = chromium(
        tmp_path,
        page,
        f"--screenshot={tmp_path / 'shot.png'}",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
    )

    assert "it ran" in done.stderr
    assert "CONSOLE" in done.stderr
    assert any(url.startswith("http://127.0.0.1:9") for url in requested(log))
