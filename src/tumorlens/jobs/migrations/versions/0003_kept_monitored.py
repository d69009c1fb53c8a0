"""Results that are kept longer than others, and counts of drift."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("jobs", sa.Column("kept_until", sa.Double()))
    op.create_table(
        "monitored_rates",
        sa.Column("model", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("began", sa.Double(), nullable=False),
        sa.Column("observations", sa.BigInteger(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("alarmed", sa.Double()),
        sa.Column("last_observations", sa.BigInteger()),
        sa.Column("last_hits", sa.BigInteger()),
        sa.Column("last_ended", sa.Double()),
        sa.Column("last_alarmed", sa.Double()),
    )


def downgrade() -> None:
    """Remove them; what was kept longer goes by its age again."""
    op.drop_table("monitored_rates")
    op.drop_column("jobs", "kept_until")
