"""The query code: what one answer asks of the records."""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.attribution.arrays import Float64s
from inference.attribution.basis import Projectors
from inference.attribution.codes import encode_query
from inference.attribution.gradients import Passage, TracedModel
from inference.attribution.index import InfluenceIndex
from runtime.protocols.report import QueryCode


@dataclass(frozen=True, slots=True)
class Querier:
    """A model and an index, ready to code answers."""

    model: TracedModel
    index: InfluenceIndex
    projectors: Projectors

    def whiten(self, prompt: Sequence[int], output: Sequence[int]) -> Float64s:
        """Compute the whitened gradient of the answer's summed loss, float64 [coordinates]."""
        trace = self.model.trace([answer_passage(prompt, output)])
        whitened: Float64s = self.projectors.whiten(trace)[0]
        return whitened

    def code(self, prompt: Sequence[int], output: Sequence[int]) -> QueryCode:
        """Code an answer; alone in its batch, so nothing that runs beside it can show."""
        return encode_query(self.whiten(prompt, output), self.index.bases, self.index.layout)


def querier(model: TracedModel, index: InfluenceIndex) -> Querier:
    """Prepare a model and its index for queries."""
    return Querier(model, index, index.basis.projectors())


def answer_passage(prompt: Sequence[int], output: Sequence[int]) -> Passage:
    """Score the output's own tokens, given the prompt; raises ValueError on an empty side."""
    if not prompt or not output:
        raise ValueError("an answer is attributed from at least one prompt and one output token")
    scored = (False,) * len(prompt) + (True,) * len(output)
    return Passage((*prompt, *output), scored)
