"""Parsers of the command line whose errors stay readable."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

LONGEST_USAGE = 3
"""Lines of usage that are printed before an error; a longer one is in `--help`."""


class Parser(argparse.ArgumentParser):
    """Tells of an error below a usage of few lines; the parsers of its subcommands do too."""

    def error(self, message: str) -> NoReturn:
        """Print usage and error, exit with status 2."""
        usage = self.format_usage()
        if usage.count("\n") > LONGEST_USAGE:
            usage = self._short_usage()
        sys.stderr.write(usage)
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _short_usage(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(None, self._get_positional_actions(), [])
        return f"{formatter.format_help().rstrip()} [options]; see {self.prog} --help\n"
