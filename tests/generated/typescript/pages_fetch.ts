// Pages through every list, by what openapi-generator's typescript-fetch makes: ./fetch.
//   node pages_fetch.js http://127.0.0.1:8000 NAME PASSWORD
import {all, say} from "./every.js";
import {Configuration, DialogsApi, FriendsApi, PostsApi, UsersApi} from "./fetch/index.js";

const [, , basePath, username, password] = process.argv;
const anybody = new UsersApi(new Configuration({basePath: basePath!}));
const {access_token} = await anybody.usersLogin({username: username!, password: password!});
// It sends what it is given as the whole header.
const mine = new Configuration({basePath: basePath!, accessToken: `Bearer ${access_token}`});
const users = new UsersApi(mine), friendships = new FriendsApi(mine);
const posts = new PostsApi(mine), dialogs = new DialogsApi(mine);
const limit = 2;

const me = await users.usersGetMe();
const friends = await all((after?: number) => friendships.friendsFriends({after, limit}));
const other = friends[0]!.id;
say({
	friends,
	requests: await all((after?: number) =>
		friendships.friendsRequests({after, limit, direction: "out"})),
	search: await all((after?: number) => users.usersSearch({first_name: me.first_name, after, limit})),
	wall: await all((before?: number) => posts.postsWall({id: other, before, limit})),
	feed: await all((before?: string) => posts.postsFeed({before, limit})),
	messages: await all((before?: number) => dialogs.dialogsMessages({user_id: other, before, limit})),
	dialogs: await all((before?: string) => dialogs.dialogsListing({before, limit})),
	several: await all((_?: number) => users.usersSeveral({ids: friends.map(({id}) => id).join()})),
});
