"""`openledger model`: propose, back, submit, launch and price models."""

from __future__ import annotations

import argparse
from pathlib import Path

from node.cli.amounts import amount_argument
from node.cli.arguments import id_argument, version_argument
from node.cli.artifact_file import read_artifact
from node.cli.chain import Chain
from node.cli.client_options import add_node_options, add_signing_options
from node.cli.contribution import Missing, NotThere
from node.cli.output import Account, Fact, Output, Planck
from node.cli.talking import runs
from runtime.pallets.models.types import DatanetVersion, Model
from runtime.protocols.price import Price

PER_TOKEN = "OPEN per token"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("model", help="propose, back, launch and price models")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_propose(actions)
    for name, action, text in (
        ("back", _back, "stake on a model; backers share what it earns"),
        ("unback", _unback, "take stake back"),
    ):
        stake = actions.add_parser(name, help=text)
        stake.add_argument("model", type=id_argument)
        stake.add_argument("amount", type=amount_argument, metavar="OPEN")
        add_signing_options(stake)
        stake.set_defaults(run=runs(action))
    give = actions.add_parser("submit", help="declare a trained adapter and upload it")
    give.add_argument("model", type=id_argument)
    give.add_argument("folder", type=Path, help="what `openledger train` wrote")
    add_signing_options(give)
    give.set_defaults(run=runs(_submit))
    for name, action, text in (
        ("launch", _launch, "open a trained model to paid sessions"),
        ("price", _price, "change the price for sessions opened from now on"),
    ):
        price = actions.add_parser(name, help=text)
        price.add_argument("model", type=id_argument)
        _add_price(price)
        add_signing_options(price)
        price.set_defaults(run=runs(action))
    rows = actions.add_parser("list", help="list all models")
    add_node_options(rows)
    rows.set_defaults(run=runs(_list))
    show = actions.add_parser("show", help="show a model")
    show.add_argument("model", type=id_argument)
    add_node_options(show)
    show.set_defaults(run=runs(_show))


def _add_propose(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    new = actions.add_parser("propose", help="stake on training a model on published Datanets")
    new.add_argument("name")
    new.add_argument(
        "--datanet",
        type=version_argument,
        action="append",
        required=True,
        metavar="ID:VERSION",
        help="repeat it for several",
    )
    new.add_argument("--base", type=id_argument, default=0, metavar="ID")
    new.add_argument("--parent", type=id_argument, metavar="MODEL")
    new.add_argument("--royalty", type=id_argument, default=0, metavar="BASIS-POINTS")
    new.add_argument("--stake", type=amount_argument, default=amount_argument("10"), metavar="OPEN")
    add_signing_options(new)
    new.set_defaults(run=runs(_propose))


def _add_price(parser: argparse.ArgumentParser) -> None:
    for name, text in (
        ("--compute-in", "computation of a prompt's token"),
        ("--compute-out", "computation of an answer's token"),
        ("--premium", "on every token: contributors, owner, backers, stakers; half of compute up"),
    ):
        parser.add_argument(
            name, type=amount_argument, required=True, metavar="OPEN", help=f"{PER_TOKEN}: {text}"
        )


async def model_of(chain: Chain, model: int) -> Model:
    """Read a model; raises NotThere."""
    found: Model | None = await chain.storage("Models", "Models", model)
    if found is None:
        raise NotThere(Missing.MODEL, f"model {model}")
    return found


async def _propose(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    made = await chain.call(
        "Models",
        "propose",
        "Proposed",
        name=arguments.name.encode(),
        base=arguments.base,
        parent=arguments.parent,
        royalty=arguments.royalty,
        datanets=tuple(DatanetVersion(*pair) for pair in arguments.datanet),
        stake=arguments.stake,
    )
    out.facts({"model": made.model, "name": arguments.name, "stake": Planck(made.stake)})


async def _back(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    await chain.call("Models", "back", "Backed", model=arguments.model, amount=arguments.amount)
    out.facts({"model": arguments.model, "staked": Planck(arguments.amount)})


async def _unback(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    await chain.call("Models", "unback", "Unbacked", model=arguments.model, amount=arguments.amount)
    out.facts({"model": arguments.model, "returned": Planck(arguments.amount)})


async def _submit(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    artifact = read_artifact(arguments.folder)
    await chain.call(
        "Models",
        "submit_artifact",
        "ArtifactSubmitted",
        model=arguments.model,
        artifact=artifact.declared,
    )
    with out.progress() as bar:
        task = bar.add_task("uploading the artifact", total=len(artifact.blob))
        await chain.upload(artifact.blob, lambda done, _: bar.update(task, completed=done))
    out.facts(
        {
            "model": arguments.model,
            "artifact": artifact.declared.manifest,
            "bytes": artifact.declared.manifest_bytes,
            "training receipt": artifact.declared.training_receipt,
        }
    )


def _chosen_price(arguments: argparse.Namespace) -> Price:
    return Price(arguments.compute_in, arguments.compute_out, arguments.premium)


async def _launch(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    price = _chosen_price(arguments)
    await chain.call("Models", "launch", "Launched", model=arguments.model, price=price)
    out.facts({"model": arguments.model, "stage": "launched", "price": price_facts(price)})


async def _price(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    price = _chosen_price(arguments)
    await chain.call("Models", "set_price", "PriceSet", model=arguments.model, price=price)
    out.facts({"model": arguments.model, "price": price_facts(price)})


async def _list(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    found = sorted(await chain.entries("Models", "Models"), key=lambda row: row[0])
    out.rows("models", [_facts(key[0], model) for key, model in found])


async def _show(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    model = await model_of(chain, arguments.model)
    facts = _facts(arguments.model, model)
    facts["backers"] = [
        {"account": Account(backer.account), "stake": Planck(backer.amount)}
        for backer in model.backers
    ]
    if model.artifact is not None:
        facts["artifact"] = model.artifact.manifest
        facts["artifact bytes"] = model.artifact.manifest_bytes
        facts["training receipt"] = model.artifact.training_receipt
        facts["held-out loss"] = f"{model.artifact.evaluation} millionths of a nat per token"
    out.facts(facts)


def price_facts(price: Price) -> dict[str, Fact]:
    """Tell a price per token."""
    return {
        "compute in": Planck(price.compute_in),
        "compute out": Planck(price.compute_out),
        "premium": Planck(price.premium),
    }


def _facts(number: int, model: Model) -> dict[str, Fact]:
    return {
        "model": number,
        "name": model.name.decode(),
        "stage": model.stage.name.lower(),
        "owner": Account(model.owner),
        "base": model.base,
        "datanets": [f"{used.datanet}:{used.version}" for used in model.datanets],
        "stake": Planck(model.stake),
        "backed with": Planck(sum(backer.amount for backer in model.backers)),
        "price": None if model.price is None else price_facts(model.price),
    }
