"""`openledger validator`: register the key of the agreement, and see who does their part."""

from __future__ import annotations

import argparse

from node.cli.arguments import account_argument
from node.cli.chain import Chain
from node.cli.client_options import add_node_options, add_signing_options
from node.cli.output import Account, Fact, Output
from node.cli.talking import runs
from node.cli.validator_key import add_consensus_key_options, consensus_key
from node.cli.validator_sets import Sets, read_sets
from node.errors import NodeError
from runtime.construct import encode_call

MEANINGS = {
    "CONFLICTING_NOTARIZE": "two blocks notarized in one view",
    "CONFLICTING_FINALIZE": "two blocks finalized in one view",
    "NULLIFY_FINALIZE": "a view given up and finalized",
    "NOTARIZE_FINALIZE": "one block notarized, another finalized in one view",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("validator", help="keys, sets and conduct of validators")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    put = actions.add_parser("set-keys", help="register the key with which an account validates")
    add_consensus_key_options(put)
    add_signing_options(put)
    put.set_defaults(run=runs(_set_keys))
    prove = actions.add_parser(
        "key-proof", help="print the proof with which a wallet elsewhere can call session.setKeys"
    )
    prove.add_argument("--account", type=account_argument, required=True, metavar="ADDRESS")
    add_consensus_key_options(prove)
    add_node_options(prove)
    prove.set_defaults(run=runs(_key_proof))
    purge = actions.add_parser("purge-keys", help="give up the key of an account not elected")
    add_signing_options(purge)
    purge.set_defaults(run=runs(_purge_keys))
    status = actions.add_parser("status", help="show the epoch, its validators, what they did")
    status.add_argument(
        "--account", type=account_argument, metavar="ADDRESS", help="one validator's keys instead"
    )
    add_node_options(status)
    status.set_defaults(run=runs(_status))
    told = actions.add_parser("evidence", help="list whom this node saw contradict themselves")
    add_node_options(told)
    told.set_defaults(run=runs(_evidence))


async def _set_keys(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    if chain.signer is None:
        raise NodeError("this needs a key that signs: name it with --suri or --keystore")
    account = chain.signer.account_id
    key = await consensus_key(arguments, chain)
    proof = key.key_ownership(chain.genesis, account)
    done = await chain.send(encode_call("Session", "set_keys", key=key.public, proof=proof))
    made = await chain.client.header(done.block_hash or b"")
    parent = None if made is None else made.parent_hash
    # A set is frozen at the end of an epoch, also by the block that holds the call.
    epoch = await chain.client.storage("Session", "CurrentIndex", at=parent)
    elected = await chain.storage("Session", "Elected")
    facts: dict[str, Fact] = {
        "account": Account(account),
        "key": key.public,
        "acts from epoch": epoch + 2,
        "elected": any(member.account == account for member in elected),
    }
    out.facts(facts)
    if not facts["elected"]:
        out.say("the account is not elected: the key acts once it is")


async def _key_proof(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    key = await consensus_key(arguments, chain)
    proof = key.key_ownership(chain.genesis, arguments.account)
    out.facts({"account": Account(arguments.account), "key": key.public, "proof": proof})


async def _purge_keys(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    gone = await chain.call("Session", "purge_keys", "KeysPurged")
    out.facts({"account": Account(gone.account), "purged": gone.key})


async def _status(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    sets = await read_sets(chain)
    if arguments.account is not None:
        _show_account(sets, arguments.account, arguments.json, out)
        return
    members, next_set = sets.rows(), sets.changes()
    if arguments.json:
        out.facts(sets.facts() | {"validators": list(members), "next": list(next_set)})
        return
    out.facts(sets.facts())
    out.rows("validators", members)
    if next_set:
        out.rows("what changes", next_set)


def _show_account(sets: Sets, account: bytes, as_json: bool, out: Output) -> None:
    facts, acts = sets.facts() | sets.account(account), sets.acts(account)
    if as_json:
        out.facts(facts | {"acts": list(acts)})
        return
    out.facts(facts)
    out.rows("which key acts when", acts)


async def _evidence(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    rows: list[dict[str, Fact]] = []
    for piece in await chain.client.request("openledger_evidence"):
        members = await chain.storage("Session", "HistoricalSets", piece["epoch"]) or ()
        known = piece["position"] < len(members)
        rows.append(
            {
                "kind": piece["kind"],
                "epoch": piece["epoch"],
                "view": piece["view"],
                "position": piece["position"],
                "account": Account(members[piece["position"]].account) if known else None,
                "means": MEANINGS.get(piece["kind"], "see the specification"),
            }
            | ({"evidence": piece["evidence"]} if arguments.json else {})
        )
    out.rows("evidence", rows)
