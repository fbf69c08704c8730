"""Whatever is sealed to a member, it opens as material or is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey, SealedBox

from inference.worker.evidence import unseal
from node.client.material import MaterialReason, MaterialRefusal

SECRET = PrivateKey.generate()


@given(st.binary(max_size=500))
def test_sealed_garbage_is_malformed(data: bytes) -> None:
    for sealed in (data, SealedBox(SECRET.public_key).encrypt(data)):
        with pytest.raises(MaterialRefusal) as refusal:
            unseal(sealed, SECRET)
        assert refusal.value.reason is MaterialReason.MALFORMED
