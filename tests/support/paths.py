"""Where the files of the checkout lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS, CONF, PACKAGE = ROOT / "tests", ROOT / "conf", ROOT / "bmae_lightning"
GOLDEN = TESTS / "golden"
SHARED = ROOT.parent / "shared"
"""Data beside the checkout; tests that read it skip where it is absent."""
