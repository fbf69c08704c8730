"""Random calls, valid and invalid, on Datanets and models; every state keeps every invariant."""

from __future__ import annotations

from typing import Any

from dev_chain import OPEN, ROOT, DevChain
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime.pallets.datanets.types import FlagKind, Policy, Version
from runtime.pallets.models.types import Artifact, DatanetVersion, Roots, Stage
from runtime.primitives.errors import DispatchFailure
from runtime.protocols.ids import RecordId
from runtime.protocols.price import Price

OWNER = "Alice"
people = st.sampled_from([OWNER, OWNER, OWNER, "Bob", "Charlie"])
datanets = st.sampled_from([0, 0, 0, 1, 5])
small = st.sampled_from([0, 0, 1, 2, 3])
amounts = st.sampled_from([OPEN, 10 * OPEN, 10 * OPEN, 3 * OPEN, 1, 0, 10**25, 2**128 - 1])
policies = st.builds(
    Policy, st.sampled_from([True, True, False]), st.sampled_from([0, 1, 11 * OPEN]), amounts
)


class Registry(RuleBasedStateMachine):
    """Whatever people try: holds equal ledgers, records stay dense, versions stay as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = DevChain()
        self.versions: dict[tuple[int, int], Version] = {}
        self.artifacts: dict[int, Artifact] = {}
        self.stages: dict[int, Stage] = {}
        self.blob = 0

    def attempt(self, origin: Any, pallet: str, name: str, /, **arguments: Any) -> None:
        before = self.chain.overlay.changes(), len(self.chain.runtime.host.events)
        try:
            self.chain.call(origin, pallet, name, **arguments)
        except DispatchFailure:
            assert (self.chain.overlay.changes(), len(self.chain.runtime.host.events)) == before

    @initialize()
    def first(self) -> None:
        self.create(OWNER, b"first", Policy(True, 0, 0))
        for number in range(3):
            self.submit("Bob", 0, 5, OPEN, b"MIT", True)
            self.decide(OWNER, "accept", 0, number % 2)
        self.publish(OWNER, 0)
        self.propose(OWNER, None, 0, (0, 0), 10 * OPEN)

    @rule(who=people, name=st.sampled_from([b"a", b"b", b"c", b"", b"\xff"]), policy=policies)
    def create(self, who: str, name: bytes, policy: Policy) -> None:
        self.attempt(who, "Datanets", "create", name=name, schema=(b"f",), policy=policy)

    @rule(
        who=people,
        datanet=datanets,
        count=st.sampled_from([1, 5, 65_536, 65_537, 0]),
        bond=amounts,
        licence=st.sampled_from([b"MIT", b"CC0-1.0", b""]),
        fresh=st.sampled_from([True, True, False]),
    )
    def submit(
        self, who: str, datanet: int, count: int, bond: int, licence: bytes, fresh: bool
    ) -> None:
        self.blob += fresh
        self.attempt(
            who,
            "Datanets",
            "submit_batch",
            datanet=datanet,
            sub_root=bytes(32),
            count=count,
            bytes_=count + 1,
            blob=self.blob.to_bytes(32, "big"),
            licence=licence,
            bond=bond,
        )

    @rule(
        who=people,
        name=st.sampled_from(["accept", "accept", "reject", "release_bond"]),
        datanet=datanets,
        batch=small,
    )
    def decide(self, who: str, name: str, datanet: int, batch: int) -> None:
        self.attempt(who, "Datanets", name, datanet=datanet, batch=batch)

    @rule(who=people, datanet=datanets)
    def publish(self, who: str, datanet: int) -> None:
        self.attempt(who, "Datanets", "publish_version", datanet=datanet)

    @rule(
        who=people,
        datanet=datanets,
        batch=small,
        kind=st.sampled_from(FlagKind),
        bond=amounts,
    )
    def flag(self, who: str, datanet: int, batch: int, kind: FlagKind, bond: int) -> None:
        evidence = bytes(32)
        self.attempt(
            who,
            "Datanets",
            "flag",
            datanet=datanet,
            batch=batch,
            kind=kind,
            evidence=evidence,
            bond=bond,
        )

    @rule(flag=small, upheld=st.booleans(), judge=st.sampled_from([ROOT, ROOT, "Alice"]))
    def judge(self, flag: int, upheld: bool, judge: Any) -> None:
        self.attempt(judge, "Datanets", "resolve_flag", flag=flag, upheld=upheld)

    @rule(who=people, datanet=datanets, policy=policies)
    def set_policy(self, who: str, datanet: int, policy: Policy) -> None:
        self.attempt(who, "Datanets", "set_policy", datanet=datanet, policy=policy)

    @rule(
        bond=st.sampled_from([OPEN, 7 * OPEN + 3]),
        accusations=st.integers(0, 3),
        upheld=st.booleans(),
    )
    def contribute(self, bond: int, accusations: int, upheld: bool) -> None:
        """Take a batch through acceptance, accusations, judgement and release."""
        net = self.chain.runtime.datanets.datanets[0]
        self.submit("Bob", 0, 1, bond, b"MIT", True)
        self.decide(OWNER, "accept", 0, net.next_batch)
        flags = self.chain.runtime.datanets.next_flag.get()
        for number in range(accusations):
            self.flag("Charlie", 0, net.next_batch, FlagKind.ADVERSARIAL, bond)
            self.judge(flags + number, upheld, ROOT)
        self.wait(101)
        self.decide("Charlie", "release_bond", 0, net.next_batch)

    @rule(backing=st.integers(OPEN, 9 * OPEN), manifest=st.integers(10, 200))
    def build(self, backing: int, manifest: int) -> None:
        """Take a model from its proposal to its launch."""
        model = self.chain.runtime.models.next_model.get()
        self.propose(OWNER, None, 0, (0, 0), 10 * OPEN)
        self.stake("Bob", model, backing, "back")
        self.train(OWNER, model, manifest)
        self.sell(OWNER, model, "launch", 10**15)
        self.stake("Bob", model, backing, "unback")

    @precondition(lambda self: self.blob > 12)
    @rule(datanet=datanets)
    def delist(self, datanet: int) -> None:
        self.attempt(ROOT, "Datanets", "force_delist", datanet=datanet)

    @rule(blocks=st.sampled_from([1, 1, 101]))
    def wait(self, blocks: int) -> None:
        number = self.chain.runtime.system.number
        number.put(number.get() + blocks)

    @rule(
        who=people,
        parent=st.none() | small,
        royalty=st.sampled_from([0, 1000, 3001]),
        used=st.sampled_from([(0, 0), (0, 0), (0, 1), (1, 0), (4, 4)]),
        stake=amounts,
    )
    def propose(
        self, who: str, parent: int | None, royalty: int, used: tuple[int, int], stake: int
    ) -> None:
        self.attempt(
            who,
            "Models",
            "propose",
            name=b"m",
            base=0,
            parent=parent,
            royalty=royalty,
            datanets=(DatanetVersion(*used),),
            stake=stake,
        )

    @rule(who=people, model=small, amount=amounts, name=st.sampled_from(["back", "unback"]))
    def stake(self, who: str, model: int, amount: int, name: str) -> None:
        self.attempt(who, "Models", name, model=model, amount=amount)

    @rule(who=people, model=small, manifest=small)
    def train(self, who: str, model: int, manifest: int) -> None:
        roots = Roots(*[bytes(32)] * 5)
        artifact = Artifact(bytes([manifest]) * 32, 10, bytes(32), roots, (4,), 0)
        self.attempt(who, "Models", "submit_artifact", model=model, artifact=artifact)

    @rule(
        who=people,
        model=small,
        name=st.sampled_from(["launch", "set_price"]),
        compute=st.sampled_from([10**15, 0, 10**17]),
    )
    def sell(self, who: str, model: int, name: str, compute: int) -> None:
        price = Price(compute, compute, 10**15)
        self.attempt(who, "Models", name, model=model, price=price)

    @rule(who=people, model=small)
    def deprecate(self, who: str, model: int) -> None:
        self.attempt(who, "Models", "deprecate", model=model)

    @invariant()
    def everything_adds_up(self) -> None:
        self.chain.check()

    @invariant()
    def versions_never_change(self) -> None:
        for key, version in self.chain.runtime.datanets.versions.items():
            assert self.versions.setdefault(key, version) == version

    @invariant()
    def models_move_forward_and_keep_their_artifact(self) -> None:
        for model, found in self.chain.runtime.models.models.items():
            assert found.stage >= self.stages.get(model, Stage.PROPOSED)
            self.stages[model] = found.stage
            if found.artifact is not None:
                assert self.artifacts.setdefault(model, found.artifact) == found.artifact

    @invariant()
    def every_record_has_one_contributor(self) -> None:
        pallet = self.chain.runtime.datanets
        for datanet, net in pallet.datanets.items():
            owners = [
                pallet.contributor_of(RecordId(datanet, n)) for n in range(min(net.records, 20))
            ]
            assert None not in owners
            assert pallet.contributor_of(RecordId(datanet, net.records)) is None


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(max_examples=50, stateful_step_count=50, deadline=None)
