"""The one place where an error becomes what a person reads in a terminal: a sentence, and the command that fixes it.

Owns the wording of fixes and the exit code. Errors themselves are raised elsewhere and carry data only.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from http import HTTPStatus

from modelyard import errors
from modelyard.cli import output

EXIT_FAILED = 1


class ServerUnreachable(Exception):
    """No server answers at `url`."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"No server answers at {url}: {reason}")


class ServerRefused(Exception):
    """A server answered with an error. `model_id` is what the request was about, if it was about a model."""

    def __init__(self, status: int, message: str, model_id: str | None = None) -> None:
        self.status = status
        self.message = message
        self.model_id = model_id
        super().__init__(message)


class AdministrationRefused(ServerRefused):
    """The admin API answered with an error. `code` names it."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(status, message)
        self.code = code


class KeyLimited(ServerRefused):
    """The key's rate limit did not let it through."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What to tell: `sentence`, and `fix`, a command or a step, where one is known."""

    sentence: str
    fix: str | None = None

    @property
    def line(self) -> str:
        """Both on one line, for a table."""
        return self.sentence if self.fix is None else f"{self.sentence} Fix: {self.fix}."


NEW_KEY = 'export MODELYARD_API_KEY="$(modelyard keys create NAME)"'
UNLIMITED_KEY = 'export MODELYARD_API_KEY="$(modelyard keys create NAME --rate-limit 0)"'

_BY_STATUS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: NEW_KEY,
    HTTPStatus.FORBIDDEN: "modelyard ps    (your clusters; modelyard rm MODEL deletes one)",
    HTTPStatus.NOT_FOUND: "modelyard ls    (the models; modelyard ps: your clusters)",
    HTTPStatus.TOO_MANY_REQUESTS: "modelyard ps",
    HTTPStatus.INTERNAL_SERVER_ERROR: "modelyard logs {model}",
    HTTPStatus.SERVICE_UNAVAILABLE: "modelyard start {model}    (tries again; modelyard events {model} says why)",
    HTTPStatus.GATEWAY_TIMEOUT: "modelyard events {model}",
}

_BY_CAUSE: dict[str, str] = {
    "data folder": "make it writable for this user, or choose another with --data-dir",
    "data folder taken": "stop that one, or give this one its own folder with --data-dir",
    "old SQLite": "use a newer Python build, or --database-url postgresql://...",
    "no file": "check that its folder exists and that this user may write to it",
    "another file": "move it away, or choose another --data-dir",
    "damaged": "restore it from a backup",
    "locked": "look for a second server, a backup or an open database shell on it, and end that",
    "busy": "try again in a moment",
    "disk": "free some space on it, make it writable for this user, or check it",
    "disk full": "free some space, or lower --min-free-mb",
    "encoding": "createdb --encoding UTF8 --template template0 NAME    (and name that one in --database-url)",
    "no right": "grant it to the user in --database-url",
    "read-only": "name the one that takes writes, or both: docs/howto/postgresql.md",
    "no connection": "raise its max_connections, or end what holds them (pg_stat_activity); a server takes up to 33, "
    "each of its gateways 32 more",
    "ray": "check --ray-address and that Ray runs there; this machine needs its token, ~/.ray/auth_token, and "
    "RAY_AUTH_MODE=token",
    "no answer": "check that it is running and that --database-url (MODELYARD_DATABASE_URL) is right",
}
"""For what is unavailable in this process, by its cause."""

_BY_KIND: tuple[tuple[type[errors.ModelyardError], str], ...] = (
    (errors.Unauthorized, NEW_KEY),
    (errors.UnknownModel, "modelyard ls"),
    (errors.UnknownKey, "modelyard keys ls"),
    (errors.UnknownAlias, "modelyard aliases ls"),
    (errors.UnknownNode, "modelyard nodes"),
    (errors.UnknownAccount, "modelyard accounts ls    (modelyard accounts create NAME makes one)"),
    (errors.CannotListen, "choose another address with --host or --port"),
    (
        errors.DatabaseTaken,
        "stop it, or give this server a database of its own: --data-dir, or --database-url "
        "(several servers share one PostgreSQL only with --engine ray)",
    ),
    (errors.DownloadFailed, "modelyard doctor"),
)
"""For errors raised in this process; the first class that fits counts. The others' own messages say what to do."""


_BY_CODE = {
    **{kind.code: command for kind, command in _BY_KIND},
    errors.OperatorOnly.code: "export MODELYARD_API_KEY=...    (a key of the operator's account, the first one)",
    errors.Unauthorized.code: "export MODELYARD_API_KEY=...    (a key of the operator's account, the first one)",
}
"""For errors of the admin API."""


def describe(error: BaseException) -> Problem:
    """What a person should be told of `error`. Pure."""
    match error:
        case ServerUnreachable():
            return Problem(str(error), "modelyard serve    (or name another server with --url or MODELYARD_URL)")
        case AdministrationRefused():
            return Problem(error.message, _BY_CODE.get(error.code))
        case KeyLimited():
            return Problem(error.message, UNLIMITED_KEY)
        case ServerRefused():
            fix = _BY_STATUS.get(error.status)
            return Problem(error.message, None if fix is None else fix.format(model=error.model_id or "MODEL"))
        case errors.UnknownModel(data={"cause": "variant", "model": model}):
            return Problem(str(error), f"modelyard request {model}")
        case errors.UnknownModel(detail=str()):
            return Problem(str(error), None)
        case errors.ModelRefused(data={"cause": "unsafe", "model": model}):
            return Problem(str(error), f"add --allow-unsafe {model}    (accepts that for this model)")
        case errors.Unavailable(data={"cause": str(cause)}) if cause in _BY_CAUSE:
            return Problem(str(error), _BY_CAUSE[cause])
        case errors.ModelyardError():
            fix = next((command for kind, command in _BY_KIND if isinstance(error, kind)), None)
            return Problem(str(error), fix)
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return Problem(f"{error.strerror or error}{where}", "modelyard doctor")
    text = str(error).strip() or "no message"
    return Problem(f"{type(error).__name__}: {text}", "run it again with `modelyard --debug ...` and report the trace")


def report(error: BaseException, *, debug: bool) -> int:
    """Tells the error on standard error, with its trace when `debug`; returns the exit code."""
    problem = describe(error)
    console = output.stderr()
    if debug:
        console.print("".join(traceback.format_exception(error)), end="", highlight=False, markup=False)
    console.print("[bold red]error:[/] ", end="")
    console.print(problem.sentence, markup=False)
    if problem.fix is not None:
        console.print("  [bold]fix:[/] ", end="")
        console.print(problem.fix, markup=False)
    return EXIT_FAILED
