// How many recipients a second a batch has reached: as seen while it was watched, or from the times of its recipients.
import { open } from "./api.js";

/** So many recipients are looked through without being asked for it. */
export const FEW = 20_000;
const MOST_POINTS = 600;

const seen = new Map(); // by batch id; it outlasts the page of the batch, not the tab

/** The points so far, with one more where the batch moves. */
export function note(batch) {
  const points = seen.get(String(batch.id)) ?? [];
  const at = Date.now() / 1_000;
  if (batch.state !== "sending" || batch.recipients_per_second === null || at - (points.at(-1)?.[0] ?? 0) < 0.05) {
    return points;
  }
  const longer = [...points, [at, batch.recipients_per_second]].slice(-MOST_POINTS);
  seen.set(String(batch.id), longer);
  return longer;
}

/** Other people's watched batches are none of the next one's business. */
export function forgetRates() {
  seen.clear();
}

/** Points from the CSV of those who were reached, a second each; where that is too many, wider steps. */
export async function fromRecipients(id, signal) {
  const path = `conversations/batches/${id}/recipients`;
  const answer = await open("GET", path, { query: { state: "delivered" }, headers: { Accept: "text/csv" }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const reached = new Map();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (text + (value ?? "")).split("\r\n");
    text = lines.pop();
    for (const line of lines) {
      const at = Date.parse(line.slice(line.lastIndexOf(",") + 1)) / 1_000;
      if (at) reached.set(at, (reached.get(at) ?? 0) + 1);
    }
    if (done) return steps(reached);
  }
}

function steps(reached) {
  if (!reached.size) return [];
  const times = [...reached.keys()].sort((one, other) => one - other);
  const [first, last] = [times[0], times.at(-1)];
  const wide = Math.max(1, Math.ceil((last - first + 1) / MOST_POINTS));
  const points = [[first - wide, 0]];
  for (let at = first; at <= last; at += wide) {
    let sum = 0;
    for (let each = at; each < at + wide; each += 1) sum += reached.get(each) ?? 0;
    points.push([at, sum / wide]);
  }
  return [...points, [points.at(-1)[0] + wide, 0]];
}
