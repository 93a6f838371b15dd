// Websockets as a good Node engineer would write them: the `ws` package on node:http.
//
// The same as peers/starlette_ws, whose head describes the events and what is left out. Read from
// the environment: PORT, PGHOST, PGUSER, PGDATABASE, REDIS_SOCKET (its path), CHANNEL, and SEND,
// one of the ways below.

import { createServer } from "node:http";
import pg from "pg";
import { createClient } from "redis";
import { Sender, WebSocketServer } from "ws";

const { CHANNEL, PORT, REDIS_SOCKET, SEND } = process.env;
const INSERT = `INSERT INTO peer_message (from_user_id, to_user_id, content)
  VALUES ($1, $2, $3) RETURNING id, created_at`;
const FRAME = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true };

// Each: what is made of an event's JSON once, and how it is sent to one client. `ws` endorses the
// last two in its issues: Sender.frame is public for broadcasts, _socket.cork is "for the user".
const plain = {
  make: (text) => Buffer.from(text),
  send: (client, data) => client.send(data, { binary: false }),
  end: () => {},
};
const prepared = {
  make: (text) => [Buffer.concat(Sender.frame(Buffer.from(text), FRAME))],
  send: (client, list) => {
    if (client.readyState === client.OPEN) client._sender.sendFrame(list);
  },
  end: () => {},
};
const corked = new Set();
const corking = {
  make: prepared.make,
  send: (client, list) => {
    if (!corked.has(client._socket)) {
      client._socket.cork();
      corked.add(client._socket);
    }
    prepared.send(client, list);
  },
  // What one message of the channel brought is one writev for each socket.
  end: () => {
    for (const socket of corked) socket.uncork();
    corked.clear();
  },
};
const way = { plain, prepared, corked: corking }[SEND];

const ofUser = new Map();
const ofAuthor = new Map();

function roomOf(rooms, key) {
  let room = rooms.get(key);
  if (room === undefined) rooms.set(key, (room = new Set()));
  return room;
}

function deliver(events) {
  for (const { type, cursor, id, data, author, to } of events) {
    const frame = way.make(JSON.stringify({ type, cursor, event_id: id, ...data }));
    const rooms = author === undefined ? to.map((user) => ofUser.get(user)) : [ofAuthor.get(author)];
    for (const room of rooms) {
      if (room !== undefined) for (const client of room) way.send(client, frame);
    }
  }
  way.end();
}

const pool = new pg.Pool({ max: 8 });
const publisher = createClient({ socket: { path: REDIS_SOCKET } });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);
await subscriber.subscribe(CHANNEL, (message) => deliver(JSON.parse(message)));

async function sendMessage(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = JSON.parse(Buffer.concat(chunks).toString());
  const { rows } = await pool.query({
    name: "insert",
    text: INSERT,
    values: [body.from, body.to, body.content],
  });
  const message = {
    id: Number(rows[0].id),
    from_user_id: body.from,
    to_user_id: body.to,
    content: body.content,
    client_id: null,
    created_at: rows[0].created_at,
    read: false,
  };
  const event = {
    id: `m${message.id}`,
    type: "message.created",
    cursor: String(message.id),
    to: [body.to],
    data: { message },
  };
  await publisher.publish(CHANNEL, JSON.stringify([event]));
  const text = JSON.stringify(message);
  response.writeHead(201, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

const server = createServer((request, response) => {
  if (request.method === "POST" && request.url === "/messages") {
    sendMessage(request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end();
    });
  } else {
    response.writeHead(404).end();
  }
});
const sockets = new WebSocketServer({
  server,
  path: "/ws",
  perMessageDeflate: false,
  skipUTF8Validation: true,
  clientTracking: false,
});
sockets.on("connection", (client, request) => {
  const query = new URL(request.url, "http://localhost").searchParams;
  const rooms = [
    roomOf(ofUser, Number(query.get("user"))),
    roomOf(ofAuthor, Number(query.get("follows"))),
  ];
  for (const room of rooms) room.add(client);
  client.on("close", () => rooms.forEach((room) => room.delete(client)));
  client.on("error", () => client.terminate());
  client.send('{"type":"hello"}');
});
server.listen(Number(PORT), "127.0.0.1");
