"""`openledger serve`: what is loaded, what is refused before anything is served."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pytest
from test_worker_commands import parse

from inference.adapters.adapter import image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.peft import save_peft
from inference.adapters.store import AdapterStore
from inference.api.errors import ApiReason, ApiRefused
from inference.api.loading import Loader
from inference.api.models import LocalModels
from inference.api.names import sole_owner
from inference.backbone.model import Backbone
from inference.worker.node_source import NodeSource
from inference.worker.serve_command import adapters_below, load_all
from tests.inference.tiny_models import tiny_adapter


@pytest.fixture
def folder(backbone: Backbone, tmp_path: Path) -> Path:
    for seed, name in enumerate(("b", "a"), 3):
        save_peft(tiny_adapter(backbone, seed=seed), tmp_path / "all" / name, "tiny")
    (tmp_path / "all" / "notes").mkdir()
    return tmp_path / "all"


@pytest.fixture
def models(backbone: Backbone, tmp_path: Path) -> LocalModels:
    return LocalModels("tiny", AdapterStore(tmp_path / "store", backbone))


@pytest.fixture
def loader(backbone: Backbone, tmp_path: Path, models: LocalModels) -> Loader:
    return Loader(backbone, AdapterStore(tmp_path / "store", backbone), models)


def serve(*arguments: str) -> argparse.Namespace:
    return parse("serve", *arguments)


def test_adapters_are_folders_or_folders_of_them(folder: Path) -> None:
    assert [path.name for path in adapters_below(folder)] == ["a", "b"]
    assert list(adapters_below(folder / "a")) == [folder / "a"]
    assert list(adapters_below(folder / "notes")) == []
    with pytest.raises(AdapterRefused) as refusal:
        list(adapters_below(folder / "nowhere"))
    assert refusal.value.reason is AdapterReason.MISSING_FILE


async def test_an_adapter_that_is_found_broken_is_left_out(
    folder: Path, loader: Loader, models: LocalModels, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "b" / "adapter_model.safetensors").write_bytes(b"nonsense")
    logging.getLogger("openledger").propagate = True
    load_all(loader, serve("--no-auth", "--adapters", str(folder)).adapters)
    assert [model["id"] for model in await models.listed()] == ["tiny", "a"]
    assert "adapter left out" in caplog.text


async def test_an_adapter_that_is_named_has_to_be_served(
    folder: Path, loader: Loader, models: LocalModels
) -> None:
    given = serve("--no-auth", "--adapters", f"mine={folder / 'a'}", "--adapters", str(folder))
    load_all(loader, given.adapters)
    assert [model["id"] for model in await models.listed()] == ["tiny", "mine", "a", "b"]
    for name, path, reason in (
        ("new", folder / "notes", AdapterReason.MISSING_FILE),
        ("tiny", folder / "a", ApiReason.MODEL_EXISTS),
        ("mine", folder / "b", ApiReason.MODEL_EXISTS),
    ):
        with pytest.raises((AdapterRefused, ApiRefused)) as refusal:
            load_all(loader, [(name, path)])
        assert refusal.value.reason is reason


def test_without_keys_no_other_machine_is_served(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = serve("--no-auth", "--host", "0.0.0.0")
    assert arguments.run(arguments) == 1
    assert "--api-keys" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        serve("--port", "1")
    with pytest.raises(SystemExit):
        serve("--no-auth", "--api-keys", "x")
    capsys.readouterr()
    (tmp_path / "keys").write_text("nonsense")
    arguments = serve("--api-keys", str(tmp_path / "keys"))
    assert arguments.run(arguments) == 1
    assert "line 1" in capsys.readouterr().err


def test_a_folder_of_another_server_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = serve("--no-auth", "--store", str(tmp_path), "--base", str(tmp_path / "none"))
    with sole_owner(tmp_path):
        assert arguments.run(arguments) == 1
    assert "another server" in capsys.readouterr().err
    assert arguments.run(arguments) == 1
    assert "none" in capsys.readouterr().err


def test_a_node_that_does_not_answer_is_told_by_its_address(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.client.transport.CONNECT_SECONDS", 0.3)
    adapter = tiny_adapter(backbone)
    asked: list[bytes] = []

    def beside(content_hash: bytes) -> bytes:
        asked.append(content_hash)
        return image_of(adapter)

    lost = NodeSource("http://127.0.0.1:9")
    with pytest.raises(AdapterRefused, match=r"127\.0\.0\.1:9"):
        lost(adapter.content_hash)
    store = AdapterStore(tmp_path / "fetched", backbone, fetch=[lost, beside])
    assert store.read(adapter.content_hash) == image_of(adapter)
    assert asked == [adapter.content_hash]
