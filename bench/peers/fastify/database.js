import { readdirSync, readFileSync } from "node:fs";
import pg from "pg";

const QUERIES = "sql/postgres/queries";
const SEARCHES = "bench/peers/search.sql";
const { DATE, INT8, TIMESTAMPTZ } = pg.types.builtins;

// Ids are below 2^53, but for dialogs', which are never read. Days stay as PostgreSQL writes them.
const types = new pg.TypeOverrides();
types.setTypeParser(INT8, Number);
types.setTypeParser(DATE, (text) => text);
types.setTypeParser(TIMESTAMPTZ, isoTime);

// "2026-01-31 12:00:00.5+00" as "2026-01-31T12:00:00.500000Z": a Date has no microseconds.
function isoTime(text) {
  const fraction = text.length > 22 ? `.${text.slice(20, -3).padEnd(6, "0")}` : "";
  return `${text.slice(0, 10)}T${text.slice(11, 19)}${fraction}Z`;
}

function statements() {
  const found = new Map();
  const files = readdirSync(QUERIES).filter((file) => file.endsWith(".sql"));
  for (const path of [...files.map((file) => `${QUERIES}/${file}`), SEARCHES]) {
    const parts = readFileSync(path, "utf8").split(/^-- name: (\w+)$/m);
    for (let i = 1; i < parts.length; i += 2) found.set(parts[i], parts[i + 1].trim());
  }
  return found;
}

// The connections, in turn. Each sends what it is given at once, without waiting for the answers to
// what went before (pg's pipeline mode); every statement is a transaction of its own all the same.
// One is prepared under its name when a connection meets it for the first time.
export class Database {
  #statements = statements();
  #clients;
  #turn = 0;

  constructor(connectionString, size) {
    const options = "-c timezone=UTC -c jit=off";
    this.#clients = Array.from(
      { length: size },
      () => new pg.Client({ connectionString, options, types, pipeline: true }),
    );
  }

  // All of them. One that breaks ends the process.
  async connect() {
    await Promise.all(this.#clients.map((client) => client.connect()));
  }

  // The rows of a statement of that name.
  async query(name, values) {
    this.#turn = (this.#turn + 1) % this.#clients.length;
    const text = this.#statements.get(name);
    const { rows } = await this.#clients[this.#turn].query({ name, text, values });
    return rows;
  }
}
