"""`openledger session`: pay for a model's answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import httpx
import trio

from node.cli.amounts import amount_argument
from node.cli.arguments import account_argument, id_argument
from node.cli.chain import Chain
from node.cli.client_options import (
    add_key_options,
    add_node_options,
    add_signing_options,
    chosen_key,
)
from node.cli.contribution import Missing, NotThere
from node.cli.local_http import serve
from node.cli.model import price_facts
from node.cli.output import Account, Fact, Output, Planck
from node.cli.proxy import MAX_BODY, PaidSession, Proxy
from node.cli.talking import runs
from node.cli.voucher_purse import Purse
from node.errors import NodeError
from node.paths import default_base_path
from runtime.pallets.inference.types import Session, SessionState, Worker

LOOPBACK = "127.0.0.1"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("session", help="pay for a model's answers")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_open(actions)
    more = actions.add_parser("top-up", help="put more money aside")
    more.add_argument("session", type=id_argument)
    more.add_argument("amount", type=amount_argument, metavar="OPEN")
    add_signing_options(more)
    more.set_defaults(run=runs(_top_up))
    close = actions.add_parser("close", help="take no more requests; the rest is refunded")
    close.add_argument("session", type=id_argument)
    add_signing_options(close)
    close.set_defaults(run=runs(_close))
    show = actions.add_parser("show", help="show a session")
    show.add_argument("session", type=id_argument)
    add_node_options(show)
    show.set_defaults(run=runs(_show))
    _add_proxy(actions)


def _add_open(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    new = actions.add_parser("open", help="put money aside for answers of a model by a worker")
    new.add_argument("model", type=id_argument)
    new.add_argument(
        "--executor",
        type=account_argument,
        metavar="KEY",
        help="any worker of the model by default",
    )
    new.add_argument(
        "--voucher-key",
        type=account_argument,
        metavar="ADDRESS",
        help="signs the vouchers; the customer's key by default, better a hot key",
    )
    new.add_argument("--escrow", type=amount_argument, required=True, metavar="OPEN")
    new.add_argument(
        "--max-fee", type=amount_argument, metavar="OPEN", help="for one request; a tenth of it all"
    )
    new.add_argument("--ttl", type=id_argument, default=600, metavar="BLOCKS")
    add_signing_options(new)
    new.set_defaults(run=runs(_open))


def _add_proxy(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    proxy = actions.add_parser("proxy", help="serve a local OpenAI-compatible endpoint that pays")
    proxy.add_argument("session", type=id_argument)
    proxy.add_argument("--port", type=id_argument, default=8900)
    proxy.add_argument(
        "--max-fee", type=amount_argument, metavar="OPEN", help="for one request; the session's"
    )
    proxy.add_argument("--first-nonce", type=id_argument, default=1, metavar="N")
    proxy.add_argument(
        "--purse", type=Path, metavar="FOLDER", help="keeps nonces, ceilings and receipts"
    )
    add_key_options(proxy, "the session's voucher key")
    add_node_options(proxy)
    proxy.set_defaults(run=runs(_proxy))


async def session_of(chain: Chain, session: int) -> Session:
    """Read a session; raises NotThere."""
    found: Session | None = await chain.storage("Inference", "Sessions", session)
    if found is None:
        raise NotThere(Missing.SESSION, f"session {session}")
    return found


async def worker_of(chain: Chain, key: bytes) -> Worker:
    """Read a worker; raises NotThere."""
    found: Worker | None = await chain.storage("Inference", "Workers", key)
    if found is None:
        raise NotThere(Missing.WORKER, f"worker 0x{key.hex()}")
    return found


async def choose_executor(chain: Chain, model: int) -> bytes:
    """Return the worker of a model with the fewest faults, then the largest capacity."""
    found = [
        (worker.faults, -worker.capacity, key[0])
        for key, worker in await chain.entries("Inference", "Workers")
        if not worker.retiring and (not worker.models or model in worker.models)
    ]
    if not found:
        raise NotThere(Missing.WORKER, f"no worker serves model {model}")
    best: bytes = min(found)[2]
    return best


async def _open(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    executor = arguments.executor or await choose_executor(chain, arguments.model)
    if chain.signer is None:
        raise NodeError("this needs a key that signs")
    opened = await chain.call(
        "Inference",
        "open_session",
        "SessionOpened",
        model=arguments.model,
        executor=executor,
        voucher_key=arguments.voucher_key or chain.signer.account_id,
        escrow=arguments.escrow,
        max_fee=arguments.max_fee or max(1, arguments.escrow // 10),
        ttl=arguments.ttl,
    )
    session = await session_of(chain, opened.session)
    out.facts(_facts(opened.session, session))
    out.say("The worker, and the validators that are drawn to judge it, read prompts and answers.")


async def _top_up(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    await chain.call(
        "Inference",
        "top_up",
        "SessionToppedUp",
        session=arguments.session,
        amount=arguments.amount,
    )
    out.facts({"session": arguments.session, "added": Planck(arguments.amount)})


async def _close(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    closing = await chain.call(
        "Inference", "close_session", "SessionClosing", session=arguments.session
    )
    out.facts({"session": arguments.session, "state": "closing", "closes": closing.closes})


async def _show(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    session = await session_of(chain, arguments.session)
    out.facts(_facts(arguments.session, session))


async def _proxy(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    first = await session_of(chain, arguments.session)
    key = chosen_key(arguments)
    if key.account_id != first.voucher_key:
        raise NodeError("this is not the session's voucher key; its vouchers would be refused")
    folder = arguments.purse or default_base_path() / "purses" / chain.genesis.hex()[:16]
    least = max(first.settled_nonce, arguments.first_nonce - 1)
    with Purse(folder, chain.genesis, arguments.session, key, least_nonce=least) as purse:
        async with httpx.AsyncClient() as client:
            proxy = Proxy(
                refresh=lambda: paid_session(chain, arguments.session),
                purse=purse,
                client=client,
                receipts=folder / f"receipts-{arguments.session}.jsonl",
                max_fee=arguments.max_fee,
            )

            def started(port: int) -> None:
                out.facts(
                    {"endpoint": f"http://{LOOPBACK}:{port}/v1", "session": arguments.session}
                )
                sys.stdout.flush()

            await serve(proxy.handle, LOOPBACK, arguments.port, max_body=MAX_BODY, started=started)
    await trio.lowlevel.checkpoint()


async def paid_session(chain: Chain, session: int) -> PaidSession:
    """Read a session as it is now, and where its worker is reached."""
    found = await session_of(chain, session)
    worker = await worker_of(chain, found.executor)
    return PaidSession(session, found, worker.endpoint.decode(), await chain.height())


def _facts(number: int, session: Session) -> dict[str, Fact]:
    return {
        "session": number,
        "state": session.state.name.lower(),
        "customer": Account(session.customer),
        "model": session.model,
        "executor": Account(session.executor),
        "voucher key": Account(session.voucher_key),
        "price": price_facts(session.price),
        "escrow": None if session.state == SessionState.CLOSED else Planck(session.escrow),
        "held": Planck(session.held),
        "most per request": Planck(session.max_fee),
        "claimed": Planck(session.settled_total),
        "last settled nonce": session.settled_nonce,
        "expires": session.expires,
    }
