"""One block being executed: opened, extrinsics applied, closed."""

from __future__ import annotations

from runtime.claims import check_claim, read_claim
from runtime.construct import CALLS, EVENTS, Runtime
from runtime.frame.calls import Call
from runtime.frame.dispatch_errors import encode_failure
from runtime.frame.dispatch_info import DispatchClass, DispatchEventInfo, Pays
from runtime.frame.origin import Origin, Signed, Unsigned
from runtime.frame.weights import (
    BASE_BLOCK,
    BASE_EXTRINSIC,
    DUTY_PERCENT,
    MAX_BLOCK,
    MAX_LENGTH,
    NORMAL_PERCENT,
    add,
)
from runtime.pallets.system.pallet import ExtrinsicFailed, ExtrinsicSuccess
from runtime.primitives.digest import next_epoch_item
from runtime.primitives.errors import (
    BlockReason,
    DispatchFailure,
    InvalidBlock,
    InvalidTransaction,
    TransactionReason,
)
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.header import DigestItem, Header
from runtime.primitives.scale import DecodeError
from runtime.primitives.types import Weight
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.overlay import Overlay
from runtime.state.store import State
from runtime.validity import CheckedExtrinsic, check_signed, checked_call

_NORMAL_TIME = MAX_BLOCK.ref_time * NORMAL_PERCENT // 100
_DUTY_TIME = MAX_BLOCK.ref_time * DUTY_PERCENT // 100


