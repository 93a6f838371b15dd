// Pages through every list, by what hey-api's openapi-ts makes: ./hey.
//   node pages_hey.js http://127.0.0.1:8000 NAME PASSWORD
import {all, say} from "./every.js";
import {client} from "./hey/client.gen.js";
import * as api from "./hey/sdk.gen.js";

const [, , baseUrl, username, password] = process.argv;
client.setConfig({baseUrl: baseUrl!, throwOnError: true});
const throwOnError = true;
const limit = 2;

const {data: tokens} = await api.usersLogin({
	body: {grant_type: "password", username: username!, password: password!}, throwOnError});
client.setConfig({auth: tokens.access_token});

const {data: me} = await api.usersGetMe({throwOnError});
const friends = await all(async (after?: number) =>
	(await api.friendsFriends({query: {after, limit}, throwOnError})).data);
const other = friends[0]!.id;
say({
	friends,
	requests: await all(async (after?: number) =>
		(await api.friendsRequests({query: {after, limit, direction: "out"}, throwOnError})).data),
	search: await all(async (after?: number) =>
		(await api.usersSearch({query: {first_name: me.first_name, after, limit}, throwOnError})).data),
	wall: await all(async (before?: number) =>
		(await api.postsWall({path: {id: other}, query: {before, limit}, throwOnError})).data),
	feed: await all(async (before?: string) =>
		(await api.postsFeed({query: {before, limit}, throwOnError})).data),
	messages: await all(async (before?: number) =>
		(await api.dialogsMessages({path: {user_id: other}, query: {before, limit}, throwOnError})).data),
	dialogs: await all(async (before?: string) =>
		(await api.dialogsListing({query: {before, limit}, throwOnError})).data),
	several: await all(async (_?: number) =>
		(await api.usersSeveral({query: {ids: friends.map(({id}) => id).join()}, throwOnError})).data),
});
