"""Byzantine validators, one behaviour per file."""

from tests.simulation.actors.certificate_spammer import CertificateSpammer
from tests.simulation.actors.conflicter import Conflicter
from tests.simulation.actors.double_boundary import DoubleBoundary
from tests.simulation.actors.equivocator import Equivocator
from tests.simulation.actors.impersonator import Impersonator
from tests.simulation.actors.late_proposer import LateProposer
from tests.simulation.actors.mutating_disrupter import MutatingDisrupter
from tests.simulation.actors.nuller import Nuller
from tests.simulation.actors.replayer import Replayer
from tests.simulation.actors.silent import NullifyOnly, Silent
from tests.simulation.actors.timestamp_liar import TimestampLiar
from tests.simulation.actors.withholder import Withholder
from tests.simulation.actors.wrong_epoch import WrongEpoch
from tests.simulation.actors.wrong_justification import WrongJustification
from tests.simulation.node import Node

ACTORS: dict[str, type[Node]] = {
    "equivocator": Equivocator,
    "conflicter": Conflicter,
    "nuller": Nuller,
    "withholder": Withholder,
    "late_proposer": LateProposer,
    "impersonator": Impersonator,
    "wrong_epoch": WrongEpoch,
    "certificate_spammer": CertificateSpammer,
    "wrong_justification": WrongJustification,
    "timestamp_liar": TimestampLiar,
    "double_boundary": DoubleBoundary,
    "mutating_disrupter": MutatingDisrupter,
    "silent": Silent,
    "nullify_only": NullifyOnly,
    "replayer": Replayer,
}
