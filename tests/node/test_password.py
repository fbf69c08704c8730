import os
import subprocess
import sys

import pytest

from node.password import PasswordError, PasswordReason, read_password

SCRIPT = """
from node.password import PasswordError, read_password
try:
    print(read_password(None, new={new}))
except PasswordError as error:
    print(error.reason.name)
"""


def asked(new, typed):
    """Return what a process says that asks at a terminal where `typed` is typed."""
    keyboard, terminal = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(new=new)],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that no other terminal is asked
        )
        with process:
            for prompt, line in zip(("Keystore password: ", "\nAgain: "), typed, strict=False):
                # getpass drops what is typed before it asks
                assert process.stderr.read(len(prompt)) == prompt
                os.write(keyboard, line.encode() + b"\n")
            return process.stdout.read().strip()
    finally:
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.parametrize("content", ["secret", "secret\n", "secret\r\nsecond line\n"])
def test_the_first_line_of_the_file_is_the_password(tmp_path, content):
    (tmp_path / "password").write_bytes(content.encode())
    assert read_password(tmp_path / "password") == "secret"


def test_spaces_belong_to_the_password(tmp_path):
    (tmp_path / "password").write_text(" a b \n")
    assert read_password(tmp_path / "password") == " a b "


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", PasswordReason.EMPTY),
        (b"\nsecond", PasswordReason.EMPTY),
        (b"\xff\xfe", PasswordReason.UNREADABLE),
        (None, PasswordReason.UNREADABLE),
    ],
)
def test_a_file_without_a_password_is_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    with pytest.raises(PasswordError) as refusal:
        read_password(tmp_path / "password")
    assert refusal.value.reason is reason


@pytest.mark.parametrize(
    ("new", "typed", "said"),
    [
        (False, ["a word"], "a word"),
        (False, [""], "EMPTY"),
        (True, ["a word", "a word"], "a word"),
        (True, ["a word", "another"], "NOT_REPEATED"),
    ],
)
def test_the_terminal_is_asked_and_a_new_password_twice(new, typed, said):
    assert asked(new, typed) == said


def test_without_a_terminal_a_file_is_asked_for():
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(new=False)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=True,
    )
    assert result.stdout == "NO_TERMINAL\n"
