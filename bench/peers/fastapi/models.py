"""The service's own tables, as SQLAlchemy sees them, and what is answered from them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, FetchedValue, Identity, SmallInteger, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

T = TypeVar("T")


class Base(DeclarativeBase):
    """Column types that the annotations stand for."""

    type_annotation_map = {datetime: TIMESTAMP(timezone=True)}  # noqa: RUF012


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    username_key: Mapped[str]
    password_hash: Mapped[str]
    first_key: Mapped[str]
    last_key: Mapped[str]
    birthdate: Mapped[date | None]
    bio: Mapped[str | None]
    city: Mapped[str | None]
    country: Mapped[str | None]
    disabled: Mapped[bool]
    token_version: Mapped[int]


class Friend(Base):
    __tablename__ = "friend"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    friend_id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[int] = mapped_column(SmallInteger)


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    author_id: Mapped[int]
    content: Mapped[str]
    privacy: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Dialog(Base):
    __tablename__ = "dialog"

    dialog_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    low_id: Mapped[int]
    high_id: Mapped[int]
    last_message_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    last_message_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    last_event_id: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    low_read: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    high_read: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    low_unread: Mapped[int] = mapped_column(server_default=text("0"))
    high_unread: Mapped[int] = mapped_column(server_default=text("0"))


class DialogMessage(Base):
    __tablename__ = "message"

    dialog_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    from_user_id: Mapped[int]
    content: Mapped[str]
    client_id: Mapped[str | None]
    created_at: Mapped[datetime]


class DialogOutbox(Base):
    __tablename__ = "messageoutbox"

    dialog_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    user_id: Mapped[int]
    message_id: Mapped[int] = mapped_column(BigInteger)


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    first_name: str
    last_name: str
    birthdate: date | None
    bio: str | None
    city: str | None
    country: str | None


class PostOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    author_id: int
    content: str
    privacy: str
    created_at: datetime
    updated_at: datetime


class MessageOut(BaseModel):
    id: int
    from_user_id: int
    to_user_id: int
    content: str
    client_id: str | None
    created_at: datetime
    read: bool


class MessageIn(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    content: str = Field(min_length=1, max_length=4096)
    client_id: str | None = Field(None, min_length=1, max_length=64)


class Page(BaseModel, Generic[T]):
    model_config = ConfigDict(from_attributes=True)

    items: list[T]
    next: int | str | None


class TokensOut(BaseModel):
    access_token: str
    refresh_token: str
    token_type: str = "bearer"
    expires_in: int
