// The service `search`: it stores each order in a search engine, and emits `search.indexed`.

import { Dead, Gateway, RetryAfter } from "./pull.mjs";

const { GATEWAY_URL, GATEWAY_TOKEN, BACKEND_URL, LEASE = 30 } = process.env;
const gateway = new Gateway(GATEWAY_URL, GATEWAY_TOKEN);
const stopping = new AbortController();
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => stopping.abort());

async function index(event, { signal }) {
  const answer = await fetch(BACKEND_URL, {
    method: "PUT",
    headers: { "content-type": "application/json", "x-event-id": event.id },
    body: JSON.stringify(event.data),
    signal,
  });
  if (answer.status === 429) throw new RetryAfter("the search engine is busy", Number(answer.headers.get("retry-after") ?? 1));
  if (answer.status === 400) throw new Dead(`the search engine refuses ${event.type}`);
  if (!answer.ok) throw new Error(`the search engine answers ${answer.status}`);
  // The id depends on the event only: a repeated attempt emits the same event, which is one event.
  await gateway.emit({
    id: `${event.id}.indexed`,
    source: "search",
    type: "search.indexed",
    subject: event.subject,
    data: event.data,
    causationid: event.id,
  });
}

await gateway.run(
  "search.index",
  { patterns: ["order.*"], retries: 8, backoff: 0.2, max_backoff: 5, lease: Number(LEASE), description: "Index orders." },
  index,
  { concurrency: 4, signal: stopping.signal },
);
