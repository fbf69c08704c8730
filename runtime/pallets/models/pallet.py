"""Models: proposals staked on, adapters registered, launched and priced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from runtime.frame.currency import Currency, HoldReason
from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_root, ensure_signed
from runtime.frame.pallet import Const, Pallet, call, constant
from runtime.frame.storage import StorageMap, StorageValue, storage_map, value
from runtime.pallets.models import weights
from runtime.pallets.models.errors import Error
from runtime.pallets.models.events import (
    EVENTS,
    ArtifactSubmitted,
    Backed,
    BaseRegistered,
    Deprecated,
    Launched,
    PriceSet,
    Proposed,
    Unbacked,
)
from runtime.pallets.models.types import (
    Artifact,
    Backer,
    Base,
    BaseId,
    DatanetVersion,
    Model,
    Stage,
)
from runtime.primitives.errors import DispatchFailure, ensure, invariant
from runtime.primitives.hashing import Hasher
from runtime.primitives.scale import H256, U16, U32, U64, U128
from runtime.primitives.types import Balance
from runtime.protocols.ids import ModelId
from runtime.protocols.price import Price, PriceRefusal, check_price
from runtime.protocols.scoring import ScoreRefusal, check_layout
from runtime.protocols.settlement import Royalty
from runtime.protocols.split_parameters import MAX_LINEAGE, MAX_ROYALTIES

OPEN = 10**18


class DatanetVersions(Protocol):
    """What this pallet asks of the one that keeps Datanets."""

    def version(self, datanet: int, version: int) -> Any:
        """Return a published version, None where there is none."""

    def pays(self, datanet: int) -> bool:
        """Tell whether a Datanet is listed."""


class Models(Pallet, index=11):
    """From a proposal that is staked on, through a trained adapter, to a launched model."""

    Error = Error
    EVENTS = EVENTS

    proposal_deposit: Const[Balance] = constant(10 * OPEN, doc="Least stake of a proposal.")
    least_backing: Const[Balance] = constant(OPEN, doc="Least stake of a backer.")
    max_backers: Const[U32] = constant(32, doc="Most backers of a model.")
    max_datanets: Const[U32] = constant(16, doc="Most Datanets a model is trained on.")
    max_coordinates: Const[U32] = constant(
        8192, doc="Most coordinates of an influence code: committees' are compared by the chain."
    )
    max_manifest_bytes: Const[U64] = constant(64 * 1024 * 1024, doc="Longest manifest.")

    next_base: StorageValue[BaseId] = value(default=0, doc="Id of the next base model.")
    bases: StorageMap[BaseId, Base] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Base models that adapters may be trained on."
    )
    next_model: StorageValue[ModelId] = value(default=0, doc="Id of the next model.")
    models: StorageMap[ModelId, Model] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Every model from its proposal on."
    )
    blobs: StorageMap[H256, U64] = storage_map(
        Hasher.IDENTITY, doc="Declared length of each manifest, by its blake2b-256."
    )

    def __init__(
        self, host: Host, currency: Currency, datanets: DatanetVersions, number: StorageValue[int]
    ) -> None:
        super().__init__(host)
        self.currency = currency
        self.datanets = datanets
        self.number = number

    @call(index=0, weight=weights.REGISTER_BASE)
    def register_base(self, origin: Origin, name: bytes, manifest: H256, compute_cap: U128) -> None:
        """Admit a base model and cap the price of its computation; governance only."""
        ensure_root(origin)
        self._register_base(name, manifest, compute_cap)

    @call(index=1, weight=weights.PROPOSE)
    def propose(
        self,
        origin: Origin,
        name: bytes,
        base: BaseId,
        parent: ModelId | None,
        royalty: U16,
        datanets: tuple[DatanetVersion, ...],
        stake: Balance,
    ) -> None:
        """Stake on training an adapter of `base` on published Datanet versions.

        `parent` is the launched model that is trained further, `royalty` the basis points that
        models trained further on this one will owe its owner.
        """
        owner = ensure_signed(origin)
        ensure(1 <= len(name) <= 64 and _is_utf8(name), Error.BAD_NAME)
        ensure(base in self.bases, Error.UNKNOWN_BASE)
        ensure(stake >= self.proposal_deposit, Error.STAKE_TOO_LOW)
        self._ensure_datanets(datanets)
        self._ensure_lineage(base, parent, royalty)
        self.currency.hold(HoldReason.MODEL_STAKE, owner, stake)
        model = self.next_model.get()
        self.models.insert(
            model,
            Model(
                owner=owner,
                name=name,
                base=base,
                parent=parent,
                royalty=royalty,
                datanets=datanets,
                stake=stake,
                backers=(),
                proposed=self.number.get(),
                stage=Stage.PROPOSED,
                artifact=None,
                price=None,
            ),
        )
        self.next_model.put(model + 1)
        self.deposit_event(Proposed(model, owner, name, stake))

    @call(index=2, weight=weights.BACK)
    def back(self, origin: Origin, model: ModelId, amount: Balance) -> None:
        """Stake on a model; backers share a part of what it earns, by stake."""
        who = ensure_signed(origin)
        found = self._model(model)
        ensure(found.stage != Stage.DEPRECATED, Error.WRONG_STAGE)
        ensure(amount >= self.least_backing, Error.TOO_MANY_BACKERS)
        backed = {b.account: b.amount for b in found.backers}
        backed[who] = backed.get(who, 0) + amount
        ensure(len(backed) <= self.max_backers, Error.TOO_MANY_BACKERS)
        self.currency.hold(HoldReason.MODEL_STAKE, who, amount)
        self._store_backers(model, found, backed)
        self.deposit_event(Backed(model, who, amount))

    @call(index=3, weight=weights.UNBACK)
    def unback(self, origin: Origin, model: ModelId, amount: Balance) -> None:
        """Take a part of the caller's stake back, or all; at least the least backing may remain."""
        who = ensure_signed(origin)
        found = self._model(model)
        backed = {b.account: b.amount for b in found.backers}
        left = backed.get(who, 0) - amount
        ensure(amount > 0 and (left == 0 or left >= self.least_backing), Error.NOT_A_BACKER)
        backed[who] = left
        self.currency.release(HoldReason.MODEL_STAKE, who, amount)
        self._store_backers(model, found, backed)
        self.deposit_event(Unbacked(model, who, amount))

    @call(index=4, weight=weights.SUBMIT_ARTIFACT)
    def submit_artifact(self, origin: Origin, model: ModelId, artifact: Artifact) -> None:
        """Fix the trained adapter: manifest, training receipt, commitments, evaluation.

        It never changes afterwards; hand the manifest's bytes to the blob store.
        """
        found = self._owned(origin, model)
        ensure(found.stage == Stage.PROPOSED, Error.WRONG_STAGE)
        ensure(artifact.manifest not in self.blobs, Error.MANIFEST_KNOWN)
        ensure(1 <= artifact.manifest_bytes <= self.max_manifest_bytes, Error.BAD_MANIFEST)
        _ensure_layout(artifact.layout, self.max_coordinates)
        self.blobs.insert(artifact.manifest, artifact.manifest_bytes)
        self.models.insert(model, replace(found, stage=Stage.TRAINED, artifact=artifact))
        self.deposit_event(ArtifactSubmitted(model, artifact.manifest, artifact.training_receipt))

    @call(index=5, weight=weights.LAUNCH)
    def launch(self, origin: Origin, model: ModelId, price: Price) -> None:
        """Open a trained model to paid sessions, at a price per token.

        Compute is at most the base model's cap, the premium at least half of compute.
        """
        found = self._owned(origin, model)
        ensure(found.stage == Stage.TRAINED, Error.WRONG_STAGE)
        self._ensure_price(found, price)
        self.models.insert(model, replace(found, stage=Stage.LAUNCHED, price=price))
        self.deposit_event(Launched(model, price))

    @call(index=6, weight=weights.SET_PRICE)
    def set_price(self, origin: Origin, model: ModelId, price: Price) -> None:
        """Change the price for sessions opened from now on; open ones keep theirs."""
        found = self._owned(origin, model)
        ensure(found.stage == Stage.LAUNCHED, Error.WRONG_STAGE)
        self._ensure_price(found, price)
        self.models.insert(model, replace(found, price=price))
        self.deposit_event(PriceSet(model, price))

    @call(index=7, weight=weights.DEPRECATE)
    def deprecate(self, origin: Origin, model: ModelId) -> None:
        """End a model: no new sessions, every stake on it is released."""
        found = self._owned(origin, model)
        ensure(found.stage != Stage.DEPRECATED, Error.WRONG_STAGE)
        self.currency.release(HoldReason.MODEL_STAKE, found.owner, found.stake)
        for backer in found.backers:
            self.currency.release(HoldReason.MODEL_STAKE, backer.account, backer.amount)
        self.models.insert(model, replace(found, stage=Stage.DEPRECATED, stake=0, backers=()))
        self.deposit_event(Deprecated(model))

    # What other pallets ask follows.

    def launched(self, model: int) -> Model | None:
        """Return a model that takes sessions."""
        found = self.models.get(model)
        return found if found is not None and found.stage == Stage.LAUNCHED else None

    def model(self, model: int) -> Model:
        """Return a model that exists."""
        return self.models[model]

    def royalties(self, model: int) -> tuple[Royalty, ...]:
        """Return what the owners of a model's ancestors take of its owner's part."""
        parent = self.models[model].parent
        found: dict[bytes, int] = {}
        while parent is not None:
            ancestor = self.models[parent]
            found[ancestor.owner] = found.get(ancestor.owner, 0) + ancestor.royalty
            parent = ancestor.parent
        return tuple(Royalty(who, part) for who, part in sorted(found.items()) if part)

    def build_genesis(self, genesis: Any) -> None:
        """Admit base models: ``{"bases": [[name, manifest hex, "compute cap"], ...]}``."""
        for name, manifest, cap in genesis.get("bases", ()):
            raw = bytes.fromhex(manifest.removeprefix("0x"))
            self._register_base(name.encode(), raw, int(cap))

    def ledger(self) -> dict[HoldReason, int]:
        """Return what this pallet holds for each of its reasons."""
        total = 0
        for _, found in self.models.items():
            total += found.stake + sum(b.amount for b in found.backers)
        return {HoldReason.MODEL_STAKE: total}

    def check_invariants(self) -> None:
        """Only trained models launch; lines are short and their royalties bounded."""
        for model, found in self.models.items():
            has_artifact = found.artifact is not None
            invariant(
                has_artifact or found.stage in (Stage.PROPOSED, Stage.DEPRECATED),
                f"model {model} has no artifact",
            )
            invariant(found.parent is None or found.parent < model, "a line runs in a circle")
            royalties = self.royalties(model)
            invariant(len(royalties) <= MAX_LINEAGE, f"the line of model {model} is too long")
            total = sum(r.basis_points for r in royalties)
            invariant(total <= MAX_ROYALTIES, f"royalties of model {model} exceed 30 %")

    def _register_base(self, name: bytes, manifest: bytes, compute_cap: int) -> None:
        ensure(1 <= len(name) <= 64 and _is_utf8(name), Error.BAD_NAME)
        base = self.next_base.get()
        self.bases.insert(base, Base(name, manifest, compute_cap))
        self.next_base.put(base + 1)
        self.deposit_event(BaseRegistered(base, name, manifest))

    def _model(self, model: int) -> Model:
        found = self.models.get(model)
        if found is None:
            raise DispatchFailure(Error.UNKNOWN_MODEL)
        return found

    def _owned(self, origin: Origin, model: int) -> Model:
        found = self._model(model)
        ensure(ensure_signed(origin) == found.owner, Error.NOT_OWNER)
        return found

    def _ensure_datanets(self, datanets: tuple[DatanetVersion, ...]) -> None:
        ids = [d.datanet for d in datanets]
        ensure(1 <= len(ids) <= self.max_datanets, Error.BAD_DATANETS)
        ensure(sorted(frozenset(ids)) == sorted(ids), Error.BAD_DATANETS)
        for used in datanets:
            known = self.datanets.version(used.datanet, used.version) is not None
            ensure(known and self.datanets.pays(used.datanet), Error.BAD_DATANETS)

    def _ensure_lineage(self, base: int, parent: int | None, royalty: int) -> None:
        total = royalty
        depth = 1
        while parent is not None:
            ancestor = self.models.get(parent)
            if ancestor is None or ancestor.artifact is None or ancestor.base != base:
                raise DispatchFailure(Error.BAD_LINEAGE)
            total += ancestor.royalty
            depth += 1
            parent = ancestor.parent
        ensure(depth <= MAX_LINEAGE, Error.BAD_LINEAGE)
        ensure(total <= MAX_ROYALTIES, Error.BAD_ROYALTY)

    def _ensure_price(self, found: Model, price: Price) -> None:
        try:
            check_price(price, self.bases[found.base].compute_cap)
        except PriceRefusal:
            raise DispatchFailure(Error.PRICE_REFUSED) from None

    def _store_backers(self, model: int, found: Model, backed: dict[bytes, int]) -> None:
        backers = tuple(Backer(who, amount) for who, amount in sorted(backed.items()) if amount)
        self.models.insert(model, replace(found, backers=backers))


def _ensure_layout(layout: tuple[int, ...], most: int) -> None:
    ensure(1 <= len(layout) <= 4096 and sum(layout) <= most, Error.BAD_LAYOUT)
    try:
        check_layout(layout)
    except ScoreRefusal:
        raise DispatchFailure(Error.BAD_LAYOUT) from None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
