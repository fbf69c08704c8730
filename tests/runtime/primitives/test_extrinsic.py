import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.extrinsic import (
    NEVER,
    Extensions,
    Immortal,
    Mortal,
    SignedPart,
    UncheckedExtrinsic,
    decode_era,
    encode_era,
    mortal,
    signing_payload,
)
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import verify
from runtime.primitives.scale import (
    DecodeError,
    EncodeError,
    codec,
    compact_decode,
    compact_encode,
)
from runtime.primitives.types import (
    Address20,
    Address32,
    EcdsaSignature,
    Ed25519Signature,
    Id,
    Index,
    Raw,
    Sr25519Signature,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "primitives.json").read_text())
GENESIS, BIRTH = b"\x0a" * 32, b"\x0b" * 32

eras = st.one_of(
    st.just(Immortal()),
    st.builds(mortal, st.integers(1, 70000), st.integers(0, 2**32 - 1)),
)
extensions = st.builds(
    Extensions,
    eras,
    st.integers(0, 2**32 - 1),
    st.one_of(st.just(0), st.integers(0, 2**128 - 1)),
)
accounts = st.binary(min_size=32, max_size=32)
addresses = st.one_of(
    st.builds(Id, accounts),
    st.builds(Index, st.integers(0, 2**32 - 1)),
    st.builds(Raw, st.binary(max_size=70)),
    st.builds(Address32, accounts),
    st.builds(Address20, st.binary(min_size=20, max_size=20)),
)
signatures = st.one_of(
    st.builds(Ed25519Signature, st.binary(min_size=64, max_size=64)),
    st.builds(Sr25519Signature, st.binary(min_size=64, max_size=64)),
    st.builds(EcdsaSignature, st.binary(min_size=65, max_size=65)),
)
signed_parts = st.builds(SignedPart, addresses, signatures, extensions)
extrinsics = st.builds(
    UncheckedExtrinsic, st.one_of(st.none(), signed_parts), st.binary(max_size=300)
)


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def a_transfer():
    part = SignedPart(
        Id(b"\x07" * 32), Sr25519Signature(b"\x01" * 64), Extensions(mortal(64, 1000), 300, 0)
    )
    return UncheckedExtrinsic(part, b"\x04\x00\x00" + b"\x09" * 32 + b"\x04")


@pytest.mark.parametrize("case", VECTORS["extrinsics"])
def test_extrinsics_of_the_ecosystem_decode_verify_and_encode_back(case):
    data = unhex(case["encoded"])
    extrinsic = UncheckedExtrinsic.decode(data)
    era = mortal(case["period"], case["current"]) if case["period"] else Immortal()
    wanted = Extensions(era, case["nonce"], int(case["tip"]))
    assert (extrinsic.call, extrinsic.signed.extensions) == (unhex(case["call"]), wanted)
    payload = signing_payload(
        extrinsic.call,
        wanted,
        spec_version=107,
        transaction_version=3,
        genesis_hash=GENESIS,
        birth_hash=BIRTH if case["period"] else GENESIS,
    )
    whole = unhex(case["payload"])
    assert payload == (blake2_256(whole) if len(whole) > 256 else whole)
    assert verify(extrinsic.signed.signature, payload, extrinsic.signed.address.account)
    assert extrinsic.encode() == data
    assert extrinsic.hash() == unhex(case["hash"])


@pytest.mark.parametrize("case", VECTORS["eras"])
def test_eras_of_the_ecosystem_have_the_same_bytes_birth_and_death(case):
    era = mortal(case["period"], case["current"])
    assert encode_era(era) == unhex(case["encoded"])
    assert era.birth(case["current"]) == case["birth"]
    assert era.death(case["current"]) == case["death"]


@given(st.integers(1, 70000), st.integers(0, 2**32 - 1), st.integers(0, 70000))
def test_an_era_holds_the_block_it_was_made_for_and_lasts_its_period(period, number, later):
    era = mortal(period, number)
    birth, death = era.birth(number), era.death(number)
    assert birth <= number < death
    assert death - birth == era.period >= min(period, 65536)
    inside = birth + later % era.period
    assert (era.birth(inside), era.death(inside)) == (birth, death)
    assert era.birth(death) == death


