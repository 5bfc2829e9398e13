"""The example application, on a real server, with a real client."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Server

EXAMPLES = Path(__file__).parent.parent / "examples"


@contextmanager
def served(url: str) -> Iterator[str]:
    """The application's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    command += ["--log-level", "warning"]
    process = subprocess.Popen(command, cwd=EXAMPLES, env={**os.environ, "DATABASE_URL": url})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def prices(count: int, **changed: Any) -> list[dict[str, Any]]:
    return [
        {"sku": f"s{i}", "name": f"thing {i}", "cents": 100 + i, **changed} for i in range(count)
    ]


def test_prices_are_upserted_while_others_are_answered(postgres: Server) -> None:
    database = postgres.new_database()
    url = postgres.url("asyncpg", database).render_as_string(hide_password=False)
    with served(url) as address:
        asyncio.run(use(address))


async def use(address: str) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        while not await answers(client):
            await asyncio.sleep(0.1)
        loading = asyncio.ensure_future(client.put("/prices", json=prices(10_000)))
        others = 0
        while not loading.done():
            assert (await client.get("/prices")).json()["prices"] in {0, 10_000}
            others += 1
        counted = {"inserted": 10_000, "updated": 0, "unchanged": 0}
        assert (loading.result().json(), others > 2) == (counted, True)
        again = [*prices(5_000), *prices(2, cents=1)]
        answer = await client.put("/prices", json=again)
        assert answer.json() == {"inserted": 0, "updated": 2, "unchanged": 4_998}
        wrong = await client.put("/prices", json=[*prices(3, cents=2), {"sku": "x", "cents": 3}])
        assert (wrong.status_code, wrong.json()["row"], wrong.json()["column"]) == (422, 3, "name")
        assert (await client.get("/prices")).json() == {"prices": 10_000, "cheapest": 1}


async def answers(client: httpx.AsyncClient) -> bool:
    try:
        await client.get("/prices")
    except httpx.ConnectError:
        return False
    return True
