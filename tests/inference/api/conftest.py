"""A running server for the tests of its interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference.backbone.model import Backbone
from tests.inference.api.served_api import Api, served


@pytest.fixture
async def api(backbone: Backbone, tmp_path: Path) -> AsyncIterator[Api]:
    async with served(backbone, tmp_path) as running:
        yield running
