// How far a batch has come.
import { html } from "../html.js";
import { count } from "../format.js";
import { done } from "../batch_state.js";

const SEGMENTS = ["delivered", "failed", "skipped"];

export function Bar({ batch }) {
  // One in a million is still to be seen.
  const share = (number) => (number > 0 ? `max(4px, ${(100 * number) / batch.total}%)` : "0");
  return html`<div
    class=${`bar ${batch.state}`}
    role="progressbar"
    aria-label="Progress"
    aria-valuemin="0"
    aria-valuemax=${batch.total}
    aria-valuenow=${done(batch)}
    aria-valuetext=${inWords(batch)}
  >
    ${SEGMENTS.map((each) => html`<span class=${each} style=${{ width: share(batch[each]) }}></span>`)}
  </div>`;
}

/** "4,812 of 10,000 delivered, 3 failed" */
export function inWords(batch) {
  const more = SEGMENTS.slice(1).filter((each) => batch[each] > 0);
  return [
    `${count(batch.delivered)} of ${count(batch.total)} delivered`,
    ...more.map((each) => `${count(batch[each])} ${each}`),
  ].join(", ");
}
