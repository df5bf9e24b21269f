"""Administration of a server from elsewhere: the same calls as on a database of one's own, over the admin API.

Owns what the API's answers become; the rules are the server's. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from modelyard.accounts.administration import ListedAccount, ListedAlias, ListedKey, NewKey, RestrictedModel
from modelyard.accounts.amounts import parse_usd
from modelyard.accounts.cache_administration import ListedModel
from modelyard.accounts.usage import UsedLine, UsedRow
from modelyard.cli.client import ADMIN, Client
from modelyard.clock import iso
from modelyard.config import FIRST_ACCOUNT
from modelyard.errors import UnknownAccount, UnknownKey
from modelyard.money import usd
from modelyard.records.accounts import Account, AccountLimits, Key
from modelyard.records.aliases import Alias
from modelyard.records.audit import Actor, AuditLine, AuditQuery
from modelyard.records.clusters import Capacity, Changes

U = TypeVar("U", UsedRow, UsedLine)
LIMITS = {
    "max_instances": "maxInstances",
    "max_memory_bytes": "maxMemoryBytes",
    "max_concurrent": "maxConcurrent",
    "max_models": "maxModels",
    "max_disk_bytes": "maxDiskBytes",
    "weight": "weight",
}
"""An account's limit → what the API calls it."""


class RemoteAdministration:
    """See Administration. Raises ServerUnreachable, ServerRefused."""

    def __init__(self, client: Client) -> None:
        self._client = client

    # --- accounts ---

    def list_accounts(self) -> list[ListedAccount]:
        """All accounts, oldest first."""
        return [ListedAccount(read_account(each), each["keys"]) for each in self._pages("accounts")]

    def create_account(self, name: str) -> Account:
        """A new account without limits."""
        return read_account(self._ask("POST", "accounts", {"name": name}))

    def set_limits(self, name_or_id: str, limits: AccountLimits) -> Account:
        """Changes the limits that are named, and only those; None lifts one."""
        body: dict[str, Any] = {LIMITS[name]: value for name, value in limits.items() if name in LIMITS}
        if "monthly_limit_nano" in limits:
            limit = limits["monthly_limit_nano"]
            body["monthlyLimitUsd"] = None if limit is None else usd(limit)
        return read_account(self._ask("PATCH", f"accounts/{self._account_part(name_or_id)}/limits", body))

    def add_credit(self, name_or_id: str, amount_nano: int) -> Account:
        """Adds to what an account has paid in advance."""
        return read_account(
            self._ask("POST", f"accounts/{self._account_part(name_or_id)}/credit", {"usd": usd(amount_nano)})
        )

    # --- keys ---

    def list_keys(self, account: str | None = None) -> list[ListedKey]:
        """The keys of one account or of all, oldest first."""
        return [ListedKey(read_key(each), each["account"]) for each in self._pages("keys", account=account)]

    def create_key(self, name: str, account: str = FIRST_ACCOUNT, rate_limit: int | None = None) -> NewKey:
        """A new key."""
        made = self._ask("POST", "keys", {"name": name, "account": account, "rateLimit": rate_limit})
        return NewKey(read_key(made), made["secret"])

    def revoke_key(self, id_or_prefix: str) -> None:
        """Ends a key that is in use."""
        self._ask("DELETE", f"keys/{self._key_part(id_or_prefix)}")

    def set_rate_limit(self, id_or_prefix: str, rate_limit: int | None) -> None:
        """Changes how many requests a minute a key may make."""
        self._ask("PATCH", f"keys/{self._key_part(id_or_prefix)}", {"rateLimit": rate_limit})

    # --- aliases ---

    def list_aliases(self, account: str | None = None) -> list[ListedAlias]:
        """The aliases of one account or of all."""
        return [ListedAlias(read_alias(each), each["account"]) for each in self._pages("aliases", account=account)]

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
        bounds = None
        if capacity is not None:
            bounds = {"min": capacity.min, "desired": capacity.desired, "max": capacity.max}
        body = {"account": account, "name": name, "model": model_id, "task": task, "capacity": bounds}
        made = self._ask("PUT", "aliases", body)
        return ListedAlias(read_alias(made), made["account"])

    def remove_alias(self, name: str, account: str = FIRST_ACCOUNT) -> None:
        """Has a name mean what it meant before."""
        self._ask("DELETE", "aliases", query={"account": account, "name": name})

    # --- models that not every account may use ---

    def list_restricted(self) -> list[RestrictedModel]:
        """The private and gated models of the hub, and who may use them."""
        return [RestrictedModel(each["model"], each["accounts"]) for each in self._pages("shares")]

    def share_model(self, model_id: str, name_or_id: str) -> Account:
        """Lets an account use a private or gated model."""
        return read_account(self._ask("PUT", "shares", {"model": model_id, "account": name_or_id}))

    def unshare_model(self, model_id: str, name_or_id: str) -> Account:
        """Takes that back."""
        return read_account(self._ask("DELETE", "shares", query={"model": model_id, "account": name_or_id}))

    # --- usage ---

    def list_usage(self, account: str | None, since: str | None, until: str | None) -> list[UsedRow]:
        """What was used in a period, by account, day and model."""
        query = given({"account": account, "since": since, "until": until})
        return [read_used(UsedRow, each) for each in self._ask("GET", "usage", query=query)]

    def list_used_lines(self, account: str | None, since: str | None, until: str | None) -> list[UsedLine]:
        """The same, a line for each instance."""
        query = given({"account": account, "since": since, "until": until})
        return [read_used(UsedLine, each) for each in self._ask("GET", "usage/instances", query=query)]

    # --- the audit log ---

    def list_audit(self, query: AuditQuery) -> list[AuditLine]:
        """The lines that a query asks for, newest last."""
        wanted = {
            "account": query.account,
            "action": query.action,
            "actor": query.actor,
            "outcome": query.outcome,
            "since": None if query.since is None else iso(query.since),
            "after": query.after,
            "before": query.before,
            "limit": query.limit,
        }
        return [read_audit(each) for each in self._ask("GET", "audit", query=given(wanted))]

    # --- the wire ---

    def _account_part(self, name_or_id: str) -> str:
        """An account in a path: its id, where its name is no part of one."""
        if is_part(name_or_id):
            return quoted(name_or_id)
        for each in self._pages("accounts"):
            if each["name"] == name_or_id:
                return quoted(each["id"])
        raise UnknownAccount(f"No account is called {name_or_id}.", account=name_or_id)

    def _key_part(self, id_or_prefix: str) -> str:
        """A key in a path: its id, where its first characters are no part of one."""
        if is_part(id_or_prefix):
            return quoted(id_or_prefix)
        for each in self._pages("keys"):
            if each["prefix"] == id_or_prefix and each["revoked"] is None:
                return quoted(each["id"])
        raise UnknownKey(f"No key that is in use has the id {id_or_prefix}.", key=id_or_prefix)

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        return self._client.administer(method, path, body, query)

    def _pages(self, path: str, **query: str | None) -> Iterator[Any]:
        return self._client.pages(path, given(query), root=ADMIN)


