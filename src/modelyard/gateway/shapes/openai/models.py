"""What `/v1/models` answers, for OpenAI's clients and for Anthropic's: each reads the fields it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from modelyard.clock import iso
from modelyard.gateway.shapes.base import described
from modelyard.gateway.shapes.models import MAX_LIMIT
from modelyard.gateway.shapes.openai.base import OpenAIShape
from modelyard.records.models import Listing


class OpenAIModel(OpenAIShape, frozen=True, kw_only=True):
    """A model that can be asked."""

    id: Annotated[str, described("The model's name, org/name, or an alias of yours.")]
    object: Annotated[Literal["model"], described("What this is.")] = "model"
    type: Annotated[Literal["model"], described("The same, for Anthropic's clients.")] = "model"
    created: Annotated[int, described("When this server has last learned of its files, in seconds since 1970.")]
    created_at: Annotated[str, described("The same as ISO 8601, UTC.")]
    owned_by: Annotated[str, described("Its organisation or user.")]
    display_name: Annotated[str, described("The model's name.")]
    task: Annotated[str | None, described("What it does.")]
    alias_of: Annotated[str | None, described("Of an alias: the model that it stands for; null: it is a model.")]
    context_length: Annotated[
        int | None, described("The most tokens that are read, the answer among them; null: no limit is known.")
    ]
    max_model_len: Annotated[int | None, described("The same, as vLLM calls it.")]


class OpenAIModels(OpenAIShape, frozen=True, kw_only=True):
    """Models that can be asked, by name."""

    object: Annotated[Literal["list"], described("What this is.")] = "list"
    data: Annotated[Sequence[OpenAIModel], described("The models.")]
    has_more: Annotated[bool, described("Whether there are more, after the last of these.")]
    first_id: Annotated[str | None, described("The first of them.")]
    last_id: Annotated[str | None, described("The last of them, to be sent as `after`.")]


class OpenAIModelsQuery(OpenAIShape, frozen=True, kw_only=True):
    """Which models are listed."""

    task: Annotated[str | None, described("Only models of this task.")] = None
    search: Annotated[str | None, described("Only models whose name contains this, in any case.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), described("At most this many.")] = MAX_LIMIT
    after: Annotated[str | None, described("Only models that follow this one.")] = None
    after_id: Annotated[str | None, described("The same, as Anthropic's clients call it.")] = None


def show_model(listing: Listing, alias_of: str | None) -> OpenAIModel:
    """A model of the catalogue as these clients read it. `alias_of`: the model that its name stands for, where that is
    an alias."""
    length = listing.facts.get("max_length")
    context = length if isinstance(length, int) else None
    return OpenAIModel(
        id=listing.model_id,
        created=int(listing.updated_at.timestamp()),
        created_at=iso(listing.updated_at),
        owned_by=(alias_of or listing.model_id).partition("/")[0],
        display_name=listing.model_id,
        task=listing.task,
        alias_of=alias_of,
        context_length=context,
        max_model_len=context,
    )


def show_models(listings: Sequence[Listing], aliases: Mapping[str, str], following: str | None) -> OpenAIModels:
    """A page of them. `aliases`: those that are, each with its model; `following`: the id after which there are
    more."""
    return OpenAIModels(
        data=[show_model(each, aliases.get(each.model_id)) for each in listings],
        has_more=following is not None,
        first_id=listings[0].model_id if listings else None,
        last_id=listings[-1].model_id if listings else None,
    )
