"""Where the shipped class is: its bundle and its starter library."""

from pathlib import Path

CLASS_NAME = "avatars"

_FOLDER = Path(__file__).parent

BUNDLE_FOLDER = _FOLDER / "bundle"
STARTER_ARCHIVE = _FOLDER / "starter.editvec.zip"
