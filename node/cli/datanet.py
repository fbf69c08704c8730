"""`openledger datanet`: create silos of records, contribute to them, decide, publish, accuse."""

from __future__ import annotations

import argparse
from pathlib import Path

from genesis import datanets as examples
from node.cli.amounts import amount_argument
from node.cli.arguments import hash_argument, id_argument
from node.cli.chain import Chain
from node.cli.client_options import add_node_options, add_signing_options
from node.cli.contribution import (
    Missing,
    NotThere,
    Submission,
    check_blob,
    datanet_of,
    pending,
    prepare,
    submit,
)
from node.cli.output import Account, Fact, Output, Planck
from node.cli.record_lines import read_records
from node.cli.talking import runs
from runtime.pallets.datanets.types import Batch, Datanet, FlagKind, Policy

FLAGS = {"adversarial": FlagKind.ADVERSARIAL, "unavailable": FlagKind.UNAVAILABLE}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("datanet", help="create, fill and publish Datanets")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_create(actions)
    _add_submit(actions)
    _add_decisions(actions)
    _add_flag(actions)
    _add_views(actions)


def _add_create(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = actions.add_parser("create", help="create a Datanet; a deposit is held")
    make.add_argument("name")
    make.add_argument("--fields", required=True, metavar="A,B,…", help="names of a record's fields")
    make.add_argument("--closed", action="store_true", help="only the owner may submit")
    make.add_argument(
        "--bond-per-record", type=amount_argument, default=amount_argument("0.1"), metavar="OPEN"
    )
    make.add_argument(
        "--min-bond", type=amount_argument, default=amount_argument("1"), metavar="OPEN"
    )
    add_signing_options(make)
    make.set_defaults(run=runs(_create))


def _add_submit(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    give = actions.add_parser("submit", help="bond and submit records")
    give.add_argument("datanet", type=id_argument)
    give.add_argument("file", type=Path, nargs="?", help="JSON Lines: arrays, or objects by field")
    give.add_argument(
        "--example", metavar="KEY", help=f"an example Datanet: {', '.join(examples.KEYS)}"
    )
    give.add_argument("--contributor", metavar="NAME", help="whose records of the example")
    give.add_argument("--licence", metavar="SPDX", help="licence expression of all the records")
    give.add_argument("--bond", type=amount_argument, metavar="OPEN", help="the least by default")
    add_signing_options(give)
    give.set_defaults(run=runs(_submit))


def _add_decisions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    accept = actions.add_parser("accept", help="fetch and check a batch, then take it in")
    accept.add_argument("datanet", type=id_argument)
    accept.add_argument("batch", type=id_argument, nargs="*", help="all that wait by default")
    add_signing_options(accept)
    accept.set_defaults(run=runs(_accept))
    for name, action, text in (
        ("reject", _reject, "turn a batch down; its bond goes back"),
        ("release-bond", _release, "free the bond of a batch whose flag window is over"),
    ):
        parser = actions.add_parser(name, help=text)
        parser.add_argument("datanet", type=id_argument)
        parser.add_argument("batch", type=id_argument)
        add_signing_options(parser)
        parser.set_defaults(run=runs(action))
    publish = actions.add_parser("publish", help="freeze a version that models can be trained on")
    publish.add_argument("datanet", type=id_argument)
    add_signing_options(publish)
    publish.set_defaults(run=runs(_publish))


def _add_flag(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    flag = actions.add_parser("flag", help="bond an accusation against an accepted batch")
    flag.add_argument("datanet", type=id_argument)
    flag.add_argument("batch", type=id_argument)
    flag.add_argument("--kind", choices=tuple(FLAGS), required=True)
    flag.add_argument(
        "--evidence", type=hash_argument, default=bytes(32), metavar="HASH", help="blob hash"
    )
    flag.add_argument("--bond", type=amount_argument, default=amount_argument("1"), metavar="OPEN")
    add_signing_options(flag)
    flag.set_defaults(run=runs(_flag))


def _add_views(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rows = actions.add_parser("list", help="list all Datanets")
    add_node_options(rows)
    rows.set_defaults(run=runs(_list))
    show = actions.add_parser("show", help="show a Datanet with batches, versions, contributors")
    show.add_argument("datanet", type=id_argument)
    add_node_options(show)
    show.set_defaults(run=runs(_show))


async def _create(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    policy = Policy(not arguments.closed, arguments.bond_per_record, arguments.min_bond)
    made = await chain.call(
        "Datanets",
        "create",
        "Created",
        name=arguments.name.encode(),
        schema=tuple(name.strip().encode() for name in arguments.fields.split(",")),
        policy=policy,
    )
    out.facts({"datanet": made.datanet, "owner": Account(made.owner), "name": arguments.name})


async def _submit(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    net = await datanet_of(chain, arguments.datanet)
    submission = _submission(arguments, [name.decode() for name in net.schema])
    with out.progress() as bar:
        task = bar.add_task("uploading the records", total=len(submission.blob))
        batch, bond = await submit(
            chain,
            arguments.datanet,
            submission,
            lambda done, _: bar.update(task, completed=done),
        )
    facts: dict[str, Fact] = {
        "datanet": arguments.datanet,
        "batch": batch,
        "records": len(submission.records),
        "bytes": len(submission.blob),
        "bond": Planck(bond),
    }
    out.facts(facts)


def _submission(arguments: argparse.Namespace, schema: list[str]) -> Submission:
    """Read the records that the options name; raises LinesRefusal, NotThere or RecordRefusal."""
    if (arguments.file is None) == (arguments.example is None):
        raise NotThere(Missing.NAME, "name either a file of JSON Lines or --example")
    if arguments.file is not None:
        if arguments.licence is None:
            raise NotThere(Missing.NAME, "--licence is needed with a file")
        records = read_records(arguments.file, schema)
        return prepare(records, len(schema), arguments.licence, arguments.bond)
    if arguments.example not in examples.KEYS:
        raise NotThere(Missing.NAME, arguments.example)
    example = examples.load(arguments.example)
    taken = tuple(
        record.fields
        for record in example.records
        if arguments.contributor in (None, record.contributor)
    )
    licences = {portion.contributor: portion.licence for portion in example.portions}
    licence = arguments.licence or licences.get(arguments.contributor, example.licence)
    return prepare(taken, len(schema), licence, arguments.bond)


async def _accept(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    batches = arguments.batch or await pending(chain, arguments.datanet)
    rows: list[dict[str, Fact]] = []
    for batch in batches:
        with out.progress() as bar:
            task = bar.add_task(f"fetching batch {batch}", total=None)
            await check_blob(
                chain,
                arguments.datanet,
                batch,
                lambda done, total, bar=bar, task=task: bar.update(  # type: ignore[misc]
                    task, completed=done, total=total
                ),
            )
        taken = await chain.call(
            "Datanets", "accept", "BatchAccepted", datanet=arguments.datanet, batch=batch
        )
        rows.append({"batch": batch, "first record": taken.first_record, "records": taken.count})
    out.rows("accepted batches", rows)


async def _reject(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    await chain.call(
        "Datanets",
        "reject",
        "BatchRejected",
        datanet=arguments.datanet,
        batch=arguments.batch,
    )
    out.facts({"datanet": arguments.datanet, "batch": arguments.batch, "status": "rejected"})


async def _release(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    freed = await chain.call(
        "Datanets",
        "release_bond",
        "BondReleased",
        datanet=arguments.datanet,
        batch=arguments.batch,
    )
    out.facts({"batch": arguments.batch, "released": Planck(freed.amount)})


async def _publish(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    made = await chain.call(
        "Datanets", "publish_version", "VersionPublished", datanet=arguments.datanet
    )
    out.facts(
        {
            "datanet": made.datanet,
            "version": made.version,
            "records": made.records,
            "root": made.root,
        }
    )


async def _flag(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    raised = await chain.call(
        "Datanets",
        "flag",
        "Flagged",
        datanet=arguments.datanet,
        batch=arguments.batch,
        kind=FLAGS[arguments.kind],
        evidence=arguments.evidence,
        bond=arguments.bond,
    )
    out.facts({"flag": raised.flag, "batch": raised.batch, "bond": Planck(arguments.bond)})


async def _list(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    found = sorted(await chain.entries("Datanets", "Datanets"))
    out.rows("Datanets", [_datanet(key[0], net) for key, net in found])


async def _show(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    datanet: int = arguments.datanet
    net = await datanet_of(chain, datanet)
    batches = await chain.entries("Datanets", "Batches", datanet)
    versions = await chain.entries("Datanets", "Versions", datanet)
    contributors = await chain.entries("Datanets", "Contributors", datanet)
    facts = _datanet(datanet, net)
    facts["policy"] = {
        "open": net.policy.open,
        "bond per record": Planck(net.policy.bond_per_record),
        "least bond": Planck(net.policy.min_bond),
    }
    facts["batches"] = [
        {"batch": key[-1]} | _batch(entry) for key, entry in sorted(batches, key=_last)
    ]
    facts["versions"] = [
        {"version": key[-1], "records": entry.records, "root": entry.root}
        for key, entry in sorted(versions, key=_last)
    ]
    facts["contributors"] = [
        {
            "account": Account(key[-1]),
            "records": entry.records,
            "bonded": Planck(entry.bonded),
            "copies": entry.redundant,
        }
        for key, entry in sorted(contributors, key=_last)
    ]
    out.facts(facts)


def _last(row: tuple[tuple[object, ...], object]) -> tuple[object, ...]:
    return row[0]


def _datanet(datanet: int, net: Datanet) -> dict[str, Fact]:
    return {
        "datanet": datanet,
        "name": net.name.decode(),
        "status": net.status.name.lower(),
        "owner": Account(net.owner),
        "fields": [name.decode() for name in net.schema],
        "records": net.records,
        "versions": net.versions,
    }


def _batch(entry: Batch) -> dict[str, Fact]:
    return {
        "status": entry.status.name.lower(),
        "contributor": Account(entry.contributor),
        "records": entry.count,
        "first": entry.first_record,
        "licence": entry.licence.decode(),
        "bond": Planck(entry.bond),
        "open flags": entry.open_flags,
        "blob": entry.blob,
    }
