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
    said,
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


Username = Annotated[
    str,
    Field(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$"),
    said("The name to log in with; upper and lower case are the same.", "ada"),
]
Password = Annotated[
    str, text(8, 128), BeforeValidator(_opaque), said("A new password.", "correct horse battery")
]
Name = Annotated[str, text(1, 64), VisibleName]
FirstName = Annotated[Name, said("The given name, in any script.", "Ada")]
LastName = Annotated[Name, said("The family name, in any script.", "Lovelace")]
NamePrefix = Annotated[str, text(0, 64), Term]
Birthdate = Annotated[CalendarDate | None, said("The day of birth.", "1815-12-10")]
Bio = Annotated[
    Annotated[str, text(0, 1000), Typed] | None, said("About oneself.", "Poetical science.")
]
Place = Annotated[str, text(0, 64), Typed]
City = Annotated[Place | None, said("Where one lives.", "London")]
Country = Annotated[Place | None, said("Of that city.", "United Kingdom")]
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
    first_name: FirstName
    last_name: LastName
    birthdate: Birthdate = None
    bio: Bio = None
    city: City = None
    country: Country = None


class UserPatch(Body):
    """A change of the profile: an absent field stays, null clears an optional one."""

    model_config = example(
        {"bio": "Poetical science.", "city": "London", "birthdate": "1815-12-10"}
    )

    first_name: FirstName = ""
    last_name: LastName = ""
    birthdate: Birthdate = None
    bio: Bio = None
    city: City = None
    country: Country = None


class PasswordChange(Body):
    """The old password proves who asks."""

    model_config = example({"old_password": "correct horse", "new_password": "battery staple"})

    old_password: Annotated[AnyText, said("The one of now.", "correct horse battery")]
    new_password: Password


class UserAdministration(Body):
    """What a superuser changes. Absent: stays."""

    model_config = example({"disabled": True})

    disabled: Annotated[bool, said("Whether they may not log in.", True)] = False


_REFRESH = "eyJhbGciOiJIUzI1NiJ9.eyJzaWQiOiJr…"
_IDS_MAX = 100
_ID = "[1-9][0-9]{0,15}"


class UserIds(Query):
    """Up to 100 ids, comma separated."""

    ids: Annotated[
        str,
        Field(pattern=f"^({_ID}(,{_ID}){{0,{_IDS_MAX - 1}}})?$"),
        said("Up to 100 ids, comma separated.", "7,12"),
    ]


class Search(PageAfter):
    """Prefixes of both names; one of them is not empty."""

    first_name: Annotated[NamePrefix, said("How the given name begins.", "Mi")] = ""
    last_name: Annotated[NamePrefix, said("How the family name begins.", "Oka")] = ""

    @model_validator(mode="after")
    def _one_is_given(self) -> Search:
        if not self.first_name and not self.last_name:
            raise PydanticCustomError("missing", "first_name or last_name is needed")
        return self


class LoginForm(Form):
    """OAuth2: a password, or a refresh token."""

    grant_type: Annotated[
        Literal["password", "refresh_token"], said("What is shown for a pair.", "password")
    ] = "password"
    username: Annotated[AnyText, said("With a password: whose.", "ada")] = ""
    password: Annotated[AnyText, said("It is theirs.", "correct horse battery")] = ""
    refresh_token: Annotated[
        str, text(0, 4096), said("To renew: the newest one of the session.", _REFRESH)
    ] = ""

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

    refresh_token: Annotated[str, text(0, 4096), said("One of the session.", _REFRESH)]


class Token(BaseModel):
    """A pair of tokens. The access token is good for `expires_in` seconds."""

    access_token: Annotated[
        str, said("For everything else: `Authorization: Bearer …`.", "eyJhbGciOiJIUzI1NiJ9.eyJzd…")
    ]
    refresh_token: Annotated[str, said("For the next pair, once.", _REFRESH)]
    token_type: Annotated[Literal["bearer"], said("How the access token is sent.", "bearer")]
    expires_in: Annotated[int, said("Seconds that the access token is good for.", 900)]
