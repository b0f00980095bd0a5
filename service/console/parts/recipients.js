// Recipients of a batch in one state, a page at a time, each with the reason.
import { html, useEffect, useState } from "../html.js";
import { ask, pageAt } from "../api.js";
import { count } from "../format.js";
import { nameOf } from "../people.js";
import { Notice, Time, Waiting } from "./small.js";

const SIZE = 10;
const REASONS = {
  cancelled: "The batch was cancelled first",
  user_deleted: "The person was deleted",
  no_longer_reachable: "Cannot be written to any more",
  sender_not_allowed: "You had lost the right to write to them",
};

export function Recipients({ batch, state, total }) {
  const [pages, setPages] = useState([null]); // the mark of each page up to this one
  const [list, setList] = useState(null);
  const [problem, setProblem] = useState(null);

  useEffect(() => {
    const stop = new AbortController();
    const query = { state, page: pages.at(-1), per_page: SIZE };
    ask("GET", `conversations/batches/${batch}/recipients`, { query, signal: stop.signal })
      .then(({ body, headers }) => {
        setList({ rows: body, next: pageAt(headers, "next") });
        setProblem(null);
      })
      .catch((found) => stop.signal.aborted || setProblem(found));
    return () => stop.abort();
  }, [batch, state, pages, total]);

  if (problem) return html`<${Notice} kind=${problem.status === 404 ? "info" : "bad"}>${whyNotListed(problem)}<//>`;
  if (!list) return html`<${Waiting} />`;
  return html`<h3 class=${state}>${count(total)} ${state}</h3>
    <table>
      <thead>
        <tr>
          <th scope="col">Person</th>
          <th scope="col">Reason</th>
          <th scope="col">When</th>
        </tr>
      </thead>
      <tbody>
        ${list.rows.map((row) => html`<${Row} key=${row.user_id} row=${row} />`)}
      </tbody>
    </table>
    ${
      (list.next || pages.length > 1) &&
      html`<nav class="pager" aria-label=${`Pages of those ${state}`}>
        <button disabled=${pages.length === 1} onClick=${() => setPages(pages.slice(0, -1))}>Previous page</button>
        <span>Page ${pages.length}</span>
        <button disabled=${!list.next} onClick=${() => setPages([...pages, list.next])}>Next page</button>
      </nav>`
    }`;
}

/** Of a batch that is there, they may have been removed after the time for which the institution keeps them. */
export function whyNotListed(problem) {
  return problem.status === 404 ? "Who the recipients were is not kept any more." : problem.message;
}

function Row({ row }) {
  const [name, setName] = useState(null);
  useEffect(() => {
    let shown = true;
    nameOf(row.user_id).then((found) => shown && setName(found));
    return () => {
      shown = false;
    };
  }, [row.user_id]);
  return html`<tr>
    <td>${name ? `${name} (${row.user_id})` : `User ${row.user_id}`}</td>
    <td class="reason">${reason(row.error)}</td>
    <td><${Time} at=${row.updated_at} /></td>
  </tr>`;
}

function reason(error) {
  if (!error) return "No reason was noted";
  const text = /^delivery_failed: ?(.*)$/s.exec(error);
  return text ? `Delivery failed: ${text[1]}` : (REASONS[error] ?? error);
}
