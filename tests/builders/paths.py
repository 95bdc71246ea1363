"""Where the project and the shared test data lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("POETS_TEST_DATA") or ROOT.parent / "shared" / "data")
