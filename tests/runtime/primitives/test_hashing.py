import pytest

from runtime.primitives import hashing
from runtime.primitives.hashing import Hasher

ALICE = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")


@pytest.mark.parametrize(
    ("function", "data", "digest"),
    [
        (hashing.blake2_128, b"", "cae66941d9efbd404e4d88758ea67670"),
        (
            hashing.blake2_256,
            b"",
            "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8",
        ),
        (hashing.twox64, b"abc", "990977adf52cbc44"),
        (hashing.twox64, bytes(4), "b4def25cfda6ef3a"),
        (hashing.twox128, b"System", "26aa394eea5630e07c48ae0c9558cef7"),
        (hashing.twox128, b"Account", "b99d880ec681799c0cf30e8886371da9"),
        (
            hashing.twox256,
            b"abc",
            "990977adf52cbc440889329981caa9bef7da5770b2b8a05303b75d95360dd62b",
        ),
    ],
)
def test_digests_are_those_of_the_ecosystem(function, data, digest):
    assert function(data).hex() == digest


def test_the_key_of_an_account_is_the_one_that_wallets_ask_for():
    key = Hasher.BLAKE2_128_CONCAT.hash(ALICE)
    assert key.hex() == "de1e86a9a8c739864cf3cc5ec2bea59f" + ALICE.hex()


def test_the_values_are_the_indices_of_the_metadata():
    assert [h.name for h in sorted(Hasher, key=lambda h: h.value)] == [
        "BLAKE2_128",
        "BLAKE2_256",
        "BLAKE2_128_CONCAT",
        "TWOX_128",
        "TWOX_256",
        "TWOX_64_CONCAT",
        "IDENTITY",
    ]
    assert Hasher(5) is Hasher.TWOX_64_CONCAT


@pytest.mark.parametrize("hasher", list(Hasher))
def test_the_prefix_length_says_where_the_key_starts(hasher):
    key = b"some encoded key"
    hashed = hasher.hash(key)
    if hasher.prefix_length is None:
        assert key not in hashed
    else:
        assert hashed[hasher.prefix_length :] == key