class RemoteCache:
    """See CacheAdministration. Raises ServerUnreachable, ServerRefused."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[ListedModel]:
        """All of them, by id."""
        return [read_cached(each) for each in self._client.pages("cache", {}, root=ADMIN)]

    def remove(self, model_ids: Sequence[str]) -> Sequence[ListedModel]:
        """Removes models' files, one after the other."""
        removed = [self._client.administer("DELETE", "cache", query={"model": model_id}) for model_id in model_ids]
        return [read_cached(each) for models in removed for each in models]

    def prune(
        self, *, older_than_days: int | None, to_bytes: int | None, dry_run: bool = False
    ) -> Sequence[ListedModel]:
        """Removes what nobody uses."""
        body = {"olderThanDays": older_than_days, "toBytes": to_bytes, "dryRun": dry_run}
        return [read_cached(each) for each in self._client.administer("POST", "cache/prune", body)]


def is_part(text: str) -> bool:
    """Whether a text can be a part of a path, quoted: a slash would part it, dots would lead elsewhere."""
    return "/" not in text and text.strip(".") != ""


def quoted(part: str) -> str:
    """A part of a path."""
    from urllib.parse import quote

    return quote(part, safe="")


def given(query: Mapping[str, Any]) -> dict[str, Any]:
    """What of a query is asked for."""
    return {name: value for name, value in query.items() if value is not None}


def read_account(told: Mapping[str, Any]) -> Account:
    """An account as it was told."""
    monthly, credit = told["monthlyLimitUsd"], told["creditUsd"]
    return Account(
        id=told["id"],
        name=told["name"],
        created_at=read_moment(told["created"]),
        **{name: told.get(theirs) for name, theirs in LIMITS.items()},
        credit_nano=None if credit is None else parse_usd(credit, "creditUsd"),
        monthly_limit_nano=None if monthly is None else parse_usd(monthly, "monthlyLimitUsd"),
    )


def read_used(kind: type[U], told: Mapping[str, Any]) -> U:
    """A row of use, or a line, as it was told."""
    return kind(*(told[camel(name)] for name in kind._fields))


def camel(name: str) -> str:
    """What the API calls a field: `cost_usd` is costUsd."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def read_key(told: Mapping[str, Any]) -> Key:
    """A key as it was told, which does not say the id of its account."""
    return Key(
        id=told["id"],
        account_id="",
        name=told["name"],
        prefix=told["prefix"],
        created_at=read_moment(told["created"]),
        revoked_at=None if told["revoked"] is None else read_moment(told["revoked"]),
        rate_limit=told["rateLimit"],
    )


def read_alias(told: Mapping[str, Any]) -> Alias:
    """An alias as it was told, which does not say the id of its account."""
    capacity = told["capacity"]
    return Alias(
        account_id="",
        name=told["name"],
        model_id=told["model"],
        created_at=read_moment(told["created"]),
        modified_at=read_moment(told["modified"]),
        task=told["task"],
        capacity=None if capacity is None else Capacity(**capacity),
    )


def read_audit(told: Mapping[str, Any]) -> AuditLine:
    """A line of the audit log as it was told."""
    return AuditLine(
        at=read_moment(told["at"]),
        actor=Actor(told["way"], told["actor"], told["key"], told["source"]),
        action=told["action"],
        account=told["account"],
        subject=told["subject"],
        before=told["before"],
        after=told["after"],
        outcome=told["outcome"],
        reason=told["reason"],
        id=told["id"],
    )


def read_cached(told: Mapping[str, Any]) -> ListedModel:
    """A model's files as they were told."""
    return ListedModel(
        told["model"],
        told["kind"],
        told["sizeBytes"],
        read_moment(told["used"]),
        told["inUse"],
        told["downloadedFor"],
    )


def read_moment(text: str) -> datetime:
    """A moment of an answer."""
    return datetime.fromisoformat(text)
