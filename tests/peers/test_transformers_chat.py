"""Conversations read here as transformers writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import decoders, models, pre_tokenizers

from inference.backbone.chat_template import ChatReason, ChatRefused, ChatTemplate
from inference.backbone.tokenizer import Tokenizer
from tests.peers.chat_templates import BRACKETS, HEADERS, LISTED, MARKED_TURNS, MARKS
from tests.peers.conftest import Script

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SPECIAL = ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|eot_id|>"]
SETTINGS: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True},
    "unk_token": "<unk>",
}
TALK = [
    {"role": "user", "content": "  Grüße, 🦀 <b>\n"},
    {"role": "assistant", "content": "Hello there. "},
    {"role": "user", "content": "And?"},
]
SYSTEM = [{"role": "system", "content": " Be brief.\n"}, *TALK]
THOUGHT = [
    *TALK,
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nSo.", "tool_calls": None},
    {"role": "assistant", "content": "Done", "reasoning": "because"},
]
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Füge <a> & b", "parameters": {"type": "object"}},
}
CALL = [
    {"role": "user", "content": "2+3"},
    {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "add", "arguments": {"a": [2, 3]}}}],
    },
]
ODD = [
    {"role": "system", "content": "s", "x": 1},
    {"role": "skip", "content": "never"},
    {"role": "assistant", "content": "line\n"},
    {"role": "user", "content": "  spaced  "},
    {"role": "stop", "content": "never"},
    {"role": "user", "content": "never"},
]
PARTS = [
    {"role": "user", "content": [{"text": "a"}, {"parts": [{"text": "b"}, {"text": "c"}]}]},
    {"role": "assistant", "content": "plain"},
]


@dataclass(frozen=True)
class Case:
    """A folder's files and a conversation."""

    template: str
    messages: list[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    place: str = "file"


CASES = {
    "headers": Case(HEADERS, TALK, {"add_generation_prompt": True}),
    "headers with a system turn": Case(HEADERS, SYSTEM),
    "headers with tools": Case(HEADERS, CALL, {"tools": [TOOL]}),
    "headers with a date": Case(HEADERS, TALK, {"date_string": "1 Jan 2030"}, "settings"),
    "marks": Case(MARKS, TALK, {"add_generation_prompt": True}),
    "marks with a system turn": Case(MARKS, SYSTEM, {"add_generation_prompt": True}, "settings"),
    "marks with thoughts": Case(MARKS, THOUGHT),
    "marks without thinking": Case(
        MARKS, TALK, {"add_generation_prompt": True, "enable_thinking": False}
    ),
    "brackets": Case(BRACKETS, TALK),
    "brackets with a system turn": Case(BRACKETS, SYSTEM, {}, "named"),
    "brackets out of turn": Case(BRACKETS, TALK[:1] + TALK[:1]),
    "rare features": Case(MARKED_TURNS, ODD),
    "rare features, CRLF": Case(MARKED_TURNS.replace("\n", "\r\n"), ODD),
    "parts": Case(LISTED, PARTS),
    "an attribute of nothing": Case("{{ missing.name }}", TALK),
    "python behind a value": Case("{{ messages.__class__.__mro__ }}", TALK),
    "a change of the messages": Case("{{ messages.append(1) }}", TALK),
    "a long range": Case("{% for i in range(1000000) %}{% endfor %}", TALK),
    "a hidden name in a namespace": Case("{{ namespace(_x=1) }}", TALK),
}
REFUSED = {
    "brackets out of turn": ChatReason.REJECTED,
    "an attribute of nothing": ChatReason.FAILED,
    "python behind a value": ChatReason.FAILED,
    "a change of the messages": ChatReason.FAILED,
    "a long range": ChatReason.FAILED,
    "a hidden name in a namespace": ChatReason.FAILED,
}


def write(case: Case, folder: Path) -> Path:
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = HfTokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(SPECIAL)
    folder.mkdir()
    inner.save(str(folder / "tokenizer.json"))
    settings = dict(SETTINGS)
    if case.place == "file":
        (folder / "chat_template.jinja").write_bytes(case.template.encode())
    elif case.place == "settings":
        settings["chat_template"] = case.template
    else:
        others = [{"name": "other", "template": "no"}, {"name": "default", "template": ""}]
        others[1]["template"] = case.template
        settings["chat_template"] = others
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("chats")
    return {name: write(case, root / str(i)) for i, (name, case) in enumerate(CASES.items())}


@pytest.fixture(scope="module")
def theirs(
    script: Script, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    root = tmp_path_factory.mktemp("rendered")
    asked = [
        {"folder": str(folders[name]), "messages": case.messages, "options": case.options}
        for name, case in CASES.items()
    ]
    (root / "cases.json").write_text(json.dumps(asked))
    script("render_chats.py", root / "cases.json", root / "out.json")
    return dict(zip(CASES, json.loads((root / "out.json").read_text()), strict=True))


def render(case: Case, folder: Path) -> str:
    template = ChatTemplate.load(folder)
    assert template is not None
    return template.render(case.messages, **{"add_generation_prompt": False} | case.options)


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_a_conversation_has_the_text_and_the_ids_of_transformers(
    name: str, folders: dict[str, Path], theirs: dict[str, dict[str, Any]]
) -> None:
    text = render(CASES[name], folders[name])
    tokenizer = Tokenizer.load(folders[name] / "tokenizer.json")
    assert {"text": text, "ids": tokenizer.encode(text)} == theirs[name]
    assert len(text) > 20


@pytest.mark.parametrize("name", REFUSED)
def test_what_transformers_refuses_is_refused_with_a_reason(
    name: str, folders: dict[str, Path], theirs: dict[str, dict[str, Any]]
) -> None:
    assert "error" in theirs[name]
    with pytest.raises(ChatRefused) as caught:
        render(CASES[name], folders[name])
    assert caught.value.reason is REFUSED[name]
    if caught.value.reason is ChatReason.REJECTED:
        assert caught.value.detail in theirs[name]["error"]
