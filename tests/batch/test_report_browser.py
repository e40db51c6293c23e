"""The report in a real browser: it loads whole, asks for nothing, and shows something."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from batch.report import write_report

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM = next((found for name in _NAMES if (found := shutil.which(name))), "")
_HOSTILE = (
    '"><script>document.title="owned"</script><img src=http://127.0.0.1:9/x onerror=alert(1)>'
)

pytestmark = pytest.mark.skipif(not _CHROMIUM, reason=f"none of {', '.join(_NAMES)} is installed")


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
    return write_report(out, {"run_id": _HOSTILE, "state": _HOSTILE}, rows).report


def chromium(folder: Path, page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Opens the page without a window."""
    return subprocess.run(
        [
            _CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}",
            *arguments,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )


@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_report(report: Path, tmp_path: Path, width: int) -> None:
    shot, log = tmp_path / "shot.png", tmp_path / "net.json"

    done = chromium(
        tmp_path,
        report,
        f"--screenshot={shot}",
        f"--window-size={width},1600",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
    )

    assert "CONSOLE" not in done.stderr  # neither errors nor what the content policy refused
    assert not any(url.startswith("http://127.0.0.1:9") for url in requested(log))
    with Image.open(shot) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (1600, width, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
    blank_rows = (pixels == pixels[:, :1]).all(axis=(1, 2)).mean()
    assert blank_rows < 0.5


def test_what_names_hold_is_not_run(report: Path, tmp_path: Path) -> None:
    document = chromium(tmp_path, report, "--dump-dom").stdout

    assert "<title>owned" not in document
    assert "<script" not in document
    assert "<title>Run &quot;" in document or '<title>Run "' in document
    assert document.rstrip().endswith("</html>")


def requested(log: Path) -> set[str]:
    """The addresses that the browser asked for over the network."""
    try:
        events = json.loads(log.read_text())["events"]
    except ValueError:  # the browser may end before its log does
        events = []
        for line in log.read_text().splitlines():
            if line.startswith('{"params"'):
                events.append(json.loads(line.rstrip(",")))
    found = (event.get("params", {}).get("url", "") for event in events)
    return {url for url in found if url.startswith("http")}


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
