// Pages through every list, by what openapi-typescript makes of /openapi.json: schema.d.ts.
//   node pages.js http://127.0.0.1:8000 NAME PASSWORD
import createClient from "openapi-fetch";
import type {components, paths} from "./schema.js";

type User = components["schemas"]["User"];
type Page<T, C> = {items: T[]; next: C | null};
type Answer<T, C> = {data?: Page<T, C>; error?: components["schemas"]["Problem"]};

const [, , baseUrl, username, password] = process.argv;
const api = createClient<paths>({baseUrl: baseUrl!});
const limit = 2;

/** Every item of a list: `next` of each page is what the parameter takes, without a cast. */
async function all<T, C>(page: (cursor: C | undefined) => Promise<Answer<T, C>>): Promise<T[]> {
	const found: T[] = [];
	let cursor: C | undefined;
	for (;;) {
		const {data, error} = await page(cursor);
		if (data === undefined) throw new Error(`${error?.status} ${error?.detail}`);
		found.push(...data.items);
		if (data.next === null) return found;
		cursor = data.next;
	}
}

const {data: tokens} = await api.POST("/api/v1/login", {
	body: {grant_type: "password", username: username!, password: password!, refresh_token: ""},
	headers: {"Content-Type": "application/x-www-form-urlencoded"},
	bodySerializer: ({username, password}) => new URLSearchParams({username, password}),
});
if (tokens === undefined) throw new Error("no login");
api.use({onRequest: ({request}) => request.headers.set("Authorization", `Bearer ${tokens.access_token}`)});

const {data: me} = await api.GET("/api/v1/users/me");
if (me === undefined) throw new Error("nobody");

const friends: User[] = await all((after?: number) =>
	api.GET("/api/v1/friends", {params: {query: {after, limit}}}));
const other = friends[0]!.id;
const found = {
	friends,
	requests: await all((after?: number) =>
		api.GET("/api/v1/friends/requests", {params: {query: {after, limit, direction: "out"}}})),
	search: await all((after?: number) =>
		api.GET("/api/v1/users/search", {params: {query: {first_name: me.first_name, after, limit}}})),
	wall: await all((before?: number) =>
		api.GET("/api/v1/users/{id}/posts", {params: {path: {id: other}, query: {before, limit}}})),
	feed: await all((before?: string) =>
		api.GET("/api/v1/feed", {params: {query: {before, limit}}})),
	messages: await all((before?: number) =>
		api.GET("/api/v1/dialogs/{user_id}/messages", {params: {path: {user_id: other}, query: {before, limit}}})),
	dialogs: await all((before?: string) =>
		api.GET("/api/v1/dialogs", {params: {query: {before, limit}}})),
	several: await all((_?: number) =>
		api.GET("/api/v1/users", {params: {query: {ids: friends.map(({id}) => id).join()}}})),
};
console.log(JSON.stringify(Object.fromEntries(
	Object.entries(found).map(([name, items]) => [name, items.length]))));
