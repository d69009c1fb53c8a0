"""Jobs, artefacts and blobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "jobs",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("parent", sa.String(64), sa.ForeignKey("jobs.id")),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("arrived", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double()),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("rank", sa.Double(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("time_limit", sa.Double()),
        sa.Column("worker", sa.String(64)),
        sa.Column("lease", sa.String(64)),
        sa.Column("lease_until", sa.Double()),
        sa.Column("steps_done", sa.Integer(), nullable=False),
        sa.Column("steps_total", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON()),
        sa.UniqueConstraint("id", name="jobs_id"),
        sa.UniqueConstraint("kind", "key", name="jobs_kind_key"),
    )
    op.create_index("jobs_by_stage", "jobs", ["stage", "state", "rank"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "kind", "created"])
    op.create_index("jobs_by_end", "jobs", ["state", "finished"])
    op.create_index("jobs_by_parent", "jobs", ["parent"])
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "artifacts",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("job", sa.String(64), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), sa.ForeignKey("blobs.digest")),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("job", "role", "name", name="artifacts_job_role_name"),
    )
    op.create_index("artifacts_by_name", "artifacts", ["name"])
    op.create_index("artifacts_by_digest", "artifacts", ["digest"])


def downgrade() -> None:
    """Remove them, with all that is in them."""
    op.drop_table("artifacts")
    op.drop_table("blobs")
    op.drop_table("jobs")
