"""A real browser without a window, for the tests of pages."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM = next((found for name in _NAMES if (found := shutil.which(name))), "")

NEEDS_BROWSER = pytest.mark.skipif(
    not _CHROMIUM, reason=f"none of {', '.join(_NAMES)} is installed"
)


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


def require_shown(folder: Path, page: Path, *, width: int, height: int = 1600) -> None:
    """Fails for a page that asks for more, breaks its content policy, or shows nothing."""
    shot, log = folder / f"shot-{width}.png", folder / f"net-{width}.json"
    done = chromium(
        folder,
        page,
        f"--screenshot={shot}",
        f"--window-size={width},{height}",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
    )
    assert "CONSOLE" not in done.stderr  # neither errors nor what the content policy refused
    assert not any(url.startswith("http://127.0.0.1:9") for url in requested(log))
    with Image.open(shot) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (height, width, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
    blank_rows = (pixels == pixels[:, :1]).all(axis=(1, 2)).mean()
    assert blank_rows < 0.5
