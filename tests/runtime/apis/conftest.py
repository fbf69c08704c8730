from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "pallets"))
"""Where the markets are that the tests of the pallets set up."""
