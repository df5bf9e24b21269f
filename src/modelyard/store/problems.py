"""What a database says when something is wrong, as a sentence and its cause: the one border for its errors."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError

from modelyard.errors import ModelyardError, NotFound, StoreUnavailable

STALLED, BROKEN = "stalled", "broken"


def stood_still(error: Exception) -> bool:
    """Whether the database has ended a transaction in which nothing came: nothing of it was done."""
    return isinstance(error, StoreUnavailable) and error.data.get("cause") == STALLED


def was_undone(error: StoreUnavailable) -> bool:
    """The same, also where the connection broke in the middle of the transaction."""
    return error.data.get("cause") in (STALLED, BROKEN)


def broke_off(error: DBAPIError) -> bool:
    """Whether the connection broke without a word of the database."""
    return error.connection_invalidated and getattr(error.orig, "sqlstate", None) is None


def broken(where: str) -> StoreUnavailable:
    """The connection broke in a transaction, before its commit."""
    return StoreUnavailable(f"The connection to {where} broke in the middle of a transaction.", cause=BROKEN)


def locked(where: str, waited_s: float) -> StoreUnavailable:
    """Another writer did not let go in time."""
    return StoreUnavailable(f"{where} has been locked by another writer for {waited_s:g} s.", cause="locked")


def busy(where: str) -> StoreUnavailable:
    """Every connection of the pool is in use and stayed so."""
    return StoreUnavailable(f"All connections to {where} are busy.", cause="busy")


def closed() -> StoreUnavailable:
    """The store was closed before this call."""
    return StoreUnavailable("The store is closed: this server is shutting down.")


def not_utf8(where: str, encoding: str | None) -> StoreUnavailable:
    """The database keeps texts in an encoding that has no letters but some."""
    return StoreUnavailable(
        f"The database {where} keeps texts as {encoding}, and Modelyard needs one that keeps them as UTF8.",
        cause="encoding",
    )


def from_sqlite(error: DBAPIError, where: str, waited_s: float) -> ModelyardError | None:
    """`error` in words; None when it is a fault of this program, to be raised as it is."""
    # Only the text tells: Python 3.11 gives SQLite's error codes for some errors and not for others.
    match reason(error):
        case text if "is locked" in text:
            return locked(where, waited_s)
        case text if "unable to open" in text:
            return StoreUnavailable(f"Cannot open the database file {where}.", cause="no file")
        case text if "readonly" in text:
            return StoreUnavailable(f"The database file {where} is read-only.", cause="disk")
        case text if "is full" in text:
            return StoreUnavailable(f"The disk that holds {where} is full.", cause="disk full")
        case text if "not a database" in text:
            return StoreUnavailable(f"{where} is not a SQLite database.", cause="another file")
        case text if "malformed" in text:
            return StoreUnavailable(f"The database file {where} is damaged.", cause="damaged")
        case text if "disk I/O" in text:
            return StoreUnavailable(f"The disk that holds {where} fails ({text}).", cause="disk")
        case text if "FOREIGN KEY" in text:
            return _no_account()
    return None


def from_postgresql(error: DBAPIError, where: str, waited_s: float) -> ModelyardError | None:
    """As `from_sqlite`. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html (SQLSTATE)."""
    match getattr(error.orig, "sqlstate", None):
        case "23503":
            return _no_account()
        case "55P03":
            return locked(where, waited_s)
        case "53100":
            return StoreUnavailable(f"The disk of PostgreSQL at {where} is full.", cause="disk full")
        case "42501":
            return StoreUnavailable(f"PostgreSQL at {where}: {reason(error)}.", cause="no right")
        case "25006":
            return StoreUnavailable(f"PostgreSQL at {where} is read-only.", cause="read-only")
        case "25P03":
            return StoreUnavailable(f"PostgreSQL at {where} has ended a transaction that stood still.", cause=STALLED)
    if not isinstance(error, OperationalError):
        return None
    said = reason(error)
    # Of a connection that is refused the driver tells the text alone.
    if any(words in said for words in ("too many clients", "too many connections", "connection slots are reserved")):
        return StoreUnavailable(f"PostgreSQL at {where} has no connection left: {said}.", cause="no connection")
    return StoreUnavailable(f"PostgreSQL at {where} cannot answer: {said}.", cause="no answer")


def reason(error: DBAPIError) -> str:
    """The first line of what the driver said; the rest is hints and statement text."""
    return str(error.orig).strip().partition("\n")[0]


def _no_account() -> NotFound:
    # Every foreign key of ours refers to an account.
    return NotFound("No such account.")
