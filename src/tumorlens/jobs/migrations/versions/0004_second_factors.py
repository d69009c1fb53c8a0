"""Second factors of accounts, passkeys, and who signs in elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("accounts", sa.Column("subject", sa.Text()))
    op.add_column("accounts", sa.Column("code_key", sa.String(64)))
    op.add_column("accounts", sa.Column("code_step", sa.BigInteger()))
    op.create_index("accounts_by_subject", "accounts", ["subject"], unique=True)
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column(
            "account", sa.String(100), sa.ForeignKey("accounts.name"), nullable=False
        ),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("used", sa.Double()),
    )
    op.create_index("passkeys_by_account", "passkeys", ["account"])


def downgrade() -> None:
    """Remove them; accounts are opened by their passwords alone again."""
    op.drop_table("passkeys")
    op.drop_index("accounts_by_subject", "accounts")
    op.drop_column("accounts", "code_step")
    op.drop_column("accounts", "code_key")
    op.drop_column("accounts", "subject")
