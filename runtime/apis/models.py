"""`ModelsApi`: base models, and models from their proposal on."""

from __future__ import annotations

from runtime.apis.base import StateApi
from runtime.apis.model_rows import model_rows
from runtime.apis.model_views import (
    Ancestor,
    BaseModelPage,
    BaseModelView,
    ModelPage,
    ModelView,
    TrainingData,
)
from runtime.apis.paging import PageSize, newest_first, text
from runtime.frame.runtime_api import api_method
from runtime.pallets.models.types import Base, BaseId, DatanetVersion, Model
from runtime.primitives.types import AccountId
from runtime.protocols.ids import DatanetId, ModelId


class ModelsApi(StateApi, version=1):
    """Models as an explorer shows them."""

    @api_method
    def models(
        self,
        start: ModelId | None,
        count: PageSize | None,
        datanet: DatanetId | None,
        owner: AccountId | None,
    ) -> ModelPage:
        """List models, the newest first; those trained on a Datanet, or an owner's, where asked.

        Of the models from `start` down, `count` are looked at; a page may hold fewer, even none.
        """
        return ModelPage(
            *model_rows(self.runtime.models, start, count, datanet=datanet, owner=owner)
        )

    @api_method
    def model(self, model: ModelId) -> ModelView | None:
        """Return a model's page; none where there is no such model."""
        models = self.runtime.models
        found = models.models.get(model)
        if found is None:
            return None
        base = models.bases.get(found.base)
        return ModelView(
            model=model,
            name=text(found.name),
            owner=found.owner,
            stage=found.stage,
            base=None if base is None else _base(found.base, base),
            lineage=self._lineage(found),
            royalty=found.royalty,
            royalties=models.royalties(model),
            datanets=tuple(map(self._training_data, found.datanets)),
            stake=found.stake,
            backers=found.backers,
            backed=sum(backer.amount for backer in found.backers),
            proposed=found.proposed,
            artifact=found.artifact,
            price=found.price,
        )

    @api_method
    def base_models(self, start: BaseId | None, count: PageSize | None) -> BaseModelPage:
        """List the base models that adapters may be trained on, the newest first."""
        models = self.runtime.models
        found, following = newest_first(models.bases.get, models.next_base.get(), start, count)
        return BaseModelPage(tuple(_base(index, base) for index, base in found), following)

    def _lineage(self, model: Model) -> tuple[Ancestor, ...]:
        line: list[Ancestor] = []
        parent = model.parent
        while parent is not None:
            found = self.runtime.models.models[parent]
            line.append(Ancestor(parent, text(found.name), found.owner, found.royalty))
            parent = found.parent
        return tuple(line)

    def _training_data(self, used: DatanetVersion) -> TrainingData:
        nets = self.runtime.datanets
        return TrainingData(
            datanet=used.datanet,
            name=text(nets.datanets[used.datanet].name),
            version=used.version,
            records=nets.versions[used.datanet, used.version].records,
            listed=nets.pays(used.datanet),
        )


def _base(number: int, base: Base) -> BaseModelView:
    return BaseModelView(number, text(base.name), base.manifest, base.compute_cap)
