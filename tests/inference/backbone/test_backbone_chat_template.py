from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.backbone.chat_template import ChatReason, ChatRefused, ChatTemplate
from tests.patience import PATIENCE

TALK = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
LINES = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def refused(source: str, messages: list[dict[str, object]] | None = None) -> ChatReason:
    began = time.process_time()
    with pytest.raises(ChatRefused) as caught:
        ChatTemplate(source).render(TALK if messages is None else messages)
    assert time.process_time() - began < PATIENCE
    return caught.value.reason


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999)|map('string') %}"
        "{% endfor %}{% endfor %}",
        "{% set n = namespace(s='aaaa') %}{% for i in range(99) %}"
        "{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s=['a']) %}{% for i in range(99) %}"
        "{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s='aaaa') %}{% for i in range(99) %}"
        "{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * [0] }}",
        "{{ 10 ** 100000000 }}",
        "{% set n = namespace(x=2) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% for i in range(99999) %}" + "{{ '" + "a" * 200 + "' }}" + "{% endfor %}",
    ],
)
def test_work_and_text_are_bounded(source: str) -> None:
    assert refused(source) is ChatReason.TOO_LONG


@pytest.mark.parametrize(
    "source",
    [
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for m in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        "{{ messages.__class__ }}{{ messages.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(a=1) }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ namespace(_x=1) }}",
        "{{ namespace(a=1)['__init__']() }}",
        "{{ range(1000000) }}",
        "{{ missing.name }}",
        "{{ 1 / 0 }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{{ strftime_now(5) }}",
        "{{ messages | map('nothing') | list }}",
        "{{ lipsum | tojson }}",
    ],
)
def test_what_fails_inside_is_a_refusal(source: str) -> None:
    assert refused(source) is ChatReason.FAILED


def test_a_template_refuses_in_its_own_words() -> None:
    with pytest.raises(ChatRefused, match="user first") as caught:
        ChatTemplate("{{ raise_exception('user first, ' + messages[0].role) }}").render(TALK)
    assert caught.value.reason is ChatReason.REJECTED


def test_an_empty_conversation_and_one_of_objects_are_refused() -> None:
    assert refused(LINES, []) is ChatReason.EMPTY
    assert refused(LINES, [{"role": "user", "content": Path("/etc/passwd")}]) is ChatReason.FAILED
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert refused(LINES, [{"role": "user", "content": deep}]) is ChatReason.FAILED


@given(st.text(), st.text())
def test_contents_are_written_as_they_are(role: str, content: str) -> None:
    text = ChatTemplate(LINES).render([{"role": role, "content": content}])
    assert text == f"{role}: {content}\n"


def test_messages_are_not_changed_and_absent_values_are_left_out() -> None:
    talk = [{"role": "assistant", "content": None, "tool_calls": [{"a": 1}]}]
    source = "{{ 'content' in messages[0] }}{% set messages = [] %}{{ messages }}"
    assert ChatTemplate(source).render(talk) == "False[]"
    assert talk == [{"role": "assistant", "content": None, "tool_calls": [{"a": 1}]}]


def test_the_assistants_turn_is_opened_on_request() -> None:
    template = ChatTemplate("{{ messages|length }}{% if add_generation_prompt %}>{% endif %}")
    assert template.render(TALK) == "2>"
    assert template.render(TALK, add_generation_prompt=False) == "2"


def test_a_conversation_of_a_thousand_turns_is_within_the_bounds() -> None:
    assert ChatTemplate(LINES).render(TALK * 500).count("\n") == 1000


def test_special_tokens_come_from_the_settings_or_the_older_map(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}|{{ eos_token }}|{{ pad_token }}")
    settings = {"bos_token": {"content": "<a>"}, "eos_token": "<b>", "pad_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))

    def text() -> str:
        template = ChatTemplate.load(tmp_path)
        assert template is not None
        return template.render(TALK)

    assert text() == "<a>|<b>|"
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<c>"}))
    assert text() == "<a>|<b>|<c>"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {}}))
    assert text() == "||"


def test_the_file_counts_before_the_settings(tmp_path: Path) -> None:
    assert ChatTemplate.load(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "settings"}))
    template = ChatTemplate.load(tmp_path)
    assert template is not None
    assert template.render(TALK) == "settings"
    (tmp_path / "chat_template.jinja").write_text("file")
    template = ChatTemplate.load(tmp_path)
    assert template is not None
    assert template.render(TALK) == "file"


def test_threads_count_their_own_steps() -> None:
    template = ChatTemplate(
        "{% for i in range(90000) %}{% for j in [1, 2, 3] %}{% endfor %}{% endfor %}x"
    )
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(template.render(TALK))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["x"] * 4
