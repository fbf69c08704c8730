"""Models in lists, chosen by what is asked for."""

from __future__ import annotations

from runtime.apis.model_views import ModelRow
from runtime.apis.paging import newest_first, text
from runtime.pallets.models import Models
from runtime.pallets.models.types import Model


def model_rows(
    models: Models,
    start: int | None,
    count: int | None,
    *,
    datanet: int | None = None,
    owner: bytes | None = None,
) -> tuple[tuple[ModelRow, ...], int | None]:
    """Show those of a page's models that are trained on a Datanet, or an owner's."""

    def keep(model: Model) -> bool:
        trained = datanet is None or any(used.datanet == datanet for used in model.datanets)
        return trained and (owner is None or model.owner == owner)

    found, following = newest_first(models.models.get, models.next_model.get(), start, count, keep)
    return tuple(model_row(index, model) for index, model in found), following


def model_row(number: int, model: Model) -> ModelRow:
    """Show a model in a list."""
    return ModelRow(
        model=number,
        name=text(model.name),
        owner=model.owner,
        stage=model.stage,
        base=model.base,
        parent=model.parent,
        price=model.price,
        stake=model.stake,
        backed=sum(backer.amount for backer in model.backers),
        proposed=model.proposed,
    )
