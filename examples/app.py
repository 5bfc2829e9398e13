"""A web application that stores prices as shops send them: Starlette and asyncpg.

`uvicorn app:app` in this folder, with DATABASE_URL such as `postgresql+asyncpg://user@host/name`:

    PUT /prices    a JSON list of {"sku", "name", "cents"}: inserted if new, updated if changed
    GET /prices    how many there are, and the cheapest
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import fastbulk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


class Base(DeclarativeBase):
    pass


class Price(Base):
    __tablename__ = "price"
    sku: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    cents: Mapped[int]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.engine = create_async_engine(os.environ["DATABASE_URL"])
    async with app.state.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await app.state.engine.dispose()


async def put_prices(request: Request) -> JSONResponse:
    """All prices of the request, or none."""
    async with AsyncSession(request.app.state.engine) as session:
        try:
            result = await fastbulk.aio.upsert(
                session, Price, await request.json(), only_changed=True, duplicates="last"
            )
            await session.commit()
        except exc.StatementError as error:
            where = {"row": getattr(error, "row", None), "column": getattr(error, "column", None)}
            return JSONResponse({"error": str(error.orig), **where}, status_code=422)
        except exc.SQLAlchemyError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
    return JSONResponse(
        {
            "inserted": result.inserted,
            "updated": result.updated,
            "unchanged": result.unchanged,
        }
    )


async def get_prices(request: Request) -> JSONResponse:
    async with AsyncSession(request.app.state.engine) as session:
        prices, cheapest = (
            await session.execute(select(func.count(), func.min(Price.cents)).select_from(Price))
        ).one()
    return JSONResponse({"prices": prices, "cheapest": cheapest})


app = Starlette(
    routes=[
        Route("/prices", put_prices, methods=["PUT"]),
        Route("/prices", get_prices, methods=["GET"]),
    ],
    lifespan=lifespan,
)