@given(st.integers(2, 16), st.integers(0, 4095))
def test_every_era_survives_its_encoding(log2, step):
    period = 1 << log2
    quantum = max(period >> 12, 1)
    era = Mortal(period, step % (period // quantum) * quantum)
    encoded = encode_era(era)
    assert len(encoded) == 2
    assert decode_era(encoded, 0) == (era, 2)


def test_all_two_byte_eras_are_canonical_or_refused():
    accepted = 0
    for encoded in range(1 << 16):
        data = encoded.to_bytes(2, "little")
        if data[0] == 0:
            continue
        try:
            era, _ = decode_era(data, 0)
        except DecodeError:
            continue
        accepted += 1
        assert encode_era(era) == data
    # A period of 2^n has 2^n phases, at most 4096; those with a zero first byte are immortal.
    assert accepted == sum(min(1 << n, 4096) for n in range(2, 17))


def test_immortal_transactions_are_born_at_genesis_and_never_die():
    assert encode_era(Immortal()) == b"\x00"
    assert decode_era(b"\x00\xff", 0) == (Immortal(), 1)
    assert (Immortal().birth(77), Immortal().death(77)) == (0, NEVER)


@pytest.mark.parametrize(
    "era", [Mortal(2, 0), Mortal(131072, 0), Mortal(48, 0), Mortal(64, 64), Mortal(8192, 1)]
)
def test_an_era_without_an_encoding_is_refused(era):
    with pytest.raises(EncodeError):
        encode_era(era)


@given(extrinsics)
def test_decoding_an_extrinsic_undoes_encoding(extrinsic):
    encoded = extrinsic.encode()
    assert UncheckedExtrinsic.decode(encoded) == extrinsic
    assert extrinsic.hash() == blake2_256(encoded)


@given(signed_parts)
def test_the_tight_decoder_agrees_with_the_compiled_codec(part):
    body = codec(SignedPart).encode(part)
    data = b"\x84" + body
    whole = compact_encode(len(data)) + data
    assert codec(SignedPart).decode_at(body, 0) == (part, len(body))
    assert UncheckedExtrinsic.decode(whole).signed == part


@given(extrinsics, st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_refused(extrinsic, rest):
    with pytest.raises(DecodeError):
        UncheckedExtrinsic.decode(extrinsic.encode() + rest)


def test_every_truncation_is_refused_or_only_shortens_the_call():
    encoded = a_transfer().encode()
    _, start = compact_decode(encoded, 0)
    body = encoded[start:]
    for length in range(len(body)):
        with pytest.raises(DecodeError):
            UncheckedExtrinsic.decode(encoded[: start + length])
        shorter = compact_encode(length) + body[:length]
        if length < len(body) - len(a_transfer().call):
            with pytest.raises(DecodeError):
                UncheckedExtrinsic.decode(shorter)
        else:
            assert UncheckedExtrinsic.decode(shorter).signed == a_transfer().signed


@given(st.binary(max_size=200), st.sampled_from([None, 0x04, 0x84]))
def test_any_bytes_are_an_extrinsic_or_a_decode_error(data, version):
    if version is not None:
        data = bytes((version,)) + data
        data = compact_encode(len(data)) + data
    try:
        extrinsic = UncheckedExtrinsic.decode(data)
    except DecodeError:
        return
    assert extrinsic.encode() == data


@pytest.mark.parametrize("version", [0x00, 0x03, 0x05, 0x45, 0x83, 0x85, 0xFF])
def test_other_formats_are_refused_by_name(version):
    with pytest.raises(DecodeError, match="format"):
        UncheckedExtrinsic.decode(bytes((8, version, 0)))


def test_a_nonce_or_tip_that_is_too_large_or_padded_is_refused():
    part = a_transfer().signed
    head = codec(SignedPart).encode(part)[: 33 + 65 + 2]
    nonce, tip = compact_encode(300), compact_encode(0)
    wrong = [
        (compact_encode(2**32), tip),
        (nonce, compact_encode(2**128)),
        (b"\x01\x00", tip),
        (nonce, b"\x02\x00\x00\x00"),
    ]
    for bad_nonce, bad_tip in wrong:
        body = b"\x84" + head + bad_nonce + bad_tip
        with pytest.raises(DecodeError):
            UncheckedExtrinsic.decode(compact_encode(len(body)) + body)


def test_a_payload_is_hashed_only_beyond_256_bytes():
    ext = Extensions(Immortal(), 0, 0)
    fixed = {
        "spec_version": 1,
        "transaction_version": 1,
        "genesis_hash": GENESIS,
        "birth_hash": GENESIS,
    }
    overhead = len(signing_payload(b"", ext, **fixed))
    assert len(signing_payload(bytes(256 - overhead), ext, **fixed)) == 256
    assert len(signing_payload(bytes(257 - overhead), ext, **fixed)) == 32
