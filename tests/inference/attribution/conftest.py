"""The planted Datanet, built once for all tests."""

import pytest
import torch
from planted_world import PlantedWorld, plant_world

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world() -> PlantedWorld:
    """Plant, fine-tune and index."""
    return plant_world()
