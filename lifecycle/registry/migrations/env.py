"""Alembic runs this: the migrations, over the connection that `migrate` hands it, within its transaction and lock."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
