"""Step two: a model is proposed, backed, trained, submitted, launched and priced."""

from __future__ import annotations

from collections.abc import Sequence

from examples.demo.people import BACKERS, BUILDER, key
from examples.demo.processes import run_to_end
from examples.demo.screen import Screen
from examples.demo.settings import Settings, train_command
from examples.demo.shelf import Shelf
from examples.demo.steady import SteadyChain
from node.cli.artifact_file import read_artifact
from runtime.pallets.models.types import DatanetVersion
from runtime.protocols.price import Price

OPEN = 10**18
STAKE, BACKING = 10 * OPEN, 5 * OPEN


async def build(
    chain: SteadyChain, settings: Settings, node: str, shelves: Sequence[Shelf], screen: Screen
) -> int:
    """Bring a model to the market; returns its id."""
    builder = chain.by(key(BUILDER))
    used = [shelf for shelf in shelves if shelf.example.key in settings.trained_on]
    made = await builder.call(
        "Models",
        "propose",
        "Proposed",
        name=settings.model_name.encode(),
        base=0,
        parent=None,
        royalty=0,
        datanets=tuple(DatanetVersion(shelf.id, shelf.version) for shelf in used),
        stake=STAKE,
    )
    model: int = made.model
    for backer in BACKERS:
        await chain.by(key(backer)).call("Models", "back", "Backed", model=model, amount=BACKING)
    screen.note(f"{BUILDER} proposed model {model}, {' and '.join(BACKERS)} back it")
    titles = ", ".join(shelf.example.title for shelf in used)
    with screen.waiting(f"training on {titles}") as tell:
        await run_to_end(
            "training",
            train_command(settings, node, [shelf.named for shelf in used]),
            settings.logs / "train.log",
            tell,
        )
    await _launch(builder, settings, model, screen)
    return model


async def _launch(builder: SteadyChain, settings: Settings, model: int, screen: Screen) -> None:
    artifact = read_artifact(settings.folder / "model")
    await builder.call(
        "Models",
        "submit_artifact",
        "ArtifactSubmitted",
        model=model,
        artifact=artifact.declared,
    )
    await builder.upload(artifact.blob, lambda done, total: None)
    price = settings.price
    opening = Price(price.compute_in, price.compute_out, price.premium * 2)
    await builder.call("Models", "launch", "Launched", model=model, price=opening)
    await builder.call("Models", "set_price", "PriceSet", model=model, price=price)
    loss = artifact.declared.evaluation
    screen.note(
        f"launched: artifact of {len(artifact.blob):,} bytes, held-out loss "
        f"{loss // 1_000_000}.{loss % 1_000_000 // 1000:03d} nats a token"
    )
