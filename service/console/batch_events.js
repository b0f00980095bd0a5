// A batch as it changes: by its event stream, and by asking every few seconds where a proxy holds streams back.
// EventSource sends no Authorization header, so the stream is read with fetch.
import { ask, open } from "./api.js";

const FIRST = 5_000; // milliseconds in which a stream has to begin; the service sends the present state at once
const SILENCE = 25_000; // and after which it is taken for dead; the service sends a comment every ten seconds
const POLL = 2_000;
const POLLS = 15; // between two attempts at a stream that was held back
const LONGEST_WAIT = 8_000;

/**
 * Calls `show(batch)` at once and at each change, and `line("live" | "polling" | "lost")` when the way it comes changes.
 * Ends by itself with the batch, or with a Problem in `failed` that no waiting mends. Returns what stops it.
 */
export function follow(id, { show, line, failed }) {
  const stop = new AbortController();
  run(`conversations/batches/${id}`, { show, line, stop: stop.signal }).catch((problem) => {
    if (!stop.signal.aborted) failed(problem);
  });
  return () => stop.abort();
}

async function run(path, { show, line, stop }) {
  let last = "";
  let wait = 500;
  for (;;) {
    let began = false;
    try {
      const events = eventsOf(path, last, stop);
      for await (const event of events) {
        began = true;
        wait = 500;
        line("live");
        if (event.id) last = event.id;
        show(JSON.parse(event.data));
        if (event.name === "finished") return;
      }
      began = true; // it ended in order: the gateway stops
    } catch (problem) {
      if (stop.aborted || isFinal(problem)) throw problem;
    }
    const answered = await poll(path, { show, line, stop, times: began ? 1 : POLLS });
    if (answered === "finished") return;
    await pause(answered ? 500 : wait, stop);
    wait = answered ? 500 : Math.min(wait * 2, LONGEST_WAIT);
  }
}

const isFinal = (problem) => [401, 403, 404].includes(problem.status) && !problem.throttled;

/** Asks so many times, as long as there are answers; whether there was one, and "finished" when no more will change. */
async function poll(path, { show, line, stop, times }) {
  for (let asked = 0; asked < times; asked += 1) {
    try {
      const { body } = await ask("GET", path, { signal: stop });
      show(body);
      line(times > 1 ? "polling" : "live");
      if (body.finished_at !== null && ["sent", "error", "cancelled"].includes(body.state)) return "finished";
    } catch (problem) {
      if (stop.aborted || isFinal(problem)) throw problem;
      line(problem.throttled ? "polling" : "lost");
      if (problem.again) await pause(problem.again * 1_000, stop);
      return false;
    }
    if (times > 1) await pause(POLL, stop);
  }
  return true;
}

/** The events of a stream, each with name, id and data. Throws when it is silent for too long, or the browser offline. */
async function* eventsOf(path, last, stop) {
  const silent = new AbortController();
  const giveUp = () => silent.abort();
  let timer = setTimeout(giveUp, FIRST);
  window.addEventListener("offline", giveUp);
  const headers = { Accept: "text/event-stream" };
  if (last) headers["Last-Event-ID"] = last;
  try {
    const answer = await open("GET", `${path}/events`, { headers, signal: AbortSignal.any([stop, silent.signal]) });
    if (answer.status === 204) return;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(giveUp, SILENCE);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const event = eventOf(block);
        if (event.data) yield event;
      }
    }
  } finally {
    clearTimeout(timer);
    window.removeEventListener("offline", giveUp);
    giveUp();
  }
}

function eventOf(block) {
  const event = { name: "message", id: "", data: "" };
  for (const row of block.split("\n")) {
    const [, field, value] = /^(event|id|data): ?(.*)$/.exec(row) ?? [];
    if (field === "event") event.name = value;
    if (field === "id") event.id = value;
    if (field === "data") event.data += value;
  }
  return event;
}

/** So many milliseconds, or until the browser says that it is connected again. */
function pause(milliseconds, stop) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      stop.removeEventListener("abort", end);
      stop.aborted ? reject(stop.reason) : resolve();
    };
    const timer = setTimeout(end, milliseconds);
    window.addEventListener("online", end);
    stop.addEventListener("abort", end);
  });
}
