"""Run by Alembic for each command, with the connection and transaction that `migrate` opened. Owns neither."""

from alembic import context

from modelyard.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can undo CREATE and ALTER like the rest; Alembic doubts it because of old Python drivers.
    transactional_ddl=True,
    # SQLite has hardly any ALTER TABLE: later revisions then copy the table, on both databases by the same file.
    render_as_batch=True,
)
context.run_migrations()
