"""Quotas, credits, request records, jobs, and a catalogue that can be listed."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    """Adds what bills and jobs need. `models` is made anew: no release has written to it."""
    moment = sa.DateTime(timezone=True)
    words = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    for name in ("max_instances", "max_concurrent", "max_models"):
        op.add_column("accounts", sa.Column(name, sa.Integer))
    for name in ("max_memory_bytes", "credit_nano", "monthly_limit_nano"):
        op.add_column("accounts", sa.Column(name, sa.BigInteger))
    op.add_column("keys", sa.Column("rate_limit", sa.Integer))
    op.add_column("instances", sa.Column("tariff", sa.JSON))

    op.create_table(
        "requests",
        sa.Column("id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("key_id", words),
        sa.Column("model_id", words, nullable=False),
        sa.Column("instance_id", words),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("settled_at", moment),
        sa.Column("outcome", words),
        sa.Column("took_us", sa.BigInteger, nullable=False),
        sa.Column("reserved_nano", sa.BigInteger, nullable=False),
        sa.Column("cost_nano", sa.BigInteger, nullable=False),
        sa.Column("charged_nano", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_requests_account_id")),
    )
    op.create_index(op.f("ix_requests_account_id_at"), "requests", ["account_id", "at"])

    op.drop_table("models")
    op.create_table(
        "models",
        sa.Column("model_id", words, nullable=False),
        sa.Column("task", words),
        sa.Column("source", words, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger),
        sa.Column("memory_source", words),
        sa.Column("parameters", sa.BigInteger),
        sa.Column("architecture", words),
        sa.Column("revision", words),
        sa.Column("license", words),
        sa.Column("variant_of", words),
        sa.Column("refusal", words),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_models")),
    )
    op.create_index(op.f("ix_models_task_model_id"), "models", ["task", "model_id"])
    op.create_index(op.f("ix_models_variant_of"), "models", ["variant_of"])

    op.create_table(
        "jobs",
        sa.Column("model_id", words, nullable=False),
        sa.Column("state", words, nullable=False),
        sa.Column("message", words, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("modified_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("ended_at", moment),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_state_created_at"), "jobs", ["state", "created_at"])

    op.create_table(
        "job_askers",
        sa.Column("model_id", words, nullable=False),
        sa.Column("account_id", words, nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "account_id", name=op.f("pk_job_askers")),
        sa.ForeignKeyConstraint(["model_id"], ["jobs.model_id"], name=op.f("fk_job_askers_model_id")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_job_askers_account_id")),
    )
