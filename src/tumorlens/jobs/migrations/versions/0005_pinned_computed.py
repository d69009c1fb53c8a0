"""Results that their owners pin, and what results were computed from."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("pinned", sa.Double()))
    op.add_column("jobs", sa.Column("computed_from", sa.String(64)))
    op.create_index("jobs_by_pinned", "jobs", ["pinned"])
    op.create_index("jobs_by_computed_from", "jobs", ["computed_from"])


def downgrade() -> None:
    """Remove them; what was pinned goes by its age again."""
    op.drop_index("jobs_by_computed_from", "jobs")
    op.drop_index("jobs_by_pinned", "jobs")
    op.drop_column("jobs", "computed_from")
    op.drop_column("jobs", "pinned")
