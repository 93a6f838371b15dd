"""The stack most people would write, on the same database and answering the same bytes.

FastAPI with a session per request, SQLAlchemy's async ORM on asyncpg with as many connections as
the service has, pydantic response models. Only what `bench/compare.py` asks for is here. Run by
uvicorn with uvloop and httptools, in one process; read from the environment: DATABASE_URL,
HLFAST_SECRET, HLFAST_DATABASE_POOL_SIZE, HLFAST_ACCESS_TOKEN_S, HLFAST_REFRESH_TOKEN_S.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import argon2
import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from sqlalchemy import case, func, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.peers.fastapi.models import (
    Dialog,
    DialogMessage,
    DialogOutbox,
    Friend,
    MessageIn,
    MessageOut,
    Page,
    Post,
    PostOut,
    TokensOut,
    User,
    UserOut,
)
from hlfast.codec import prefix_end, search_key
from hlfast.dialogs.dialog_ids import dialog_id
from hlfast.settings import Settings

ID_MAX = 2**53 - 1
FRIENDS = 3

settings = Settings()
engine = create_async_engine(
    settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1),
    pool_size=settings.database_pool_size,
    max_overflow=0,
    connect_args={"server_settings": {"timezone": "UTC", "jit": "off"}},
)
make_session = async_sessionmaker(engine, expire_on_commit=False)
passwords = argon2.PasswordHasher()
bearer = OAuth2PasswordBearer("/api/v1/login")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the pool at the end."""
    yield
    await engine.dispose()


app = FastAPI(title="The usual stack", lifespan=lifespan)
api = APIRouter(prefix="/api/v1")


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session for the request."""
    async with make_session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(token: Annotated[str, Depends(bearer)], session: SessionDep) -> User:
    """The caller; 401 for a token that is not good."""
    refused = HTTPException(401, "Invalid token", {"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(token, settings.secret, ["HS256"])
        user = await session.get(User, int(claims["sub"]))
    except (jwt.PyJWTError, KeyError, ValueError):
        raise refused from None
    if (
        user is None
        or user.disabled
        or claims.get("typ") != "access"
        or claims.get("ver") != user.token_version
    ):
        raise refused
    return user


Me = Annotated[User, Depends(get_current_user)]
UserId = Annotated[int, Path(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]
Before = Annotated[int, Query(ge=1, le=ID_MAX)]
After = Annotated[int, Query(ge=0, le=ID_MAX)]
# The last post's id and how many came so far.
FeedCursor = Annotated[str, Query(pattern=r"^[1-9][0-9]{0,15}(-[0-9]{1,9})?$")]


def page(items: Sequence[Any], limit: int) -> dict[str, Any]:
    """A page and the cursor of the next one."""
    return {"items": items, "next": items[-1].id if len(items) == limit else None}


def sign(kind: str, user: User, life_s: int) -> str:
    """A token as the service signs it."""
    now = int(time.time())
    claims = {"sub": str(user.id), "ver": user.token_version, "typ": kind}
    return jwt.encode({**claims, "iat": now, "exp": now + life_s}, settings.secret, "HS256")


@api.post("/login")
async def login(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], session: SessionDep
) -> TokensOut:
    user = await session.scalar(select(User).where(User.username_key == form.username.lower()))
    try:
        if user is None or user.disabled:
            raise HTTPException(401, "Wrong name or password")
        await run_in_threadpool(passwords.verify, user.password_hash, form.password)
    except argon2.exceptions.VerificationError:
        raise HTTPException(401, "Wrong name or password") from None
    return TokensOut(
        access_token=sign("access", user, settings.access_token_s),
        refresh_token=sign("refresh", user, settings.refresh_token_s),
        expires_in=settings.access_token_s,
    )


@api.get("/users/search", response_model=Page[UserOut])
async def search_users(
    session: SessionDep,
    first_name: str = "",
    last_name: str = "",
    after: After = 0,
    limit: Limit = 20,
) -> dict[str, Any]:
    found = select(User.id).where(User.id > after).order_by(User.id + 0).limit(limit)
    if not (first_name or last_name):
        raise HTTPException(422, "One of the names must not be empty")
    for column, name in ((User.first_key, first_name), (User.last_key, last_name)):
        if key := search_key(name):
            found = found.where(column >= key, column < prefix_end(key))
    users = await session.scalars(select(User).where(User.id.in_(found)).order_by(User.id))
    return page(users.all(), limit)


@api.get("/users/{user_id}", response_model=UserOut)
async def get_user(user_id: UserId, session: SessionDep) -> User:
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(404, "No such user")
    return user


@api.get("/feed", response_model=Page[PostOut])
async def get_feed(
    me: Me, session: SessionDep, before: FeedCursor | None = None, limit: Limit = 20
) -> dict[str, Any]:
    before_id, _, so_far = (before or str(ID_MAX)).partition("-")
    seen = int(so_far or 0)
    wanted = max(0, min(limit, settings.feed_posts_max - seen))
    wall = (
        select(Post.id)
        .where(Post.author_id == Friend.friend_id, Post.id < int(before_id))
        .order_by(Post.id.desc())
        .limit(wanted)
        .lateral()
    )
    newest = (
        select(wall.c.id)
        .select_from(Friend)
        .join(wall, true())
        .where(Friend.user_id == me.id, Friend.state == FRIENDS)
        .order_by(wall.c.id.desc())
        .limit(wanted)
    )
    found = await session.scalars(select(Post).where(Post.id.in_(newest)).order_by(Post.id.desc()))
    posts = found.all()
    seen += len(posts)
    more = len(posts) == limit and seen < settings.feed_posts_max
    return {"items": posts, "next": f"{posts[-1].id}-{seen}" if more else None}


# Whether the recipient has read a message.
is_read = DialogMessage.id <= case(
    (DialogMessage.from_user_id == Dialog.low_id, Dialog.high_read), else_=Dialog.low_read
)


def message_out(message: DialogMessage, read: bool, pair: int) -> MessageOut:
    """A message as it is answered; `pair` is the sum of the ids of the two."""
    return MessageOut(
        id=message.id,
        from_user_id=message.from_user_id,
        to_user_id=pair - message.from_user_id,
        content=message.content,
        client_id=message.client_id,
        created_at=message.created_at,
        read=read,
    )


@api.get("/dialogs/{user_id}/messages", response_model=Page[MessageOut])
async def get_messages(
    user_id: UserId, me: Me, session: SessionDep, before: Before = ID_MAX, limit: Limit = 20
) -> dict[str, Any]:
    rows = await session.execute(
        select(DialogMessage, is_read)
        .join(Dialog, Dialog.dialog_id == DialogMessage.dialog_id)
        .where(DialogMessage.dialog_id == dialog_id(me.id, user_id), DialogMessage.id < before)
        .order_by(DialogMessage.id.desc())
        .limit(limit)
    )
    messages = [message_out(message, read, me.id + user_id) for message, read in rows]
    if not messages and await session.get(User, user_id) is None:
        raise HTTPException(404, "No such user")
    return page(messages, limit)


async def take_message_id(dialog: int, to_high: bool, session: AsyncSession) -> Any:
    """Locks the dialog's row, which hands out ids and counts what is unread; None without one."""
    unread = Dialog.high_unread if to_high else Dialog.low_unread
    taken = await session.execute(
        update(Dialog)
        .where(Dialog.dialog_id == dialog)
        .values(
            {
                Dialog.last_message_id: Dialog.last_message_id + 1,
                Dialog.last_event_id: Dialog.last_event_id + 1,
                Dialog.last_message_at: func.greatest(
                    Dialog.last_message_at, func.clock_timestamp()
                ),
                unread: unread + 1,
            }
        )
        .returning(Dialog.last_message_id, Dialog.last_event_id, Dialog.last_message_at)
        .execution_options(synchronize_session=False)
    )
    return taken.one_or_none()


