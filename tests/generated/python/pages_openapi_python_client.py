"""Pages through every list, by what openapi-python-client makes: the package hlfast_client.

python pages_openapi_python_client.py http://127.0.0.1:8000 NAME PASSWORD
"""

import json
import sys

from hlfast_client import AuthenticatedClient, Client
from hlfast_client.api.dialogs import dialogs_listing, dialogs_messages
from hlfast_client.api.friends import friends_friends, friends_requests
from hlfast_client.api.posts import posts_feed, posts_wall
from hlfast_client.api.users import users_get_me, users_login, users_search, users_several
from hlfast_client.models import FriendsRequestsDirection, LoginForm, Problem
from hlfast_client.types import UNSET

LIMIT = 2
url, username, password = sys.argv[1:]


def good(answer):
    """The answer, which is no problem."""
    if answer is None or isinstance(answer, Problem):
        raise SystemExit(str(answer))
    return answer


def every(page, *path, **query):
    """All items of a list: `next` of each page is what the parameter takes."""
    parameter = query.pop("by")
    found, cursor = [], UNSET
    while True:
        query[parameter] = cursor
        listing = good(page.sync(*path, client=mine, limit=LIMIT, **query))
        found += listing.items
        if listing.next_ is None:
            return found
        cursor = listing.next_


form = LoginForm(username=username, password=password)
tokens = good(users_login.sync(client=Client(url), body=form))
mine = AuthenticatedClient(url, token=tokens.access_token)
me = good(users_get_me.sync(client=mine))
friends = every(friends_friends, by="after")
other, ids = friends[0].id, ",".join(str(friend.id) for friend in friends)
found = {
    "friends": friends,
    "requests": every(friends_requests, by="after", direction=FriendsRequestsDirection.OUT),
    "search": every(users_search, by="after", first_name=me.first_name),
    "wall": every(posts_wall, other, by="before"),
    "feed": every(posts_feed, by="before"),
    "messages": every(dialogs_messages, other, by="before"),
    "dialogs": every(dialogs_listing, by="before"),
    "several": good(users_several.sync(client=mine, ids=ids)).items,
}
print(json.dumps({name: len(items) for name, items in found.items()}))
