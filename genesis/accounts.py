"""The well-known development accounts: everybody has their secrets, so no live chain endows them.

They derive from the ecosystem's development phrase by `//Name` and `//Name//stash` (sr25519).
"""

from __future__ import annotations

from typing import NamedTuple


class DevelopmentAccount(NamedTuple):
    """A name, the secret URI and the sr25519 public key that is the account's id."""

    name: str
    uri: str
    account: bytes


def _pair(name: str, account: str, stash: str) -> tuple[DevelopmentAccount, DevelopmentAccount]:
    return (
        DevelopmentAccount(name, f"//{name}", bytes.fromhex(account)),
        DevelopmentAccount(f"{name}//stash", f"//{name}//stash", bytes.fromhex(stash)),
    )


DEVELOPMENT_ACCOUNTS: tuple[DevelopmentAccount, ...] = (
    *_pair(
        "Alice",
        "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
        "be5ddb1579b72e84524fc29e78609e3caf42e85aa118ebfe0b0ad404b5bdd25f",
    ),
    *_pair(
        "Bob",
        "8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48",
        "fe65717dad0447d715f660a0a58411de509b42e6efb8375f562f58a554d5860e",
    ),
    *_pair(
        "Charlie",
        "90b5ab205c6974c9ea841be688864633dc9ca8a357843eeacf2314649965fe22",
        "1e07379407fecc4b89eb7dbd287c2c781cfb1907a96947a3eb18e4f8e7198625",
    ),
    *_pair(
        "Dave",
        "306721211d5404bd9da88e0204360a1a9ab8b87c66c1bc2fcdd37f3c2222cc20",
        "e860f1b1c7227f7c22602f53f15af80747814dffd839719731ee3bba6edc126c",
    ),
    *_pair(
        "Eve",
        "e659a7a1628cdd93febc04a4e0646ea20e9f5f0ce097d9a05290d4a9e054df4e",
        "8ac59e11963af19174d0b94d5d78041c233f55d2e19324665bafdfb62925af2d",
    ),
    *_pair(
        "Ferdie",
        "1cbd2d43530a44705ad088af313e18f80b53ef16b36177cd4b77b846f2a5f07c",
        "101191192fc877c24d725b337120fa3edc63d227bbc92705db1e2cb65f56981a",
    ),
)

ALICE = DEVELOPMENT_ACCOUNTS[0]
ALICE_STASH = DEVELOPMENT_ACCOUNTS[1]
ALICE_CONSENSUS = bytes.fromhex("88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee")
"""The ed25519 key of `//Alice`, with which she takes part in the agreement."""
