"""What the demo tells at the terminal; without one it writes plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.demo.sankey import exact, short

QUIET_SECONDS = 15.0
STYLES = ("green", "dark_orange", "blue", "magenta", "yellow", "red", "cyan", "white")


class Screen:
    """Prints steps and their outcome with the seconds since the start."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        if not self._console.is_terminal:
            self._console = Console(width=120, file=self._console.file)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def step(self, number: int, title: str) -> None:
        """Announce one of the six steps."""
        self._console.print(f"\n[bold]{number}/6  {title}[/bold]  [dim]{self.seconds:.0f} s[/dim]")

    def note(self, text: str) -> None:
        """Tell a fact."""
        self._console.print(f"     {text}", highlight=False, markup=False)

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something takes its time; yields what tells how far it is.

        A terminal shows a spinner with the latest word; elsewhere a line is written now and then.
        """
        if self._console.is_terminal:
            with self._console.status(text) as status:
                yield lambda news: status.update(f"{text}: {escape(news)}")
        else:
            self.note(f"{text} …")
            told = self.seconds

            def tell(news: str) -> None:
                nonlocal told
                if self.seconds > told + QUIET_SECONDS:
                    told = self.seconds
                    self.note(f"  {told:.0f} s  {news}")

            yield tell

    def piece(self, text: str) -> None:
        """Print a piece of an answer as it comes."""
        self._console.print(text, end="", highlight=False, markup=False, style="italic")

    def result(self, report: Mapping[str, Any]) -> None:
        """Show the answer, the records, the split and the balances."""
        styles = _styles(report)
        self._console.print()
        self._console.print(
            Panel(_answer(report, styles), title="the answer", subtitle=report["prompt"].strip())
        )
        self._console.print(_records(report["records"][:6], styles))
        self._console.print(_payments(report, styles))
        self._console.print(_balances(report["accounts"], styles))
        if report["self_attested"]:
            self.note(
                "Self-attested: this chain has one validator, which judged its own batch. "
                "No chain with value allows that."
            )
        elif report["committee"]:
            self.note(
                f"Judged by {' and '.join(report['committee'])}, each with a worker and a node of "
                "its own."
            )


def _styles(report: Mapping[str, Any]) -> dict[str, str]:
    names = {p["name"] for p in report["payments"] if p["role"] == "contributor"}
    names |= {r["contributor"] for r in (*report["records"], *report["spans"])}
    return {name: STYLES[at % len(STYLES)] for at, name in enumerate(sorted(names))}


def _answer(report: Mapping[str, Any], styles: Mapping[str, str]) -> Text:
    text = Text(report["answer"].strip("\n") and report["answer"])
    for span in report["spans"]:
        text.stylize(f"underline {styles[span['contributor']]}", span["start"], span["end"])
    for number, span in enumerate(report["spans"], 1):
        quoted = " ".join(span["text"].split())
        text.append(f"\n[{number}] ", "dim")
        text.append(span["contributor"], styles[span["contributor"]])
        text.append(f", {span['datanet']} № {span['id']}: “{quoted}”", "dim")
    return text


def _records(records: Sequence[Mapping[str, Any]], styles: Mapping[str, str]) -> Table:
    table = Table(title="The records that shaped it", title_justify="left")
    for name in ("record", "contributor", "about", "score", "share", "the field that mattered"):
        table.add_column(name, justify="right" if name in ("score", "share") else "left")
    for record in records:
        share = next(f["share"] for f in record["fields"] if f["name"] == record["field"])
        about = " · ".join(record["text"][:-1])
        table.add_row(
            f"{record['datanet']} № {record['id']}",
            Text(record["contributor"], styles[record["contributor"]]),
            Text(about[:44]),
            f"{record['score']:,}",
            f"{100 * float(record['share']):.2f} %",
            f"{record['field']} ({100 * float(share):.0f} %)",
        )
    return table


def _payments(report: Mapping[str, Any], styles: Mapping[str, str]) -> Table:
    table = Table(title="The fee, to the last unit", title_justify="left", show_footer=True)
    table.add_column("for", footer="fee")
    table.add_column("account")
    table.add_column("OPEN", justify="right", footer=exact(int(report["fee"])))
    for payment in report["payments"]:
        style = styles.get(payment["name"], "") if payment["role"] == "contributor" else ""
        amount = exact(int(payment["amount"]))
        table.add_row(payment["role"], Text(payment["name"], style), amount)
    return table


def _balances(accounts: Sequence[Mapping[str, Any]], styles: Mapping[str, str]) -> Table:
    table = Table(title="Balances, free and bonded together", title_justify="left", caption="OPEN")
    table.add_column("account")
    table.add_column("was")
    for name in ("before", "after", "earned", "transaction fees", "bonded"):
        table.add_column(name, justify="right")
    for account in accounts:
        table.add_row(
            Text(account["name"], styles.get(account["name"], "")),
            ", ".join(account["roles"]),
            *(
                short(int(account[key]))
                for key in ("before", "after", "earned", "transaction_fees", "held")
            ),
        )
    return table