class BlockExecution:
    """Executes one block on its parent's state; the state itself is not touched.

    `overlay`, over that state, takes the writes where somebody wants to watch them. `digest`,
    given as the leader's claim alone, ends with the rules' own item where the block is the last of
    its epoch.
    """

    def __init__(
        self,
        parent: Header,
        state: State,
        digest: tuple[DigestItem, ...],
        overlay: Overlay | None = None,
    ) -> None:
        self.overlay = Overlay(state) if overlay is None else overlay
        self.runtime = Runtime(self.overlay)
        self._number = parent.number + 1
        self._index = 0
        self._length = 0
        self._used = BASE_BLOCK
        self._duties = 0
        self.digest = self._open(parent, digest)

    def _open(self, parent: Header, digest: tuple[DigestItem, ...]) -> tuple[DigestItem, ...]:
        system = self.runtime.system
        version = system.last_runtime_upgrade.get()
        if version is None or version.spec_version != RUNTIME_VERSION.spec_version:
            raise InvalidBlock(
                BlockReason.UNKNOWN_RUNTIME,
                f"the state asks for version {version and version.spec_version}, this node has "
                f"{RUNTIME_VERSION.spec_version}; install a newer release",
            )
        claim = read_claim(digest)
        session = self.runtime.session
        check_claim(claim, session.current(), first=session.begins_epoch(self._number))
        announced = session.open_block(self._number, claim)
        if announced is not None:
            digest = (*digest, next_epoch_item(announced))
        system.open_block(self._number, parent.hash(), digest)
        for pallet in self.runtime.pallets:
            pallet.on_initialize(self._number)
        return digest

    def apply(self, extrinsic: bytes) -> None:
        """Apply one extrinsic; raises InvalidTransaction and then has written nothing."""
        if self._length + len(extrinsic) > MAX_LENGTH:
            raise InvalidTransaction(TransactionReason.EXHAUSTS_RESOURCES, "the block is full")
        try:
            decoded = UncheckedExtrinsic.decode(extrinsic)
        except DecodeError as error:
            raise InvalidTransaction(TransactionReason.MALFORMED, str(error)) from error
        self.runtime.host.phase = b"\x00" + self._index.to_bytes(4, "little")
        if decoded.signed is None:
            self._apply_inherent(decoded)
        elif self._index == 0:
            raise InvalidTransaction(TransactionReason.BAD_MANDATORY, "the time comes first")
        else:
            self._apply_signed(check_signed(self.runtime, decoded, decoded.signed, len(extrinsic)))
        self._index += 1
        self._length += len(extrinsic)

    def _apply_inherent(self, decoded: UncheckedExtrinsic) -> None:
        call = checked_call(decoded.call)
        if not CALLS.entry(call).info.mandatory or self._index != 0:
            raise InvalidTransaction(TransactionReason.BAD_MANDATORY, "only the time, and first")
        weight = CALLS.weight(call)
        try:
            self._dispatch(call, Unsigned())
        except DispatchFailure as failure:
            raise InvalidTransaction(TransactionReason.BAD_MANDATORY, str(failure)) from failure
        self._used = add(self._used, weight)
        info = DispatchEventInfo(weight, DispatchClass.MANDATORY, Pays.YES)
        self.runtime.system.deposit_event(ExtrinsicSuccess(info))

    def _apply_signed(self, checked: CheckedExtrinsic) -> None:
        runtime = self.runtime
        used = self._reserve(checked)
        if checked.nonce != runtime.system.account[checked.signer].nonce:
            raise InvalidTransaction(TransactionReason.FUTURE, f"nonce {checked.nonce} is ahead")
        if checked.duty is None and not runtime.balances.withdraw_fee(checked.signer, checked.fee):
            raise InvalidTransaction(TransactionReason.PAYMENT, f"the fee is {checked.fee}")
        runtime.system.inc_nonce(checked.signer)
        self._used = used
        failure: DispatchFailure | None = None
        try:
            self._dispatch(checked.call, Signed(checked.signer))
        except DispatchFailure as error:
            failure = error
        fee, tip = checked.fee, checked.tip
        if checked.duty is not None:
            self._duties += checked.weight.ref_time + BASE_EXTRINSIC.ref_time
            fee, tip = self._charge_failed_duty(checked) if failure else (0, 0)
        if fee:
            author = runtime.session.author.get()
            runtime.transaction_payment.distribute(checked.signer, author, fee, tip)
        info = DispatchEventInfo(
            checked.weight,
            DispatchClass.NORMAL,
            Pays.YES if checked.duty is None or fee else Pays.NO,
        )
        runtime.system.deposit_event(
            ExtrinsicSuccess(info)
            if failure is None
            else ExtrinsicFailed(encode_failure(failure), info)
        )

    def _reserve(self, checked: CheckedExtrinsic) -> Weight:
        """Return the weight used with this extrinsic; raises where the block is full."""
        used = add(add(self._used, checked.weight), BASE_EXTRINSIC)
        duties = self._duties + checked.weight.ref_time + BASE_EXTRINSIC.ref_time
        if (
            used.ref_time > _NORMAL_TIME
            or used.proof_size > MAX_BLOCK.proof_size
            or (checked.duty is not None and duties > _DUTY_TIME)
        ):
            raise InvalidTransaction(TransactionReason.EXHAUSTS_RESOURCES, "the block is full")
        return used

    def _charge_failed_duty(self, checked: CheckedExtrinsic) -> tuple[int, int]:
        """A duty that fails pays what it would have cost, as far as its key can."""
        fee = self.runtime.transaction_payment.fee(checked.length, checked.weight, 0)
        paid = self.runtime.balances.withdraw_fee(checked.signer, fee)
        return (fee if paid else 0), 0

    def _dispatch(self, call: Call, origin: Origin) -> None:
        with self.runtime.host.transaction():
            self.runtime.dispatcher.dispatch(call, origin)

    def close(self) -> None:
        """Do the block's last work and store its events."""
        runtime = self.runtime
        runtime.host.phase = b"\x01"
        for pallet in runtime.pallets:
            pallet.on_finalize(self._number)
        runtime.session.close_block(self._number)
        runtime.transaction_payment.adjust(self._used)
        runtime.system.extrinsic_count.put(self._index)
        events = runtime.host.events
        runtime.system.events.put(EVENTS.encode(events))
        runtime.system.event_count.put(len(events))
