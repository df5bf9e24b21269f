"""What commands ask of an administration: of a database of one's own, or of a server elsewhere. Owns the choice.

Both keep one contract, so that each command has one way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from modelyard.config import FIRST_ACCOUNT, Settings

if TYPE_CHECKING:
    from modelyard.accounts.administration import ListedAccount, ListedAlias, ListedKey, NewKey, RestrictedModel
    from modelyard.accounts.cache_administration import ListedModel
    from modelyard.accounts.usage import UsedLine, UsedRow
    from modelyard.records.accounts import Account, AccountLimits
    from modelyard.records.audit import AuditLine, AuditQuery
    from modelyard.records.clusters import Changes


class Administering(Protocol):
    """Accounts, keys, aliases, shared models, usage, the audit log: as `accounts.administration.Administration`
    explains them."""

    def list_accounts(self) -> list[ListedAccount]:
        """All accounts, oldest first."""

    def create_account(self, name: str) -> Account:
        """A new account without limits."""

    def set_limits(self, name_or_id: str, limits: AccountLimits) -> Account:
        """Changes the limits that are named, and only those."""

    def add_credit(self, name_or_id: str, amount_nano: int) -> Account:
        """Adds to what an account has paid in advance."""

    def list_keys(self, account: str | None = None) -> list[ListedKey]:
        """The keys of one account or of all, oldest first."""

    def create_key(self, name: str, account: str = FIRST_ACCOUNT, rate_limit: int | None = None) -> NewKey:
        """A new key."""

    def revoke_key(self, id_or_prefix: str) -> None:
        """Ends a key that is in use."""

    def set_rate_limit(self, id_or_prefix: str, rate_limit: int | None) -> None:
        """Changes how many requests a minute a key may make."""

    def list_aliases(self, account: str | None = None) -> list[ListedAlias]:
        """The aliases of one account or of all."""

    def set_alias(
        self,
        name: str,
        model_id: str,
        account: str = FIRST_ACCOUNT,
        *,
        task: str | None = None,
        capacity: Changes | None = None,
    ) -> ListedAlias:
        """Has a name stand for a model."""

    def remove_alias(self, name: str, account: str = FIRST_ACCOUNT) -> None:
        """Has a name mean what it meant before."""

    def list_restricted(self) -> list[RestrictedModel]:
        """The private and gated models of the hub, and who may use them."""

    def share_model(self, model_id: str, name_or_id: str) -> Account:
        """Lets an account use a private or gated model."""

    def unshare_model(self, model_id: str, name_or_id: str) -> Account:
        """Takes that back."""

    def list_usage(self, account: str | None, since: str | None, until: str | None) -> list[UsedRow]:
        """What was used in a period, by account, day and model."""

    def list_used_lines(self, account: str | None, since: str | None, until: str | None) -> list[UsedLine]:
        """The same, a line for each instance."""

    def list_audit(self, query: AuditQuery) -> list[AuditLine]:
        """The lines that a query asks for, newest last."""


class CacheAdministering(Protocol):
    """What models take up on a disk: as `accounts.cache_administration.CacheAdministration` explains it."""

    def list(self) -> Sequence[ListedModel]:
        """All of them, by id."""

    def remove(self, model_ids: Sequence[str]) -> Sequence[ListedModel]:
        """Removes models' files."""

    def prune(
        self, *, older_than_days: int | None, to_bytes: int | None, dry_run: bool = False
    ) -> Sequence[ListedModel]:
        """Removes what nobody uses; which that is."""


@contextmanager
def open_administration(settings: Settings, server: str | None) -> Iterator[Administering]:
    """Of the server at that URL; None: of the database that these settings name, which is made where there is none."""
    from modelyard.cli.client import open_client
    from modelyard.cli.database import open_local_administration

    if server is None:
        with open_local_administration(settings) as administration:
            yield administration
    else:
        from modelyard.cli.remote_administration import RemoteAdministration

        with open_client(server, settings) as client:
            yield RemoteAdministration(client)


@contextmanager
def open_cache(settings: Settings, server: str | None) -> Iterator[CacheAdministering]:
    """Of the server at that URL; None: of this machine."""
    from modelyard.cli.client import open_client
    from modelyard.cli.database import open_local_cache

    if server is None:
        with open_local_cache(settings) as cache:
            yield cache
    else:
        from modelyard.cli.remote_administration import RemoteCache

        with open_client(server, settings) as client:
            yield RemoteCache(client)
