"""Accounts, keys, limits and credit as the operator changes them: one set of rules for commands, HTTP and a console.

Owns what is allowed, what is found by which name, and what the audit log is told, in the transaction of the change.
Blocks on the database: on an event loop, call it in a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.accounts.aliases import check_alias, check_target, read_capacity
from modelyard.accounts.audit import AuditTrail
from modelyard.accounts.keys import hash_key, new_key, shown_prefix
from modelyard.accounts.limits import check_limits, check_rate_limit
from modelyard.accounts.usage import Usage, UsedLine, UsedRow, read_period, read_usage, used_lines, used_rows
from modelyard.clock import Clock
from modelyard.config import CLI_KEY_FILE, FIRST_ACCOUNT
from modelyard.errors import InvalidRequest, UnknownAccount, UnknownAlias, UnknownKey
from modelyard.private_files import create_private_file
from modelyard.records.accounts import Account, AccountLimits, Key
from modelyard.records.aliases import Alias, check_alias_name
from modelyard.records.audit import SERVER, Actor, AuditLine, AuditQuery
from modelyard.records.clusters import Changes
from modelyard.records.files import repository_of
from modelyard.records.models import check_model_id
from modelyard.store.store import Store

FIRST_KEY_NAME = "first"
ADMIN_KEY_NAME = "MODELYARD_ADMIN_KEY"
CLI_KEY_NAME = "cli"


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """An account in a list. `live_keys`: how many of its keys are in use."""

    account: Account
    live_keys: int


@dataclass(frozen=True, slots=True)
class RestrictedModel:
    """A model that not every account may use. `model_id` is in lower case; `accounts`: the names of those that may,
    besides the operator's."""

    model_id: str
    accounts: list[str]


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key in a list, with the name of the account that owns it."""

    key: Key
    account_name: str


@dataclass(frozen=True, slots=True)
class ListedAlias:
    """An alias in a list, with the name of the account that has it."""

    alias: Alias
    account_name: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `secret` is the key itself, which is stored nowhere."""

    key: Key
    secret: str


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """What was used in a period. `names`: account id → name, for every account."""

    usage: Usage
    names: dict[str, str]


