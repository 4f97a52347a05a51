// A client of celeriac's pull protocol, for Node 18 or later. No packages are needed.

const WAIT = 20; // seconds of one long poll
const PAUSE = 1000; // ms after a failed request

/** Dead-letters the delivery at once. */
export class Dead extends Error {}

/** Retries the delivery, not before `after` seconds. */
export class RetryAfter extends Error {
  constructor(message, after) {
    super(message);
    this.after = after;
  }
}

export class Gateway {
  constructor(url, token) {
    this.url = url.replace(/\/$/, "");
    this.token = token;
  }

  /** Emits an event. Repeated with the same id, it is one event. Throws if it was not accepted. */
  async emit(event) {
    const answer = await this.request("POST", "/events", { specversion: "1.0", ...event }, "application/cloudevents+json");
    if (answer.status !== 202) throw new Error(`emit ${event.type}: ${await reason(answer)}`);
  }

  /**
   * Runs `handle(event, { attempt, signal })` for each delivery until `signal` is aborted. The inner
   * `signal` is aborted when the lease was lost: another attempt has begun.
   */
  async run(id, registration, handle, { concurrency = 4, signal } = {}) {
    const path = `/v1/handlers/${id}`;
    const lease = await this.register(path, registration, signal);
    const loop = async () => {
      while (!signal?.aborted) {
        for (const delivery of await this.fetch(path, registration, signal)) {
          await this.deliver(path, delivery, handle, lease);
        }
      }
    };
    await Promise.all(Array.from({ length: concurrency }, loop));
  }

  async register(path, registration, signal) {
    while (!signal?.aborted) {
      const answer = await this.request("PUT", path, registration).catch(() => null);
      if (answer?.ok) return (await answer.json()).lease;
      if (answer && !isTemporary(answer)) throw new Error(`register: ${await reason(answer)}`);
      await sleep(PAUSE);
    }
  }

  async fetch(path, registration, signal) {
    const answer = await this.request("POST", `${path}/fetch`, { limit: 1, wait: WAIT }, undefined, signal).catch(() => null);
    if (answer?.ok) return (await answer.json()).deliveries;
    if (signal?.aborted) return [];
    // The bus has lost the registration.
    if (answer?.status === 404) await this.register(path, registration, signal);
    // 410: an operator has removed the handler.
    else if (answer && !isTemporary(answer)) throw new Error(`fetch: ${await reason(answer)}`);
    else await sleep(PAUSE);
    return [];
  }

  async deliver(path, { entry, attempt, event }, handle, lease) {
    const lost = new AbortController();
    const renewal = setInterval(async () => {
      const answer = await this.request("POST", `${path}/renew`, { entry, attempt }).catch(() => null);
      if (answer?.status === 409) lost.abort();
    }, (lease * 1000) / 3);
    const began = Date.now();
    let result = { outcome: "processed" };
    try {
      await handle(event, { attempt, signal: lost.signal });
    } catch (error) {
      result = {
        outcome: error instanceof Dead ? "dead" : "failed",
        error: { type: error.constructor.name, message: error.message, stack: error.stack },
      };
      if (error instanceof RetryAfter) result.retry_after = error.after;
    } finally {
      clearInterval(renewal);
    }
    const took = (Date.now() - began) / 1000;
    if (!lost.signal.aborted) await this.complete(path, { entry, attempt, ...result, took }, began + lease * 1000);
  }

  /** Reports a result. It is repeated until it is answered, or until the lease is over. */
  async complete(path, result, until) {
    do {
      const answer = await this.request("POST", `${path}/complete`, result).catch(() => null);
      if (answer && !isTemporary(answer)) {
        if (!answer.ok) console.error(`${path}: ${await reason(answer)}`);
        return;
      }
      await sleep(PAUSE);
    } while (Date.now() < until);
  }

  request(method, path, body, type = "application/json", signal) {
    const bound = AbortSignal.timeout((WAIT + 10) * 1000);
    return fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": type },
      body: JSON.stringify(body),
      signal: signal && AbortSignal.any ? AbortSignal.any([signal, bound]) : bound,
    });
  }
}

const isTemporary = (answer) => answer.status === 429 || answer.status >= 500;
const reason = async (answer) => `${answer.status} ${(await answer.json().catch(() => ({}))).detail ?? ""}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
