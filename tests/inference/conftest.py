from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_backbone

from inference.backbone.model import Backbone


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return tiny_backbone()
