"""Runs Alembic from inside the program, on a connection it is handed. The only module that imports it at run time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from modelyard.errors import Unavailable
from modelyard.store.tables import REVISION


def upgrade(connection: Connection, found: str | None, where: str) -> None:
    """Takes the tables from revision `found` to the newest, in the transaction `connection` is in.

    Raises Unavailable, changing nothing, when this program does not know `found`.
    """
    if found is not None and found not in known_revisions():
        raise Unavailable(
            f"{where} was made by a newer Modelyard (its tables are at {found}, this program knows up to {REVISION}). "
            "Upgrade Modelyard, or use another database."
        )
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def known_revisions() -> list[str]:
    """Every revision in `migrations/versions`, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


def alembic_config() -> Config:
    """Tells Alembic where `migrations/` is, wherever the package is installed; reads no file."""
    config = Config()
    config.set_main_option("script_location", "modelyard.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
