"""What the admin API reads and answers: accounts, keys, aliases, jobs, the cache, nodes, the audit log.

Amounts of money are text, so that they stay exact; sizes are in bytes. What is allowed is `accounts`' to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from msgspec import UNSET, Meta, UnsetType

from modelyard.accounts.administration import ListedAccount, ListedAlias, ListedKey
from modelyard.accounts.cache_administration import ListedModel
from modelyard.accounts.limits import MOST_COUNT, MOST_DISK_BYTES, MOST_MEMORY_BYTES, MOST_WEIGHT
from modelyard.clock import iso
from modelyard.errors import ModelyardError
from modelyard.gateway import remedies
from modelyard.gateway.remedies import Remedies
from modelyard.gateway.shapes.base import Answer, Error, Shape, described, moment, show_moment
from modelyard.money import usd
from modelyard.records import accounts, aliases, audit
from modelyard.records.clusters import MAX_REPLICAS

T = TypeVar("T")
DEFAULT_LIMIT, MAX_LIMIT = 250, 1000
LAST_ID = 2**62
"""Above the id of any line of the audit log, and still a database's integer."""
MAX_DAYS = 36_500

Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
LineId = Annotated[int, Meta(ge=0, le=LAST_ID)]
Bound = Annotated[int, Meta(ge=0, le=MAX_REPLICAS)]
NAME = described("What to call it.")
ACCOUNT = described("An account, by its name or id.")
MODEL = described("org/name.", accepted="org/name")
MONEY = "US dollars as text, with at most 9 decimals, such as 12.50"


class AdminError(Error, frozen=True, kw_only=True):
    """What is wrong, in the envelope of v2, and which error it is."""

    code: Annotated[str, described("Names the error for programs, such as unknown_account.")] = "internal"
    field: Annotated[str | None, described("The field that is wrong, where one is.")] = None
    remedies: ClassVar[Remedies] = remedies.V2

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        told = Error.of(error, request_id).error
        if not isinstance(error, ModelyardError):
            return cls(error=told)
        return cls(error=told, code=error.code, field=error.data.get("field"))