@api.post("/dialogs/{user_id}/messages", status_code=201)
async def send_message(
    user_id: UserId, body: MessageIn, me: Me, session: SessionDep, response: Response
) -> MessageOut:
    if user_id == me.id:
        raise HTTPException(422, "Nobody writes to themselves")
    dialog = dialog_id(me.id, user_id)
    to_high = me.id < user_id
    taken = await take_message_id(dialog, to_high, session)
    if taken is None:
        if await session.get(User, user_id) is None:
            raise HTTPException(404, "No such user")
        low_id, high_id = sorted((me.id, user_id))
        await session.execute(
            insert(Dialog)
            .values(dialog_id=dialog, low_id=low_id, high_id=high_id)
            .on_conflict_do_nothing()
        )
        taken = await take_message_id(dialog, to_high, session)
    if body.client_id is not None:
        # Under the lock: two of the same at once would both find none.
        repeated = await session.execute(
            select(DialogMessage, is_read)
            .join(Dialog, Dialog.dialog_id == DialogMessage.dialog_id)
            .where(
                DialogMessage.dialog_id == dialog,
                DialogMessage.from_user_id == me.id,
                DialogMessage.client_id == body.client_id,
            )
        )
        if first := repeated.one_or_none():
            # The session's end rolls the id and the count back.
            response.status_code = 200
            return message_out(*first, me.id + user_id)
    message = DialogMessage(
        dialog_id=dialog,
        id=taken.last_message_id,
        from_user_id=me.id,
        content=body.content,
        client_id=body.client_id,
        created_at=taken.last_message_at,
    )
    event = DialogOutbox(
        dialog_id=dialog,
        id=taken.last_event_id,
        kind="message.created",
        user_id=me.id,
        message_id=message.id,
    )
    session.add_all([message, event])
    await session.commit()
    return message_out(message, False, me.id + user_id)


app.include_router(api)
