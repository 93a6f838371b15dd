"""What goes into and comes out of the users' endpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hlfast.text import opaque
from hlfast.web.fields import (
    Body,
    CalendarDate,
    Form,
    PageAfter,
    Query,
    Term,
    Typed,
    VisibleName,
    example,
    text,
)


def _opaque(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return opaque(value)
    except ValueError as error:
        raise PydanticCustomError(
            "password_characters", "A password can't hold it: {why}", {"why": str(error)}
        ) from None


Username = Annotated[str, Field(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")]
Password = Annotated[str, text(8, 128), BeforeValidator(_opaque)]
Name = Annotated[str, text(1, 64), VisibleName]
NamePrefix = Annotated[str, text(0, 64), Term]
Bio = Annotated[str, text(0, 1000), Typed]
Place = Annotated[str, text(0, 64), Typed]
# Shorter than a password may be: it only has to be compared.
AnyText = Annotated[str, text(0, 1024)]


class UserNew(Body):
    """The body of a registration."""

    model_config = example(
        {
            "username": "ada",
            "password": "correct horse",
            "first_name": "Ada",
            "last_name": "Lovelace",
        }
    )

    username: Username
    password: Password
    first_name: Name
    last_name: Name
    birthdate: CalendarDate | None = None
    bio: Bio | None = None
    city: Place | None = None
    country: Place | None = None


class UserPatch(Body):
    """A change of the profile: an absent field stays, null clears an optional one."""

    model_config = example(
        {"bio": "Poetical science.", "city": "London", "birthdate": "1815-12-10"}
    )

    first_name: Name = ""
    last_name: Name = ""
    birthdate: CalendarDate | None = None
    bio: Bio | None = None
    city: Place | None = None
    country: Place | None = None


class PasswordChange(Body):
    """The old password proves who asks."""

    model_config = example({"old_password": "correct horse", "new_password": "battery staple"})

    old_password: AnyText
    new_password: Password


class UserAdministration(Body):
    """What a superuser changes. Absent: stays."""

    model_config = example({"disabled": True})

    disabled: bool = False


_IDS_MAX = 100
_ID = "[1-9][0-9]{0,15}"


class UserIds(Query):
    """Up to 100 ids, comma separated."""

    ids: Annotated[str, Field(pattern=f"^({_ID}(,{_ID}){{0,{_IDS_MAX - 1}}})?$", examples=["1,2"])]


class Search(PageAfter):
    """Prefixes of both names; one of them is not empty."""

    first_name: NamePrefix = ""
    last_name: NamePrefix = ""

    @model_validator(mode="after")
    def _one_is_given(self) -> Search:
        if not self.first_name and not self.last_name:
            raise PydanticCustomError("missing", "first_name or last_name is needed")
        return self


class LoginForm(Form):
    """OAuth2: a password, or a refresh token."""

    grant_type: Literal["password", "refresh_token"] = "password"
    username: AnyText = ""
    password: AnyText = ""
    refresh_token: Annotated[str, text(0, 4096)] = ""

    @model_validator(mode="before")
    @classmethod
    def _what_the_grant_needs(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("grant_type") == "":
            # As a form sends what was not filled in: none.
            fields = {name: value for name, value in fields.items() if name != "grant_type"}
        refresh = fields.get("grant_type") == "refresh_token"
        for name in ("refresh_token",) if refresh else ("username", "password"):
            if name not in fields:
                raise PydanticCustomError("missing", "{name} is needed", {"name": name})
        return fields


class LogoutForm(Form):
    """The newest refresh token of the session, or any of it."""

    refresh_token: Annotated[str, text(0, 4096)]


class Token(BaseModel):
    """A pair of tokens. The access token is good for `expires_in` seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"]
    expires_in: int