class Listed(Answer[Sequence[T]], Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    output: Annotated[Sequence[T], described("The entries.")]
    next: Annotated[str | UnsetType, described("Where there are more: what to send as `after`.")] = UNSET


class PagedQuery(Shape, frozen=True, kw_only=True):
    """Which page of a list."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), described("At most this many.")] = DEFAULT_LIMIT
    after: Annotated[str | None, described("Only entries that follow the page which has said this.")] = None


class OwnedQuery(PagedQuery, frozen=True, kw_only=True):
    """The same, and whose."""

    account: Annotated[str | None, described("Only this account's, by its name or id.")] = None


class ClustersQuery(OwnedQuery, frozen=True, kw_only=True):
    """The same, and of which model."""

    model: Annotated[str | None, described("Only those of this model.")] = None


# --- accounts ---


class Account(Shape, frozen=True, kw_only=True):
    """An account, and what it may have. Null, in each limit: there is none."""

    id: Annotated[str, described("Its id.")]
    name: Annotated[str, described("Its name.")]
    created: Annotated[str, moment("When it was made.")]
    keys: Annotated[int, described("Its keys that are in use.")]
    max_instances: Annotated[int | None, described("Most instances at once, of all its models.")]
    max_memory_bytes: Annotated[int | None, described("Most memory that they hold together.")]
    max_concurrent: Annotated[int | None, described("Most inferences under way at once.")]
    max_models: Annotated[int | None, described("Most clusters, running or not.")]
    max_disk_bytes: Annotated[int | None, described("Most that files downloaded or made for it may take.")]
    weight: Annotated[int | None, described("Its part of the machines beside other accounts; null: 1.")]
    monthly_limit_usd: Annotated[str | None, described(f"Most that it may spend in a calendar month (UTC): {MONEY}.")]
    credit_usd: Annotated[str | None, described(f"All it has paid in advance: {MONEY}; null: billed afterwards.")]


class NameBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to make."""

    name: Annotated[str, NAME]


class LimitsBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits to change; null lifts one, those that are left out stay."""

    max_instances: Annotated[Count | UnsetType | None, described("Most instances at once.")] = UNSET
    max_memory_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_MEMORY_BYTES)] | UnsetType | None, described("Most memory that they hold.")
    ] = UNSET
    max_concurrent: Annotated[Count | UnsetType | None, described("Most inferences under way at once.")] = UNSET
    max_models: Annotated[Count | UnsetType | None, described("Most clusters.")] = UNSET
    max_disk_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_DISK_BYTES)] | UnsetType | None, described("Most that its files take.")
    ] = UNSET
    weight: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_WEIGHT)] | UnsetType | None,
        described(
            "Its part of the machines beside other accounts, where not all can have what they want; null: 1.",
            accepted=f"1 to {MOST_WEIGHT}, or null",
        ),
    ] = UNSET
    monthly_limit_usd: Annotated[
        str | UnsetType | None,
        described(f"Most that it may spend in a month: {MONEY}.", accepted=f"{MONEY}, or null"),
    ] = UNSET


class CreditBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to add to an account's credit."""

    usd: Annotated[str, described(f"{MONEY}; below 0: what to take back.", accepted=MONEY)]


def show_account(listed: ListedAccount) -> Account:
    """An account as the API has it."""
    account, limit, credit = listed.account, listed.account.monthly_limit_nano, listed.account.credit_nano
    return Account(
        id=account.id,
        name=account.name,
        created=iso(account.created_at),
        keys=listed.live_keys,
        max_instances=account.max_instances,
        max_memory_bytes=account.max_memory_bytes,
        max_concurrent=account.max_concurrent,
        max_models=account.max_models,
        max_disk_bytes=account.max_disk_bytes,
        weight=account.weight,
        monthly_limit_usd=None if limit is None else usd(limit),
        credit_usd=None if credit is None else usd(credit),
    )


# --- keys ---


class Key(Shape, frozen=True, kw_only=True):
    """An API key: never the key itself."""

    id: Annotated[str, described("Its id.")]
    account: Annotated[str, described("The name of the account that it is of.")]
    name: Annotated[str, described("Its name.")]
    prefix: Annotated[str, described("The key's first characters, to recognise it by.")]
    created: Annotated[str, moment("When it was made.")]
    revoked: Annotated[str | None, moment("When it was ended; null: it is in use.")]
    rate_limit: Annotated[
        int | None, described("Inferences a minute; 0: as many as it likes; null: as the server's settings say.")
    ]


class NewKey(Key, frozen=True, kw_only=True):
    """The same, just made."""

    secret: Annotated[str, described("The key itself. It is shown this once, and stored nowhere.")]


class KeyBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Annotated[str, described("What to call it, such as who or what will use it.")]
    account: Annotated[str, described("The name of the account; a new name makes a new account.")]
    rate_limit: Annotated[Count | None, described("Inferences a minute; 0: as many as it likes.")] = None


class KeyLimitBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key may do from now on."""

    rate_limit: Annotated[
        Count | None, described("Inferences a minute; 0: as many as it likes; null: as the server's settings say.")
    ]


def show_key(key: accounts.Key, account_name: str) -> Key:
    """A key as the API has it."""
    return Key(**_key_fields(key, account_name))


def show_new_key(key: accounts.Key, account_name: str, secret: str) -> NewKey:
    """A key that was just made."""
    return NewKey(**_key_fields(key, account_name), secret=secret)


def show_listed_key(listed: ListedKey) -> Key:
    """A key of a list."""
    return show_key(listed.key, listed.account_name)


def _key_fields(key: accounts.Key, account_name: str) -> dict[str, Any]:
    return {
        "id": key.id,
        "account": account_name,
        "name": key.name,
        "prefix": key.prefix,
        "created": iso(key.created_at),
        "revoked": show_moment(key.revoked_at),
        "rate_limit": key.rate_limit,
    }


# --- aliases ---


class AliasCapacity(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many instances a cluster has that a request through the alias makes."""

    min: Annotated[Bound | None, described("Instances kept without requests (0).")] = None
    desired: Annotated[Bound | None, described("Instances to start with (1).")] = None
    max: Annotated[Bound | None, described("Most instances (1).")] = None


CAPACITY = described(
    "Of a cluster that a request through it makes: 0 ≤ min ≤ desired ≤ max; null: as always.",
    accepted='an object such as {"min": 0, "desired": 1, "max": 2}',
)


class Alias(Shape, frozen=True, kw_only=True):
    """A name of an account's own that stands for a model."""

    account: Annotated[str, described("The name of the account that has it.")]
    name: Annotated[str, described("The alias.")]
    model: Annotated[str, described("The model that it stands for.")]
    task: Annotated[str | None, described("What its model must be for; null: anything.")]
    capacity: Annotated[AliasCapacity | None, CAPACITY]
    created: Annotated[str, moment("When it was made.")]
    modified: Annotated[str, moment("When it was last set.")]


class AliasBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a name stands for from now on."""

    account: Annotated[str, ACCOUNT]
    name: Annotated[str, described("The alias: one word as clients send it, such as gpt-4o-mini, or org/name.")]
    model: Annotated[str, MODEL]
    task: Annotated[str | None, described("Refuse requests where the model is for another task.")] = None
    capacity: Annotated[AliasCapacity | None, CAPACITY] = None


class AliasQuery(Shape, frozen=True, kw_only=True):
    """Which alias."""

    account: Annotated[str, ACCOUNT]
    name: Annotated[str, described("The alias.")]


def show_alias(listed: ListedAlias) -> Alias:
    """An alias as the API has it."""
    alias: aliases.Alias = listed.alias
    bound = alias.capacity
    return Alias(
        account=listed.account_name,
        name=alias.name,
        model=alias.model_id,
        task=alias.task,
        capacity=None if bound is None else AliasCapacity(min=bound.min, desired=bound.desired, max=bound.max),
        created=iso(alias.created_at),
        modified=iso(alias.modified_at),
    )


# --- jobs ---


class AskBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model to be fetched and measured."""

    account: Annotated[str, described("For whom, by name or id.")]
    model: Annotated[str, MODEL]
    retry: Annotated[bool, described("Once more, though the last job failed or is done.")] = False


class AllJobsQuery(Shape, frozen=True, kw_only=True):
    """Which jobs."""

    account: Annotated[str | None, described("Only those that this account has asked for, by its name or id.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), described("At most this many, the latest changed first.")] = 100


class ModelQuery(Shape, frozen=True, kw_only=True):
    """Which model's job, or files."""

    model: Annotated[str, MODEL]


# --- the cache ---


class CachedModel(Shape, frozen=True, kw_only=True):
    """A model's files on the server's disk."""

    model: Annotated[str, described("The model.")]
    kind: Annotated[str, described("hub; variant or converted: made here from another model or from its pickles.")]
    size_bytes: Annotated[int, described("What they take.")]
    used: Annotated[str, moment("When they were last read or written, to the day.")]
    in_use: Annotated[bool, described("Whether an instance uses them now, or a download is under way.")]
    downloaded_for: Annotated[str | None, described("The account that a server has downloaded them for.")]


class PruneBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to remove; one of the first two at least."""

    older_than_days: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_DAYS)] | None, described("What nobody has used for more days than this.")
    ] = None
    to_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_DISK_BYTES)] | None,
        described("What was unused for longest, until the rest takes no more than this."),
    ] = None
    dry_run: Annotated[bool, described("Only say what would be removed.", accepted="true or false")] = False


def show_cached(listed: ListedModel) -> CachedModel:
    """A model's files as the API has them."""
    return CachedModel(
        model=listed.model_id,
        kind=listed.kind,
        size_bytes=listed.size_bytes,
        used=iso(listed.used_at),
        in_use=listed.in_use,
        downloaded_for=listed.downloaded_for,
    )


# --- the audit log ---


class AuditLine(Shape, frozen=True, kw_only=True):
    """One change, or an attempt at one that was denied."""

    id: Annotated[int, described("Grows from line to line.")]
    at: Annotated[str, moment("When.")]
    actor: Annotated[str, described("Who: an account, or a user of the machine.")]
    way: Annotated[audit.Way, described("How: over HTTP, by a command on the database, by a server at its start.")]
    key: Annotated[str | None, described("The id of the key that was shown.")]
    source: Annotated[str | None, described("From which address, or on which machine.")]
    action: Annotated[str, described("What was done to which noun, such as key.revoke.")]
    account: Annotated[str | None, described("The name of the account that it is about.")]
    subject: Annotated[str, described("What was changed, by its id or name.")]
    before: Annotated[Mapping[str, Any] | None, described("What was changed, as it was; null: nothing was there.")]
    after: Annotated[Mapping[str, Any] | None, described("The same as it is then; null: nothing is there.")]
    outcome: Annotated[audit.Outcome, described("Whether it was done.")]
    reason: Annotated[str | None, described("Why it was denied.")]


class AuditQuery(Shape, frozen=True, kw_only=True):
    """Which lines of the audit log."""

    account: Annotated[str | None, described("Only what was changed of this account's, by name.")] = None
    action: Annotated[str | None, described("Only this, such as key.revoke, or all of a noun: key.")] = None
    actor: Annotated[str | None, described("Only what this account or user has done, by name.")] = None
    outcome: Annotated[Literal["done", "denied"] | None, described("Only such.")] = None
    since: Annotated[str | None, described("From this ISO date or time on.")] = None
    after: Annotated[LineId | None, described("Only lines after this id, from the oldest on.")] = None
    before: Annotated[LineId | None, described("Only lines before this id.")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), described("At most this many; without `after` the newest.")] = 100


def show_audit(line: audit.AuditLine) -> AuditLine:
    """A line as the API has it."""
    return AuditLine(
        id=line.id,
        at=iso(line.at),
        actor=line.actor.name,
        way=line.actor.way,
        key=line.actor.key_id,
        source=line.actor.source,
        action=line.action,
        account=line.account,
        subject=line.subject,
        before=line.before,
        after=line.after,
        outcome=line.outcome,
        reason=line.reason,
    )
