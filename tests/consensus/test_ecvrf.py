import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add, crypto_sign_seed_keypair

from consensus.core import ecvrf

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
SEED = bytes(range(32))
PUBLIC = crypto_sign_seed_keypair(SEED)[0]
ALPHA = b"epoch 7 view 3"
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    ORDER_8.hex(),
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]

# RFC 9381, appendix B.3, examples 16 to 18: seed, public key, alpha, proof, output.
RFC_9381 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f"
        "26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab12"
        "68a1b0db10836d9826a528ca76567805",
        "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
        "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed593"
        "3bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54ddf2d935be3b67926d"
        "a3ef39226bbc355bdc9850112c8f4b02",
        "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
        "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf80"
        "96bb474e53895c362d8628ee9f9ea3c0e52c7a5c691b6c18c9979866568add7a"
        "2d41b00b05081ed0f58ee5e31b3a970e",
        "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
        "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f",
    ),
]


@pytest.mark.parametrize("vector", RFC_9381)
def test_the_examples_of_the_rfc_are_reproduced(vector):
    seed, public, alpha, proof, output = map(bytes.fromhex, vector)
    assert ecvrf.prove(seed, alpha) == proof
    assert ecvrf.verify(public, proof, alpha) == output
    assert ecvrf.proof_to_hash(proof) == output


@settings(max_examples=40)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_what_is_proved_is_verified(seed, alpha):
    public = crypto_sign_seed_keypair(seed)[0]
    proof = ecvrf.prove(seed, alpha)
    assert len(proof) == ecvrf.PROOF_LENGTH
    output = ecvrf.verify(public, proof, alpha)
    assert output == ecvrf.proof_to_hash(proof)
    assert len(output) == ecvrf.OUTPUT_LENGTH
    assert ecvrf.verify(public, proof, alpha + b"\x00") is None


def test_a_changed_bit_anywhere_in_proof_or_key_is_refused():
    proof = ecvrf.prove(SEED, ALPHA)
    for position in range(8 * len(proof)):
        changed = bytearray(proof)
        changed[position // 8] ^= 1 << position % 8
        assert ecvrf.verify(PUBLIC, bytes(changed), ALPHA) is None, position
    for position in range(8 * 32):
        changed = bytearray(PUBLIC)
        changed[position // 8] ^= 1 << position % 8
        assert ecvrf.verify(bytes(changed), proof, ALPHA) is None, position


@given(st.binary(max_size=100), st.binary(max_size=40), st.binary(max_size=20))
def test_garbage_proves_nothing_and_never_raises(proof, public, alpha):
    assert ecvrf.verify(public, proof, alpha) is None


@settings(max_examples=50)
@given(st.binary(min_size=80, max_size=80), st.binary(min_size=32, max_size=32))
def test_garbage_of_the_right_length_proves_nothing(proof, public):
    assert ecvrf.verify(public, proof, ALPHA) is None
    assert ecvrf.verify(PUBLIC, proof, ALPHA) is None
    ecvrf.proof_to_hash(proof)


@pytest.mark.parametrize("public", SMALL_ORDER)
def test_a_key_of_small_order_proves_nothing(public):
    # Gamma neutral, c and s free: without key validation such a holder could choose the output.
    for response in (1, 2, 12345):
        gamma = bytes.fromhex(SMALL_ORDER[0])
        proof = gamma + bytes(16) + response.to_bytes(32, "little")
        assert ecvrf.verify(bytes.fromhex(public), proof, ALPHA) is None


def test_a_key_outside_the_prime_order_group_is_refused():
    proof = ecvrf.prove(SEED, ALPHA)
    assert ecvrf.verify(crypto_core_ed25519_add(PUBLIC, ORDER_8), proof, ALPHA) is None


def test_a_gamma_outside_the_prime_order_group_gives_no_second_proof():
    proof = ecvrf.prove(SEED, ALPHA)
    twisted = crypto_core_ed25519_add(proof[:32], ORDER_8) + proof[32:]
    assert ecvrf.verify(PUBLIC, twisted, ALPHA) is None
    assert ecvrf.proof_to_hash(twisted) is None


def test_a_response_has_one_encoding():
    proof = ecvrf.prove(SEED, ALPHA)
    response = int.from_bytes(proof[48:], "little") + GROUP_ORDER
    twin = proof[:48] + response.to_bytes(32, "little")
    assert ecvrf.verify(PUBLIC, twin, ALPHA) is None


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_secret_that_is_no_seed_is_refused(length):
    with pytest.raises(ecvrf.SeedError):
        ecvrf.prove(bytes(length), ALPHA)
