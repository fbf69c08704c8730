"""Thousands of generated keys, addresses and signatures, here and in the wallets' own library."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from mnemonic import Mnemonic

from node.client.signing import DEV_PHRASE, Scheme, SecretError, from_uri
from runtime.primitives.keys import AddressError, ss58_decode, ss58_encode, verify
from runtime.primitives.types import EcdsaSignature, Ed25519Signature, Sr25519Signature
from tests.clients.conftest import HERE, node_program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

Ask = Callable[[list[dict[str, Any]]], list[Any]]

SEED = 20_26
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
SIGNATURES = {"sr25519": Sr25519Signature, "ed25519": Ed25519Signature, "ecdsa": EcdsaSignature}
ENTROPY_BYTES = (16, 20, 24, 28, 32)
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BASE_POINT = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
NEUTRAL = (1).to_bytes(32, "little")
ONE = NEUTRAL


@pytest.fixture(scope="module")
def ask(javascript: Path) -> Iterator[Ask]:
    """Give what the JavaScript libraries answer to cases; None where they refuse one."""
    with subprocess.Popen(
        [node_program(), str(HERE / "js" / "keyring.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=javascript,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        questions, replies = process.stdin, process.stdout

        def answers(cases: list[dict[str, Any]]) -> list[Any]:
            questions.write(json.dumps(cases) + "\n")
            questions.flush()
            told: list[Any] = json.loads(replies.readline())
            assert len(told) == len(cases)
            return told

        yield answers
    assert process.returncode == 0


@pytest.fixture
def rng() -> random.Random:
    return random.Random(SEED)


def test_phrases_of_every_length_hold_the_same_entropy(ask: Ask, rng: random.Random) -> None:
    words = Mnemonic("english")
    entropies = [rng.randbytes(size) for size in ENTROPY_BYTES for _ in range(100)]
    told = ask([{"kind": "entropy", "phrase": words.to_mnemonic(each)} for each in entropies])
    assert told == [hexed(entropy) for entropy in entropies]
    made = ask([{"kind": "generate", "words": size * 3 // 4} for size in ENTROPY_BYTES * 4])
    assert [len(words.to_entropy(phrase)) for phrase in made] == [*ENTROPY_BYTES * 4]
    assert accounts(made, "sr25519") == accounts_there(ask, made, "sr25519")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_phrases_with_passwords_and_paths_give_the_same_keys(
    ask: Ask, rng: random.Random, scheme: Scheme
) -> None:
    uris = [
        phrase(rng, size) + path(rng, scheme) + password(rng)
        for size in ENTROPY_BYTES
        for _ in range(30)
    ]
    assert accounts(uris, scheme) == accounts_there(ask, uris, scheme)
    assert None not in accounts(uris, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_raw_seeds_with_paths_give_the_same_keys(
    ask: Ask, rng: random.Random, scheme: Scheme
) -> None:
    uris = [seed(rng) + path(rng, scheme, most=4) + password(rng) for _ in range(500)]
    assert accounts(uris, scheme) == accounts_there(ask, uris, scheme)
    assert None not in accounts(uris, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_phrases_and_seeds_are_refused(
    ask: Ask, rng: random.Random, scheme: Scheme
) -> None:
    uris = [spoiled(rng, phrase(rng, size)) for size in ENTROPY_BYTES for _ in range(40)]
    uris += [seed(rng) + "ab", seed(rng)[:-2], seed(rng)[:-1], "0x" + "zz" * 32]
    uris += [f"0x{number:064x}" for number in (0, 1, SECP256K1_ORDER - 1, SECP256K1_ORDER)]
    uris += [f"0x{2**256 - 1:064x}", f"{DEV_PHRASE}//", f"{DEV_PHRASE}/", f"{DEV_PHRASE}//a/"]
    here = accounts(uris, scheme)
    assert here == accounts_there(ask, uris, scheme)
    assert here.count(None) > 100


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa"])
def test_soft_junctions_are_refused_where_only_hard_ones_exist(
    ask: Ask, rng: random.Random, scheme: Scheme
) -> None:
    uris = [
        f"{seed(rng)}{path(rng, scheme)}/{junction(rng)}{path(rng, scheme)}" for _ in range(100)
    ]
    assert accounts(uris, scheme) == accounts_there(ask, uris, scheme) == [None] * len(uris)


@pytest.mark.parametrize(
    ("uri", "here", "there"),
    [
        # `subkey` reads a junction as a number where it is one of 64 bits, and only then.
        (f"//{2**64}", True, True),
        ("//0x07", True, True),
        ("//+7", True, True),
        # It takes the bytes of a text as they are; the library composes accents first.
        ("//cafe\u0301", True, True),
        # It puts the development phrase before a soft path too, and splits words at any blanks.
        ("/soft", True, False),
        (DEV_PHRASE.replace(" ", "  "), True, False),
        # A text that is neither a phrase nor a seed would be one that anybody can guess.
        ("Alice", False, True),
        ("0x1234", False, True),
    ],
)
def test_where_the_library_differs_from_subkey_we_do_as_subkey(
    ask: Ask, uri: str, here: bool, there: bool
) -> None:
    (mine,), (other,) = accounts([uri], "sr25519"), accounts_there(ask, [uri], "sr25519")
    assert (mine is not None, other is not None) == (here, there)
    assert mine != other


def test_addresses_of_every_prefix_are_the_same_in_both_directions(
    ask: Ask, rng: random.Random
) -> None:
    cases = [(rng.randbytes(32), prefix) for prefix in (*range(-1, 16_385), 40_000, 2**16)]
    told = ask([{"kind": "encode", "account": hexed(a), "prefix": p} for a, p in cases])
    assert [address(account, prefix) for account, prefix in cases] == told
    assert [prefix for (_, prefix), text in zip(cases, told, strict=True) if text is None] == [
        -1,
        46,
        47,
        16_384,
        40_000,
        2**16,
    ]
    texts = [text for text in told if text is not None]
    assert [read(text) for text in texts] == addresses_there(ask, texts)
    assert [read(text) for text in texts] == [
        case for case, text in zip(cases, told, strict=True) if text is not None
    ]


def test_misspelt_addresses_are_refused_alike(ask: Ask, rng: random.Random) -> None:
    texts = []
    for _ in range(1500):
        text = ss58_encode(rng.randbytes(32), rng.choice((0, 2, 42, 63, 64, 255, 256, 16_383)))
        texts += [wrong for wrong in (misspelt(rng, text), misspelt(rng, text)) if wrong != text]
    here = [read(text) for text in texts]
    assert here == addresses_there(ask, texts)
    assert here.count(None) == len(texts)


def test_of_bytes_with_a_right_checksum_only_accounts_in_their_one_form_are_addresses(
    ask: Ask, rng: random.Random
) -> None:
    bodies = [rng.randbytes(size) for size in range(1, 45) for _ in range(8)]
    bodies += [bytes((first,)) + rng.randbytes(32) for first in range(256)]
    bodies += [bytes((first,)) + rng.randbytes(33) for first in range(256)]
    bodies += [bytes((0x40 | low >> 2, (low & 3) << 6)) + rng.randbytes(32) for low in range(64)]
    told = ask([{"kind": "body", "body": hexed(body)} for body in bodies])
    assert [read(one["text"]) for one in told] == [as_account(one["found"]) for one in told]
    longer = [one for one in told if one["found"] and as_account(one["found"]) is None]
    assert longer, "the library reads account indices and second spellings, too"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_signatures_of_either_side_hold_on_the_other_and_altered_ones_do_not(
    ask: Ask, rng: random.Random, scheme: Scheme
) -> None:
    uris = [seed(rng) + path(rng, scheme) for _ in range(100)]
    messages = [rng.randbytes(rng.choice((0, 1, 31, 32, 100, 256, 257))) for _ in uris]
    signers = [from_uri(uri, scheme) for uri in uris]
    theirs = ask(
        [
            {"kind": "sign", "uri": uri, "scheme": scheme, "message": hexed(message)}
            for uri, message in zip(uris, messages, strict=True)
        ]
    )
    good, altered = [], []
    for signer, message, other in zip(signers, messages, theirs, strict=True):
        for signature in (signer.sign(message).value, bytes.fromhex(other[2:])):
            good.append((signer.account_id, message, signature))
            altered += alterations(rng, signer.account_id, message, signature)
    for cases, wanted in ((good, True), (altered, False)):
        assert [holds(scheme, *case) for case in cases] == [wanted] * len(cases)
        assert holds_there(ask, scheme, cases) == [wanted] * len(cases)


@pytest.mark.parametrize(
    ("scheme", "account", "signature", "there"),
    [
        pytest.param("sr25519", bytes(32), bytes(64), False, id="sr25519 unmarked"),
        pytest.param("sr25519", bytes(32), bytes(63) + b"\x80", False, id="sr25519 neutral"),
        pytest.param("ed25519", bytes(32), bytes(64), False, id="ed25519 zeros"),
        pytest.param("ed25519", NEUTRAL, NEUTRAL + bytes(32), True, id="ed25519 neutral"),
        pytest.param("ed25519", NEUTRAL, BASE_POINT + ONE, True, id="ed25519 neutral, R = B"),
        pytest.param("ed25519", b"\xff" * 32, b"\xff" * 64, False, id="ed25519 ones"),
        pytest.param("ecdsa", bytes(32), bytes(65), False, id="ecdsa zeros"),
        pytest.param("ecdsa", b"\xff" * 32, b"\xff" * 65, False, id="ecdsa ones"),
    ],
)
def test_keys_for_which_anybody_can_sign_sign_nothing_here(
    ask: Ask, scheme: Scheme, account: bytes, signature: bytes, there: bool
) -> None:
    message = b"a message"
    assert not holds(scheme, account, message, signature)
    assert holds_there(ask, scheme, [(account, message, signature)]) == [there]


def test_second_encodings_of_a_signature_do_not_hold(ask: Ask, rng: random.Random) -> None:
    message = b"a message"
    ed25519, ecdsa = (from_uri(seed(rng), scheme) for scheme in ("ed25519", "ecdsa"))
    first = ed25519.sign(message).value
    response = int.from_bytes(first[32:], "little") + ED25519_ORDER
    beyond = (ed25519.account_id, message, first[:32] + response.to_bytes(32, "little"))
    value = ecdsa.sign(message).value
    high = SECP256K1_ORDER - int.from_bytes(value[32:64], "big")
    twin = value[:32] + high.to_bytes(32, "big") + bytes((value[64] ^ 1,))
    ethereum = value[:64] + bytes((value[64] + 27,))
    assert not holds("ed25519", *beyond)
    assert holds_there(ask, "ed25519", [beyond]) == [False]
    twins = [(ecdsa.account_id, message, twin), (ecdsa.account_id, message, ethereum)]
    assert not any(holds("ecdsa", *case) for case in twins)
    assert holds_there(ask, "ecdsa", twins) == [False, False]


def phrase(rng: random.Random, size: int) -> str:
    return Mnemonic("english").to_mnemonic(rng.randbytes(size))


def spoiled(rng: random.Random, text: str) -> str:
    """Change a phrase; a changed word leaves now and then a phrase with a right checksum."""
    words = text.split()
    place = rng.randrange(len(words))
    match rng.randrange(5):
        case 0:
            words[place] = rng.choice(Mnemonic("english").wordlist)
        case 1:
            words[place] = words[place].upper()
        case 2:
            words[place] = words[place] + "x"
        case 3:
            del words[place]
        case _:
            rng.shuffle(words)
    return " ".join(words)


def seed(rng: random.Random) -> str:
    return "0x" + "".join(rng.choice("0123456789abcdefABCDEF") for _ in range(64))


def path(rng: random.Random, scheme: Scheme, most: int = 3) -> str:
    slashes = ("/", "//") if scheme == "sr25519" else ("//",)
    parts = [rng.choice(slashes) + junction(rng) for _ in range(rng.randint(0, most))]
    return "".join(parts)


def junction(rng: random.Random) -> str:
    """Make up a number of at most 64 bits or a text of 1 to 80 characters, mostly of bytes."""
    match rng.randrange(5):
        case 0:
            return str(rng.choice((0, 1, 7, 2**32, 2**63, 2**64 - 1, rng.getrandbits(64))))
        case 1:
            return "00" + str(rng.randrange(1000))
        case 2:
            return "".join(rng.choice("aeé漢字🙂") for _ in range(rng.choice((1, 7, 8, 20))))
        case 3:
            size = rng.choice((31, 32, 33, 63, 64, 80))
            return "".join(rng.choice("abcXYZ019-_. ") for _ in range(size)) + "z"
        case _:
            return "".join(rng.choice("ABCdef_-.,:;!?+*()") for _ in range(rng.randint(1, 12)))


def password(rng: random.Random) -> str:
    letters = [rng.choice("aZ09 /é漢🙂!\"'") for _ in range(rng.choice((0, 1, 8, 40)))]
    return rng.choice(("", "///" + "".join(letters)))


def misspelt(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text))
    letter = rng.choice("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl é")
    match rng.randrange(4):
        case 0:
            return text[:place] + letter + text[place + 1 :]
        case 1:
            return text[:place] + letter + text[place:]
        case 2:
            return text[:place] + text[place + 1 :]
        case _:
            return text[:place]


def alterations(
    rng: random.Random, account: bytes, message: bytes, signature: bytes
) -> list[tuple[bytes, bytes, bytes]]:
    return [
        (account, message, flipped(rng, signature)),
        (account, message, flipped(rng, signature)),
        (flipped(rng, account), message, signature),
        (account, message + b"\x00", signature),
    ]


def flipped(rng: random.Random, data: bytes) -> bytes:
    bit = rng.randrange(8 * len(data))
    changed = int.from_bytes(data, "little") ^ 1 << bit
    return changed.to_bytes(len(data), "little")


def accounts(uris: list[str], scheme: Scheme) -> list[tuple[str, str] | None]:
    """Return public keys and addresses; None for a refused secret."""
    found: list[tuple[str, str] | None] = []
    for uri in uris:
        try:
            pair = from_uri(uri, scheme)
        except SecretError:
            found.append(None)
        else:
            found.append((hexed(pair.public), ss58_encode(pair.account_id)))
    return found


def accounts_there(ask: Ask, uris: list[str], scheme: Scheme) -> list[tuple[str, str] | None]:
    told = ask([{"kind": "key", "uri": uri, "scheme": scheme} for uri in uris])
    return [None if one is None else (one["public"], one["address"]) for one in told]


def address(account: bytes, prefix: int) -> str | None:
    try:
        return ss58_encode(account, prefix)
    except AddressError:
        return None


def read(text: str) -> tuple[bytes, int] | None:
    try:
        return ss58_decode(text)
    except AddressError:
        return None


def addresses_there(ask: Ask, texts: list[str]) -> list[tuple[bytes, int] | None]:
    return [as_account(one) for one in ask([{"kind": "decode", "text": text} for text in texts])]


def as_account(found: Any) -> tuple[bytes, int] | None:
    """Return what was decoded where it is an account of 32 bytes that is encoded so again."""
    if found is None or len(found["account"]) != 66 or not found["canonical"]:
        return None
    return bytes.fromhex(found["account"][2:]), found["prefix"]


def holds(scheme: Scheme, account: bytes, message: bytes, signature: bytes) -> bool:
    return verify(SIGNATURES[scheme](signature), message, account)


def holds_there(ask: Ask, scheme: Scheme, cases: list[tuple[bytes, bytes, bytes]]) -> list[bool]:
    told = ask(
        [
            {
                "kind": "verify",
                "scheme": scheme,
                "account": hexed(account),
                "message": hexed(message),
                "signature": hexed(signature),
            }
            for account, message, signature in cases
        ]
    )
    return [bool(one) for one in told]


def hexed(data: bytes) -> str:
    return "0x" + data.hex()
