"""The report as one page that needs nothing else: styles and drawings stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from examples.demo import sankey, timeline
from examples.demo.sankey import Band, Node, exact, short

TEMPLATES = Path(__file__).parent / "templates"
Report = Mapping[str, Any]
COLOURS = 8
"""Colours for people; more of them share."""
GROUPS = {
    "executor": ("compute", "executor"),
    "committee": ("compute", "committee"),
    "audit pot": ("compute", "audit pot"),
    "contributor": ("premium", "contributors"),
    "upkeep": ("premium", "upkeep"),
    "refund": ("premium", "unmatched, returned"),
    "owner": ("premium", "model owner"),
    "lineage": ("premium", "lineage"),
    "backers": ("premium", "backers"),
    "stakers": ("premium", "stakers"),
    "treasury": ("premium", "treasury"),
    "burn": ("premium", "burned"),
}


def render(report: Report) -> str:
    """Return the page of a report."""
    colours = _colours(report)
    page = Template((TEMPLATES / "page.html").read_text())
    return page.substitute(
        style=(TEMPLATES / "style.css").read_text(),
        model=escape(report["model"]),
        seconds=f"{float(report['seconds']):.0f}",
        blocks=report["blocks"],
        fee=exact(int(report["fee"])),
        paid=len(report["payments"]),
        prompt=escape(report["prompt"]),
        answer=_answer(report["answer"], report["spans"], colours),
        legend=_legend(report, colours),
        note=_note(report),
        sankey=_flow(report, colours),
        escrow=exact(int(report["escrow"])),
        refund=exact(int(report["refund"])),
        records="".join(_record(record, colours) for record in report["records"][:8]),
        others="".join(_other(answer, colours) for answer in report["answers"]),
        payments="".join(_payment(payment, colours) for payment in report["payments"]),
        balances="".join(_balance(account, colours) for account in report["accounts"]),
        timeline=timeline.draw(report["timeline"], report["blocks"]),
    )


def _colours(report: Report) -> dict[str, str]:
    """Give every contributor a colour, the best paid first."""
    earned: dict[str, int] = {}
    for payment in report["payments"]:
        if payment["role"] == "contributor":
            name = payment["name"]
            earned[name] = earned.get(name, 0) + int(payment["amount"])
    for record in (*report["records"], *report["spans"]):
        earned.setdefault(record["contributor"], 0)
    ranked = sorted(earned, key=lambda name: (-earned[name], name))
    return {name: f"p{place % COLOURS}" for place, name in enumerate(ranked)}


def _answer(text: str, spans: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    """Mark the verbatim spans; where two overlap, the earlier one keeps the characters."""
    parts, done = [], 0
    for number, span in enumerate(spans, 1):
        start, end = max(done, span["start"]), span["end"]
        if start >= end:
            continue
        parts.append(escape(text[done:start]))
        title = f"{span['contributor']}, record {span['id']} of {span['datanet']}"
        parts.append(
            f'<a class="span {colours[span["contributor"]]}" href="#r-{_anchor(span)}" '
            f'title="{escape(title)}">{escape(text[start:end])}<sup>{number}</sup></a>'
        )
        done = end
    parts.append(escape(text[done:]))
    return "".join(parts)


def _anchor(record: Mapping[str, Any]) -> str:
    return f"{record['datanet_id']}-{record['id']}"


def _legend(report: Report, colours: Mapping[str, str]) -> str:
    amounts: dict[str, int] = dict.fromkeys(colours, 0)
    for payment in report["payments"]:
        if payment["role"] == "contributor":
            amounts[payment["name"]] += int(payment["amount"])
    most = max(amounts.values(), default=0) or 1
    return "".join(
        f'<li class="{colour}"><b>{escape(name)}</b>'
        f'<span class="track"><i style="width:{100 * amounts[name] / most:.1f}%"></i></span>'
        f'<span class="num" title="{exact(amounts[name])} OPEN">{short(amounts[name])}</span></li>'
        for name, colour in colours.items()
    )


def _note(report: Report) -> str:
    if not report["self_attested"]:
        return _committee(report["committee"], report["validators"])
    return (
        '<p class="note"><b>Self-attested.</b> This development chain has one validator, so the '
        "executor's own validator was the whole committee. It recomputed the drawn receipts and "
        "attested by commit and reveal, but nobody independent judged it. A chain with value "
        "never allows that: there the batch would be void.</p>"
    )


def _committee(names: Sequence[str], validators: int) -> str:
    if not names:
        return ""
    told = " and ".join(f"<b>{escape(name)}</b>" for name in names)
    return (
        f'<p class="note">Of {validators} validators, each at a node of its own, {told} were drawn '
        "to judge: their workers recomputed the drawn receipts from what the executor handed out, "
        "and attested by commit and reveal.</p>"
    )


def _flow(report: Report, colours: Mapping[str, str]) -> str:
    fee = int(report["fee"])
    groups: dict[str, int] = {}
    bands: list[Band] = []
    accounts: dict[str, tuple[str, int]] = {}
    for payment in report["payments"]:
        part, group = GROUPS[payment["role"]]
        amount = int(payment["amount"])
        groups[group] = groups.get(group, 0) + amount
        name = f"{payment['name']} ({group})" if group != "contributors" else payment["name"]
        colour = colours.get(payment["name"], "plain") if group == "contributors" else part
        key = f"{group}/{payment['name']}"
        accounts[key] = (name if group == "contributors" else payment["name"], amount)
        bands.append(Band(f"g/{group}", f"a/{key}", amount, colour))
    order = {group: place for place, (_, group) in enumerate(GROUPS.values())}
    parts = {part for part, group in GROUPS.values() if group in groups}
    totals = {
        part: sum(amount for group, amount in groups.items() if _part(group) == part)
        for part in sorted(parts)
    }
    nodes = [Node("customer", "customer", 0, fee)]
    nodes += [Node(f"p/{part}", part, 1, amount) for part, amount in totals.items()]
    nodes += [
        Node(f"g/{group}", group, 2, groups[group])
        for group in sorted(groups, key=order.__getitem__)
    ]
    for key in sorted(accounts, key=lambda k: (order[k.split("/")[0]], -accounts[k][1])):
        nodes.append(Node(f"a/{key}", accounts[key][0], 3, accounts[key][1]))
    bands += [Band("customer", f"p/{part}", amount, part) for part, amount in totals.items()]
    bands += [
        Band(f"p/{_part(group)}", f"g/{group}", amount, _part(group))
        for group, amount in groups.items()
    ]
    heads = {0: "paid", 1: "price", 2: "for what", 3: "to whom"}
    return sankey.draw(nodes, bands, heads)


def _part(group: str) -> str:
    return next(part for part, name in GROUPS.values() if name == group)


def _record(record: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    bars = "".join(
        f'<li><span class="name">{escape(field["name"])}</span>'
        f'<span class="track"><i style="width:{100 * float(field["share"]):.1f}%"></i></span>'
        f'<span class="num">{100 * float(field["share"]):.0f} %</span></li>'
        for field in record["fields"]
    )
    first, *rest = record["text"]
    body = escape(rest[-1]) if rest else ""
    head = " · ".join(map(escape, (first, *rest[:-1])))
    return (
        f'<article class="record {colours[record["contributor"]]}" id="r-{_anchor(record)}">'
        f"<header><b>{escape(record['contributor'])}</b>"
        f"<span>{escape(record['datanet'])} № {record['id']}</span>"
        f'<span class="num">{100 * float(record["share"]):.1f} % of the contributors\' part</span>'
        f"</header><h3>{head}</h3><p>{body}</p>"
        f'<ul class="bars">{bars}</ul>'
        f"<footer>score {int(record['score']):,} · {escape(record['field'])} mattered most</footer>"
        "</article>"
    )


def _other(answer: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    known = {
        name: colours.get(name, "plain")
        for span in answer["spans"]
        for name in [span["contributor"]]
    }
    return (
        f'<article class="other"><p class="prompt">{escape(answer["prompt"])}</p>'
        f'<p class="text">{_answer(answer["text"], answer["spans"], known)}</p>'
        f"<footer>{answer['prompt_tokens']} + {answer['completion_tokens']} tokens · "
        f'<span title="{exact(int(answer["fee"]))} OPEN">{short(int(answer["fee"]))} OPEN</span> · '
        f"receipt {escape(answer['receipt'][:18])}… verified</footer></article>"
    )


def _payment(payment: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    colour = colours.get(payment["name"], "plain") if payment["role"] == "contributor" else "plain"
    return (
        f'<tr><td>{escape(payment["role"])}</td><td class="{colour}">{escape(payment["name"])}</td>'
        f'<td class="num">{exact(int(payment["amount"]))}</td></tr>'
    )


def _balance(account: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    change = int(account["after"]) - int(account["before"])
    return (
        f'<tr><td class="{colours.get(account["name"], "plain")}">{escape(account["name"])}</td>'
        f"<td>{escape(', '.join(account['roles']))}</td>"
        f'<td class="num">{exact(int(account["before"]))}</td>'
        f'<td class="num">{exact(int(account["after"]))}</td>'
        f'<td class="num">{"+" if change > 0 else ""}{exact(change)}</td>'
        f'<td class="num">{exact(int(account["earned"]))}</td>'
        f'<td class="num">{exact(int(account["transaction_fees"]))}</td>'
        f'<td class="num">{exact(int(account["held"]))}</td></tr>'
    )
