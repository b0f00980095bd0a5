// The public API, as any client calls it. The token is kept here, in memory, and goes with the tab.

const HOME = new URL(".", document.baseURI); // behind whatever path prefix
const API = new URL("api/v1/", HOME);
const PATIENCE = 45_000; // milliseconds for a whole answer; the service itself gives up before

let token = "";
let refused = () => {};

/** From now on requests come with this token; `whenRefused` is called when the service does not take it any more. */
export function useToken(given, whenRefused = () => {}) {
  token = given;
  refused = whenRefused;
}

/** Why a request had no success. `status` is 0 where there was no answer at all; `again`: seconds to wait before. */
export class Problem extends Error {
  constructor(status, message, again = null) {
    super(message);
    this.status = status;
    this.again = again;
    // An institution may have throttling say 403, which elsewhere means that a right is missing.
    this.throttled = status === 429 || (status === 403 && /rate limit exceeded/i.test(message));
  }
}

/** One request under /api/v1. `body` is sent as JSON. Throws Problem for every answer that is not a success. */
export async function ask(method, path, { query = {}, body, headers = {}, signal } = {}) {
  const answer = await open(method, path, { query, body, headers, signal: within(signal) });
  try {
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  } catch (error) {
    throw broken(error, signal);
  }
}

/** The same up to the headers: the body is the caller's to read. */
export async function open(method, path, { query = {}, body, headers = {}, signal } = {}) {
  const sent = { Authorization: `Bearer ${token}`, Accept: "application/json+canvas-string-ids", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const answer = await send(addressOf(path, query), {
    method,
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  if (answer.ok) return answer;
  const problem = new Problem(answer.status, await wordsOf(answer), Number(answer.headers.get("Retry-After")) || null);
  if (answer.status === 401 && !/scope/i.test(problem.message)) refused(problem.message);
  throw problem;
}

/** The text of what the service says about itself: /readyz, /metrics. No token is needed, and none is sent. */
export async function look(path) {
  const answer = await send(new URL(path, HOME), { signal: within() });
  return { status: answer.status, text: await answer.text() };
}

/** The query of the page that a Link header names, null where there is none. Its host and path are not followed. */
export function pageAt(headers, rel) {
  const link = (headers.get("Link") ?? "").split(",").find((each) => each.includes(`rel="${rel}"`));
  const found = link && /<([^>]*)>/.exec(link);
  return found ? new URL(found[1], API).searchParams.get("page") : null;
}

function addressOf(path, query) {
  const address = new URL(path, API);
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== null && each !== "") address.searchParams.append(name, each);
  }
  return address;
}

async function send(address, options) {
  try {
    return await fetch(address, { credentials: "omit", redirect: "error", referrerPolicy: "no-referrer", ...options });
  } catch (error) {
    throw broken(error, options.signal);
  }
}

function broken(error, signal) {
  if (error.name === "AbortError" && signal?.aborted) return error;
  const late = error.name === "TimeoutError";
  return new Problem(0, late ? "The service takes too long to answer." : "The service cannot be reached.");
}

function within(signal) {
  const limit = AbortSignal.timeout(PATIENCE);
  return signal ? AbortSignal.any([signal, limit]) : limit;
}

/** The service's own words, from any of the shapes that its errors have. */
async function wordsOf(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const words = sentences(JSON.parse(text));
    if (words.length) return words.join(" ");
  } catch {
    if (text && text.length < 200) return text.trim();
  }
  return `The service answered with status ${answer.status}.`;
}

function sentences(body) {
  if (Array.isArray(body)) return body.flatMap(sentences);
  if (typeof body !== "object" || body === null) return typeof body === "string" ? [body] : [];
  if (typeof body.message === "string") return [said(body.attribute, body.message)];
  return Object.values(body.errors ?? body.page ?? {}).length ? [body.errors ?? body.page].flat().flatMap(inside) : [];
}

function inside(errors) {
  if (typeof errors !== "object" || errors === null) return sentences(errors);
  return "message" in errors ? sentences(errors) : Object.values(errors).flatMap(sentences);
}

const WORDS = {
  "recipients blank": "There is no recipient.",
  "recipients invalid": "None of these recipients can be written to.",
  "recipients too many for group conversation":
    "These are too many people for this way of delivering. “A new conversation with each” is for any number.",
  "recipients daily limit exceeded": "That is more people than you may write to in one day.",
  "recipients restricted by role": "Your role does not let you write to one of these recipients.",
  "body blank": "The message has no text.",
  "send_at invalid": "This time cannot be used: it has to be in the future, and at most 366 days ahead.",
  "subject too_long": "The subject is longer than 255 characters.",
};

function said(attribute, message) {
  if (!attribute) return message;
  return WORDS[`${attribute} ${message}`] ?? `${attribute.replaceAll("_", " ")}: ${message}`;
}
