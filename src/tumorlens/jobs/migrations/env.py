"""Runs the migrations on the connection that `tumorlens.jobs.database` hands over.

Tested in `tests/jobs/test_database.py`.
"""

from alembic import context

from tumorlens.jobs.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
