// The smallest parts that several pages share.
import { html, useEffect, useLayoutEffect, useRef } from "../html.js";
import { STATES } from "../batch_state.js";
import { moment, wholeMoment } from "../format.js";

/** The page's heading. It takes the focus when its page opens, so that reading and tabbing begin there. */
export function Title({ children, tab }) {
  const heading = useRef(null);
  useLayoutEffect(() => heading.current.focus({ preventScroll: true }), []);
  useEffect(() => {
    document.title = `${tab} · Clarion`;
  }, [tab]);
  return html`<h1 ref=${heading} tabindex="-1">${children}</h1>`;
}

export const State = ({ of }) => html`<span class=${`state ${of}`}>${STATES[of] ?? of}</span>`;

export const Time = ({ at }) => html`<time datetime=${at} title=${wholeMoment(at)}>${moment(at)}</time>`;

/** `kind`: info, good, bad. What went wrong is read out at once. */
export const Notice = ({ kind = "info", children }) =>
  html`<div class=${`notice ${kind}`} role=${kind === "bad" ? "alert" : undefined}>${children}</div>`;

export const Waiting = () => html`<p class="waiting" role="status">Loading…</p>`;