class Administration:
    """The operator's changes to who may use a server, and how much."""

    def __init__(self, store: Store, clock: Clock, actor: Actor = SERVER) -> None:
        """`actor`: who makes the changes, as the audit log tells it."""
        self._store = store
        self._clock = clock
        self._trail = AuditTrail(store.audit, clock, actor)

    # --- accounts ---

    def list_accounts(self) -> list[ListedAccount]:
        """All accounts, oldest first."""
        live = Counter(key.account_id for key in self._store.keys.list() if key.revoked_at is None)
        return [ListedAccount(account, live[account.id]) for account in self._store.accounts.list()]

    def list_account_names(self, account: str | None = None) -> Mapping[str, str]:
        """By its id, the name of one account, given by name or id, or of all. Raises UnknownAccount."""
        found = self._store.accounts.list() if account is None else [self.get_account(account)]
        return {each.id: each.name for each in found}

    def create_account(self, name: str) -> Account:
        """A new account without limits. Raises InvalidRequest for an empty name or one that is taken."""
        check_name("name", name)
        with self._trail.change():
            made = self._store.accounts.create(name, self._clock.now())
            self._trail.note("account.create", made.name, made.id, after={"name": made.name})
        return made

    def get_account(self, name_or_id: str) -> Account:
        """The account of that name, else of that id. Raises UnknownAccount, which names those there are."""
        accounts = self._store.accounts.list()
        by_name = {account.id: account for account in accounts} | {account.name: account for account in accounts}
        if (found := by_name.get(name_or_id)) is None:
            names = sorted(account.name for account in accounts)
            raise UnknownAccount(
                f"No account is called {name_or_id}; there are {', '.join(names) or 'none yet'}.",
                account=name_or_id,
                accounts=names,
            )
        return found

    def get_listed_account(self, name_or_id: str) -> ListedAccount:
        """The same with how many of its keys are in use. Raises UnknownAccount."""
        account = self.get_account(name_or_id)
        return ListedAccount(account, sum(key.revoked_at is None for key in self._store.keys.list(account.id)))

    def set_limits(self, name_or_id: str, limits: AccountLimits) -> Account:
        """Changes the limits that are named, and only those; None lifts one. What runs already is not ended.

        Raises UnknownAccount, InvalidRequest.
        """
        check_limits(limits)
        with self._trail.change():
            account = self.get_account(name_or_id)
            changed = self._store.accounts.set_limits(account.id, **limits)
            before, after = ({name: getattr(each, name) for name in limits} for each in (account, changed))
            self._trail.note("account.limit", account.name, account.id, before, after)
        return changed

    def add_credit(self, name_or_id: str, amount_nano: int) -> Account:
        """Adds to what an account has paid in advance; below 0 takes back. An account without credit begins at 0.

        Raises UnknownAccount, InvalidRequest.
        """
        with self._trail.change():
            account = self.get_account(name_or_id)
            changed = self._store.accounts.add_credit(account.id, amount_nano)
            before, after = {"credit_nano": account.credit_nano}, {"credit_nano": changed.credit_nano}
            self._trail.note("account.credit", account.name, account.id, before, after)
        return changed

    # --- models that not every account may use ---

    def list_restricted(self) -> list[RestrictedModel]:
        """The private and gated models of the hub that this installation has met or shared, by id in lower case."""
        names = {each.id: each.name for each in self._store.accounts.list()}
        granted = self._store.grants.list_granted()
        keys = sorted({*self._store.grants.list_restricted(), *granted})
        return [RestrictedModel(key, sorted(names[each] for each in granted.get(key, ()))) for key in keys]

    def share_model(self, model_id: str, name_or_id: str) -> Account:
        """Lets an account use a private or gated model of the hub. Idempotent.

        Raises UnknownAccount, InvalidRequest.
        """
        repository_id = repository_of(check_model_id(model_id))
        with self._trail.change():
            account = self.get_account(name_or_id)
            self._store.grants.grant(repository_id, account.id)
            self._trail.note("model.share", account.name, repository_id)
        return account

    def unshare_model(self, model_id: str, name_or_id: str) -> Account:
        """Takes that back; what runs already is not ended. Raises UnknownAccount, InvalidRequest when there is no such
        share."""
        repository_id = repository_of(check_model_id(model_id))
        with self._trail.change():
            account = self.get_account(name_or_id)
            if not self._store.grants.revoke(repository_id, account.id):
                raise InvalidRequest(f"{model_id} is not shared with {account.name}.", field="model", got=model_id)
            self._trail.note("model.unshare", account.name, repository_id)
        return account

    # --- aliases ---

    def list_aliases(self, account: str | None = None) -> list[ListedAlias]:
        """The aliases of one account, by its name or id, or of all. Raises UnknownAccount."""
        names = {each.id: each.name for each in self._store.accounts.list()}
        account_id = None if account is None else self.get_account(account).id
        return [ListedAlias(alias, names[alias.account_id]) for alias in self._store.aliases.list(account_id)]

    def set_alias(
        self,
        name: str,
        model_id: str,
        account: str = FIRST_ACCOUNT,
        *,
        task: str | None = None,
        capacity: Changes | None = None,
    ) -> ListedAlias:
        """Has a name stand for a model, to an account; replaces what it has stood for.

        `task`: that the model must have when it is asked. `capacity`: of the cluster that a request through the name
        makes, the bounds that are not named by default. Raises UnknownAccount, QuotaExceeded; InvalidRequest also for a
        name that hides a model known here or a provider's, and where one alias would lead to another.
        """
        check_alias_name(name)
        model_id = check_target(model_id)
        check_task(task)
        if (hidden := self._store.models.find_in_any_case(name)) is not None:
            raise InvalidRequest(field="name", got=name, accepted=f"a name that no model has; {hidden} is one")
        replaced: list[Alias] = []
        bound = None if capacity is None else read_capacity(capacity)
        with self._trail.change():
            owner = self.get_account(account)
            alias = self._store.aliases.put(
                owner.id,
                name,
                model_id,
                self._clock.now(),
                task=task,
                capacity=bound,
                check=lambda others: check_alias(name, model_id, others),
                replaced=replaced.append,
            )
            before = describe_alias(replaced[0]) if replaced else None
            self._trail.note("alias.set", owner.name, name, before, describe_alias(alias))
        return ListedAlias(alias, owner.name)

    def remove_alias(self, name: str, account: str = FIRST_ACCOUNT) -> None:
        """Has a name of an account's mean what it meant before. Raises UnknownAccount, UnknownAlias."""
        with self._trail.change():
            owner = self.get_account(account)
            if (removed := self._store.aliases.remove(owner.id, name)) is None:
                raise UnknownAlias(f"{owner.name} has no alias {name}.", account=owner.name, alias=name)
            self._trail.note("alias.remove", owner.name, name, describe_alias(removed))

    # --- keys ---

    def list_keys(self, account: str | None = None) -> list[ListedKey]:
        """The keys of one account, by its name or id, or of all; revoked ones too. Raises UnknownAccount."""
        account_id = None if account is None else self.get_account(account).id
        names = self.list_account_names(account_id)
        return [ListedKey(key, names[key.account_id]) for key in self._store.keys.list(account_id)]

    def create_key(self, name: str, account: str = FIRST_ACCOUNT, rate_limit: int | None = None) -> NewKey:
        """A new key of the account of that name, which is made when there is none.

        `rate_limit`: as `Key` explains it. Raises InvalidRequest.
        """
        check_name("name", name)
        check_name("account", account)
        check_rate_limit(rate_limit)
        now, secret = self._clock.now(), new_key()
        with self._trail.change():
            owner = self._store.accounts.find_by_name(account) or self.create_account(account)
            key = self._store.keys.create(
                owner.id, name, hash_key(secret), shown_prefix(secret), now, rate_limit=rate_limit
            )
            self._trail.note("key.create", owner.name, key.id, after={"name": name, "rate_limit": rate_limit})
        return NewKey(key, secret)

    def revoke_key(self, id_or_prefix: str) -> None:
        """Ends a key that is in use. Raises UnknownKey, and InvalidRequest where several keys have the prefix."""
        with self._trail.change():
            key = self._store.keys.find_live(id_or_prefix)
            if key is None or not self._store.keys.revoke(key.id, self._clock.now()):
                raise unknown_key(id_or_prefix)
            self._trail.note("key.revoke", self._name_of(key), key.id, {"name": key.name})

    def set_rate_limit(self, id_or_prefix: str, rate_limit: int | None) -> None:
        """Changes how many requests a minute a key may make, as `Key` explains it. Raises as `revoke_key` does."""
        check_rate_limit(rate_limit)
        with self._trail.change():
            key = self._store.keys.find_live(id_or_prefix)
            if key is None or not self._store.keys.set_rate_limit(key.id, rate_limit):
                raise unknown_key(id_or_prefix)
            before, after = {"rate_limit": key.rate_limit}, {"rate_limit": rate_limit}
            self._trail.note("key.limit", self._name_of(key), key.id, before, after)

    def _name_of(self, key: Key) -> str:
        return self._store.accounts.get(key.account_id).name

    # --- a server's first start ---

    def ensure_first_keys(self, admin_key: str | None, cli_key: str) -> str | None:
        """Makes the first account and its keys where there are none; a key that must be shown now, or None.

        `admin_key`: the operator's own, instead of a fresh one; `cli_key`: the one for commands on this machine.
        Idempotent.
        """
        now = self._clock.now()
        is_first_start = not self._store.accounts.list()
        account = self._store.accounts.ensure(FIRST_ACCOUNT, now)
        self._ensure_key(account, CLI_KEY_NAME, cli_key)
        if admin_key:
            self._ensure_key(account, ADMIN_KEY_NAME, admin_key)
            return None
        return self.create_key(FIRST_KEY_NAME, account.name).secret if is_first_start else None

    def _ensure_key(self, account: Account, name: str, secret: str) -> None:
        now, digest = self._clock.now(), hash_key(secret)
        if self._store.keys.is_known(digest):
            return
        with self._trail.change():
            key = self._store.keys.ensure(account.id, name, digest, shown_prefix(secret), now)
            self._trail.note("key.create", account.name, key.id, after={"name": name})

    # --- the audit log ---

    def note_job(self, account_id: str, model_id: str, *, retry: bool) -> None:
        """Has the audit log tell that a model was asked for in an account's name."""
        with self._trail.change():
            name = self._store.accounts.get(account_id).name
            self._trail.note("job.ask", name, model_id, after={"retry": retry})

    def note_cancelled_job(self, model_id: str) -> None:
        """Has the audit log tell that a model's job was cancelled."""
        with self._trail.change():
            self._trail.note("job.cancel", None, model_id)

    def note_node(self, node: str, *, accepting: bool) -> None:
        """Has the audit log tell that a machine, or a device of one, was emptied, or is used again."""
        with self._trail.change():
            self._trail.note("node.use" if accepting else "node.drain", None, node, after={"accepting": accepting})

    def list_audit(self, query: AuditQuery) -> list[AuditLine]:
        """The lines that a query asks for, newest last."""
        return [*self._store.audit.list(query)]

    # --- usage ---

    def read_usage(self, account: str | None, since: str | None, until: str | None) -> AccountUsage:
        """What one account, by its name or id, or all accounts have used in a period, as `read_period` reads it.

        Instances that still run count up to their last heartbeat. Raises UnknownAccount, InvalidRequest.
        """
        begin, end = read_period(since, until, self._clock.now())
        account_id = None if account is None else self.get_account(account).id
        names = {each.id: each.name for each in self._store.accounts.list()}
        return AccountUsage(read_usage(self._store, account_id, begin, end), names)

    def list_usage(self, account: str | None, since: str | None, until: str | None) -> list[UsedRow]:
        """The same by account, day and model."""
        found = self.read_usage(account, since, until)
        return used_rows(found.usage, found.names)

    def list_used_lines(self, account: str | None, since: str | None, until: str | None) -> list[UsedLine]:
        """The same, a line for each instance."""
        found = self.read_usage(account, since, until)
        return used_lines(found.usage, found.names)


