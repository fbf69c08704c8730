"""Render conversations with transformers.

`render_chats.py CASES.json OUT.json`: CASES is a list of {folder, messages, options}; OUT a list
of {text, ids} or {error}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import transformers


def render(case: dict[str, Any]) -> dict[str, Any]:
    """Load the folder's tokenizer and render one conversation."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["folder"])
    try:
        text = tokenizer.apply_chat_template(case["messages"], tokenize=False, **case["options"])
        encoded = tokenizer.apply_chat_template(case["messages"], tokenize=True, **case["options"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": text, "ids": list(encoded["input_ids"])}


def main() -> None:
    """Render every case."""
    cases = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([render(case) for case in cases]))


if __name__ == "__main__":
    main()
