"""How Alembic runs our migrations: on the connection and in the transaction it is given."""

from __future__ import annotations

from alembic import context

from rectitude.service.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