def check_name(field: str, name: str) -> None:
    """Raises InvalidRequest for a name that nobody could read."""
    if not name.strip():
        raise InvalidRequest(field=field, got=name, accepted="at least one letter")


def describe_alias(alias: Alias) -> dict[str, Any]:
    """An alias as the audit log has it."""
    capacity = None if alias.capacity is None else asdict(alias.capacity)
    return {"model": alias.model_id, "task": alias.task, "capacity": capacity}


def check_task(task: str | None) -> None:
    """Raises InvalidRequest for a task that nothing here can run."""
    from modelyard.tasks.registry import find_task  # importing every task takes longer than most commands

    if task is not None and find_task(task) is None:
        raise InvalidRequest(field="task", got=task, accepted="a task, as GET /models/v2/list/tasks lists them")


def unknown_key(id_or_prefix: str) -> UnknownKey:
    """The error for an id or prefix that no key in use has."""
    return UnknownKey(f"No key that is in use has the id {id_or_prefix}.", key=id_or_prefix)


def ensure_cli_key(data_dir: Path) -> str:
    """The key for commands on this machine, kept in the data folder; made on the first call."""
    path = data_dir / CLI_KEY_FILE
    if path.is_file() and path.stat().st_size == 0:  # who made it was killed before there was anything in it
        path.unlink(missing_ok=True)
    key = new_key()
    try:
        create_private_file(path, key + "\n")
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    return key
