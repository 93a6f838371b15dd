"""Pages through every list, by what openapi-generator's python makes: the package openapi_client.

python pages_openapi_generator.py http://127.0.0.1:8000 NAME PASSWORD
"""

import json
import sys

from openapi_client import (
    ApiClient,
    Configuration,
    DialogsApi,
    FriendsApi,
    PostsApi,
    UsersApi,
)

LIMIT = 2
url, username, password = sys.argv[1:]
with ApiClient(Configuration(host=url)) as anybody:
    tokens = UsersApi(anybody).users_login(username=username, password=password)


def every(page):
    """All items of a list: `next` of each page is what the parameter takes."""
    found, cursor = [], None
    while True:
        listing = page(cursor)
        found += listing.items
        if listing.next is None:
            return found
        cursor = listing.next


with ApiClient(Configuration(host=url, access_token=tokens.access_token)) as mine:
    users, friendships = UsersApi(mine), FriendsApi(mine)
    posts, dialogs = PostsApi(mine), DialogsApi(mine)
    me = users.users_get_me()
    friends = every(lambda after: friendships.friends_friends(after=after, limit=LIMIT))
    other, ids = friends[0].id, ",".join(str(friend.id) for friend in friends)
    found = {
        "friends": friends,
        "requests": every(
            lambda after: friendships.friends_requests(after=after, limit=LIMIT, direction="out")
        ),
        "search": every(
            lambda after: users.users_search(first_name=me.first_name, after=after, limit=LIMIT)
        ),
        "wall": every(lambda before: posts.posts_wall(other, before=before, limit=LIMIT)),
        "feed": every(lambda before: posts.posts_feed(before=before, limit=LIMIT)),
        "messages": every(
            lambda before: dialogs.dialogs_messages(other, before=before, limit=LIMIT)
        ),
        "dialogs": every(lambda before: dialogs.dialogs_listing(before=before, limit=LIMIT)),
        "several": every(lambda _: users.users_several(ids)),
    }
print(json.dumps({name: len(items) for name, items in found.items()}))
