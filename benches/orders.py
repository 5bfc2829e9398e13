"""The table of eight columns that the servers are measured with, and rows for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[int]
    amount: Mapped[float]
    name: Mapped[str] = mapped_column(String(50))
    note: Mapped[str | None] = mapped_column(String(50))
    paid: Mapped[bool]
    quantity: Mapped[int]
    created: Mapped[datetime]


COLUMNS = [column.name for column in Order.__table__.columns if column.name != "id"]


def rows_of(count: int) -> list[dict[str, Any]]:
    """Three of ten have no note."""
    begin = datetime(2024, 1, 1)
    return [
        {
            "customer": i % 9_973,
            "amount": i / 7,
            "name": f"order number {i}",
            "note": None if i % 10 < 3 else f"note {i}",
            "paid": i % 2 == 0,
            "quantity": i % 12,
            "created": begin + timedelta(seconds=i),
        }
        for i in range(count)
    ]
