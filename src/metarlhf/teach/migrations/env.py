"""Alembic's way in: the connection is given by `metarlhf.teach.database`."""

from alembic import context

from metarlhf.teach.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
