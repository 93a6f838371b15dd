"""Write sql/<dialect>/schema.json, which has the schema that the migrations make, for `check`.

Run it after each new migration: `python -m hl_utils.check.manifest`. It asks a PostgreSQL and a
MariaDB of its own.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from functools import partial

from hl_utils.check import mysql, postgres, schema
from hl_utils.servers.sql import SERVERS, SqlServer
from hlfast.db import migrations, queries
from hlfast.db.mysql import connect as connect_mysql
from hlfast.db.postgres import connect as connect_postgres


def made(server: SqlServer) -> str:
    """The text of the file, of databases made on that server: one for each of the two."""
    schemas = {}
    for database in (queries.MAIN, queries.DIALOGS):
        name = f"manifest_{database}"
        server.create_database(name)
        asyncio.run(migrations.apply(server.url(name), database))
        schemas[database] = asdict(asyncio.run(_schema(server.url(name))))
    return json.dumps(schemas, indent=2) + "\n"


async def _schema(url: str) -> schema.Schema:
    if queries.dialect_of(url) == "mysql":
        connection = await connect_mysql(url)
        try:
            return (await schema.present(partial(mysql.ask, connection))).schema
        finally:
            connection.close()
    connection = await connect_postgres(url)
    try:
        return (await schema.present(partial(postgres.ask, connection))).schema
    finally:
        await connection.close()


def main() -> None:
    """Write the manifests of both dialects."""
    for dialect, kind in SERVERS.items():
        with kind() as server:
            schema.manifest_file(dialect).write_text(made(server), encoding="utf-8")
        print(f"Written: {schema.manifest_file(dialect)}")


if __name__ == "__main__":
    main()
