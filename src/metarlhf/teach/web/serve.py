"""The server as a process: `python -m metarlhf.teach.web.serve`, which `metarlhf teach` starts.

It ends with the process that started it, whichever way that ends.
"""

import argparse
import asyncio
import os
from pathlib import Path

import uvicorn

from metarlhf.teach import Database
from metarlhf.teach.directory import LABELS
from metarlhf.teach.web import LOOPBACK
from metarlhf.teach.web.app import Settings, create_app


def main() -> None:
    """Serve one run's page until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m metarlhf.teach.web.serve", description=__doc__)
    parser.add_argument("--run", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--tokens", action="store_true")
    parser.add_argument("--parent", type=int, default=0)
    args = parser.parse_args()
    database = Database(os.environ[LABELS])
    hosts = None if args.tokens else LOOPBACK
    settings = Settings(needs_tokens=args.tokens, hosts=hosts, report=args.report)
    config = uvicorn.Config(
        create_app(database, args.run, settings),
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        limit_concurrency=1_000,
    )
    server = uvicorn.Server(config)
    try:
        asyncio.run(_serve(server, args.parent))
    finally:
        database.close()


async def _serve(server: uvicorn.Server, parent: int) -> None:
    async def end_with_parent() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(0.5)
        server.should_exit = True

    watch = asyncio.create_task(end_with_parent()) if parent else None
    await server.serve()
    if watch is not None:
        watch.cancel()


if __name__ == "__main__":
    main()
