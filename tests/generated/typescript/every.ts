/** Pages through lists: `next` of each page is what the parameter takes, without a cast. */
export type Page<T, C> = {items: T[]; next: C | null};

/** Every item of a list. */
export async function all<T, C>(page: (cursor: C | undefined) => Promise<Page<T, C>>): Promise<T[]> {
	const found: T[] = [];
	let cursor: C | undefined;
	for (;;) {
		const {items, next} = await page(cursor);
		found.push(...items);
		if (next === null) return found;
		cursor = next;
	}
}

/** Say how long each list is. */
export function say(found: Record<string, unknown[]>): void {
	console.log(JSON.stringify(Object.fromEntries(
		Object.entries(found).map(([name, items]) => [name, items.length]))));
}
