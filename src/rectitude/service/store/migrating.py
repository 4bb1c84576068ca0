"""Bringing a store's tables up to date, once, whoever starts first."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from rectitude.service.store.database import Database, StoreError, explain

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x7265637469  # of PostgreSQL's advisory locks, ours


def migrate(database: Database) -> None:
    """Bring the tables to this version's form in one transaction.

    Raises:
        StoreError: The store was made by a newer version, or holds other tables.
        StoreUnavailableError: The database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    try:
        with database.transaction() as connection:  # in SQLite this alone keeps others out
            if not database.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            current = MigrationContext.configure(connection).get_current_revision()
            known = {script.revision for script in scripts.walk_revisions()}
            if current is not None and current not in known:
                raise StoreError(
                    f"The store was made by a newer version of rectitude (its tables are of form {current})",
                    fix="Update rectitude, or use another store; nothing was changed",
                )
            if current != scripts.get_current_head():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise explain(error) from error
