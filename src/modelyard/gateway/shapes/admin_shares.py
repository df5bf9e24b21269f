"""What the admin API reads and answers of private and gated models of the hub: who may use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from modelyard.accounts.administration import RestrictedModel
from modelyard.gateway.shapes.admin import ACCOUNT, MODEL
from modelyard.gateway.shapes.base import Shape, described


class Share(Shape, frozen=True, kw_only=True):
    """A private or gated model of the hub."""

    model: Annotated[str, described("Its id, in lower case.")]
    accounts: Annotated[Sequence[str], described("The accounts that may use it, besides the operator's, by name.")]


class ShareBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use which model from now on."""

    model: Annotated[str, MODEL]
    account: Annotated[str, ACCOUNT]


class ShareQuery(Shape, frozen=True, kw_only=True):
    """Whose share of which model."""

    model: Annotated[str, MODEL]
    account: Annotated[str, ACCOUNT]


def show_share(listed: RestrictedModel) -> Share:
    """A restricted model as the API has it."""
    return Share(model=listed.model_id, accounts=listed.accounts)
