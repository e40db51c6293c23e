"""Where things lie in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
# pictures that go wrong in other programs; they lie beside the checkout, not in it
HOSTILE_IMAGES = ROOT.parent / "shared" / "images"
