import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.client.signing import (
    DEV_PHRASE,
    SecretError,
    SecretReason,
    from_uri,
    generate,
    sign_extrinsic,
)
from runtime.primitives.extrinsic import Extensions, UncheckedExtrinsic, mortal, signing_payload
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import verify

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "keys.json").read_text())
SCHEMES = ("sr25519", "ed25519", "ecdsa")
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_keys_of_the_ecosystem_are_reproduced(scheme):
    cases = [case for case in VECTORS if case["scheme"] == scheme]
    assert len(cases) == 110
    for case in cases:
        pair = from_uri(case["uri"], scheme)
        found = (pair.scheme, pair.public.hex(), pair.account_id.hex())
        assert found == (scheme, case["public"], case["account"]), case["uri"]
        message = bytes.fromhex(case["message"])
        assert verify(pair.sign(message), message, pair.account_id)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("//Alice", f"{DEV_PHRASE}//Alice"),
        ("", DEV_PHRASE),
        ("//Alice///", "//Alice"),
        (f"  {DEV_PHRASE.replace(' ', '  ')}  //Alice", "//Alice"),
        ("//007", "//7"),
        ("//+7", "//7"),
        ("//" + "0" * 5000 + "7", "//7"),
        ("0x" + "aB" * 32, "0x" + "Ab" * 32),
        ("0x" + "ab" * 32 + "///ignored", "0x" + "ab" * 32),
    ],
)
def test_two_spellings_of_one_secret(one, other):
    for scheme in SCHEMES:
        assert from_uri(one, scheme).public == from_uri(other, scheme).public


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("//Alice", "//alice"),
        ("//Alice", "//Alice///password"),
        ("//1", "/1"),
        ("//7", "//7 "),
        ("//0x07", "//7"),
        ("//18446744073709551616", "//0"),
        ("//18446744073709551616", "//18446744073709551615"),
        ("//-7", "//7"),
        ("//٧", "//7"),
        ("//" + "9" * 5000, "//" + "9" * 5001),
    ],
)
def test_two_spellings_of_two_secrets(one, other):
    assert from_uri(one).public != from_uri(other).public


def test_a_number_beyond_64_bits_is_a_text_junction():
    # chain code: SCALE string, hence the length 20 shifted left by two, then the digits
    name = "18446744073709551616"
    code = (bytes((len(name) << 2,)) + name.encode()).ljust(32, b"\x00")
    seed = from_uri("", "ed25519").seed
    wanted = blake2_256(bytes((11 << 2,)) + b"Ed25519HDKD" + seed + code)
    assert from_uri(f"//{name}", "ed25519").seed == wanted


@pytest.mark.parametrize(
    ("uri", "scheme", "reason"),
    [
        ("//", "sr25519", SecretReason.MALFORMED_URI),
        ("//Alice/", "sr25519", SecretReason.MALFORMED_URI),
        ("//Alice///pass\n", "sr25519", SecretReason.MALFORMED_URI),
        ("bottom-drive", "sr25519", SecretReason.MALFORMED_URI),
        ("//\udce4", "sr25519", SecretReason.MALFORMED_URI),
        ("bottom drive", "sr25519", SecretReason.BAD_PHRASE),
        (DEV_PHRASE.replace("walk", "bottom"), "sr25519", SecretReason.BAD_PHRASE),
        (DEV_PHRASE.replace("walk", "openledger"), "sr25519", SecretReason.BAD_PHRASE),
        (DEV_PHRASE.upper(), "sr25519", SecretReason.BAD_PHRASE),
        (" ", "sr25519", SecretReason.BAD_PHRASE),
        ("0x" + "ab" * 31, "ed25519", SecretReason.BAD_SEED),
        ("0x" + "ab" * 64, "sr25519", SecretReason.BAD_SEED),
        ("0x" + "ab" * 31 + " a", "ed25519", SecretReason.BAD_SEED),
        ("0x" + "00" * 32, "ecdsa", SecretReason.BAD_SEED),
        (f"0x{SECP256K1_ORDER:064x}", "ecdsa", SecretReason.BAD_SEED),
        ("//Alice/soft", "ed25519", SecretReason.SOFT_JUNCTION),
        ("//Alice/soft", "ecdsa", SecretReason.SOFT_JUNCTION),
        ("//Alice", "bls12", SecretReason.UNKNOWN_SCHEME),
    ],
)
def test_a_bad_secret_is_refused_with_its_reason_and_without_repeating_it(uri, scheme, reason):
    with pytest.raises(SecretError) as refusal:
        from_uri(uri, scheme)
    assert refusal.value.reason is reason
    assert refusal.value.__cause__ is None
    if uri.strip("/ "):
        assert uri not in str(refusal.value)


@given(st.text(max_size=60), st.sampled_from(SCHEMES))
def test_any_text_is_a_key_or_a_typed_refusal(text, scheme):
    try:
        pair = from_uri("//" + text, scheme)
    except SecretError:
        return
    assert len(pair.account_id) == 32


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_key_does_not_show_its_secret(scheme):
    pair = from_uri("//Alice", scheme)
    secret = pair.secret if scheme == "sr25519" else pair.seed
    assert repr(secret) not in repr(pair)


@pytest.mark.parametrize("words", [12, 24])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_generated_phrase_gives_its_key_again_and_never_repeats(scheme, words):
    phrase, pair = generate(scheme, words)
    assert len(phrase.split()) == words
    assert from_uri(phrase, scheme).public == pair.public
    assert generate(scheme, words)[0] != phrase


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_signed_extrinsic_decodes_and_verifies(scheme):
    signer = from_uri("//Bob", scheme)
    extensions = Extensions(mortal(64, 1000), 3, 5)
    chain = {
        "spec_version": 1,
        "transaction_version": 1,
        "genesis_hash": b"\x01" * 32,
        "birth_hash": b"\x02" * 32,
    }
    decoded = UncheckedExtrinsic.decode(
        sign_extrinsic(b"\x00\x01call", signer, extensions, **chain)
    )
    assert decoded.call == b"\x00\x01call"
    assert decoded.signed.extensions == extensions
    assert decoded.signed.address.account == signer.account_id
    payload = signing_payload(decoded.call, extensions, **chain)
    assert verify(decoded.signed.signature, payload, signer.account_id)
