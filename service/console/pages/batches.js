// All batches of the caller, the newest first; those under way move.
import { html, useEffect, useState } from "../html.js";
import { ask, pageAt } from "../api.js";
import { STATES, isFinished } from "../batch_state.js";
import { count, opening } from "../format.js";
import { Bar } from "../parts/bar.js";
import { Pager } from "../parts/pager.js";
import { Notice, State, Time, Title, Waiting } from "../parts/small.js";

const SIZE = 10;
const LIVE = 1_500; // milliseconds between two looks while something moves
const CALM = 10_000;

const SHOWN = {
  all: ["All", Object.keys(STATES)],
  open: ["Under way", ["created", "sending", "paused"]],
  scheduled: ["Scheduled", ["scheduled"]],
  ended: ["Ended", ["sent", "cancelled", "error"]],
};

export function Batches() {
  const [shown, setShown] = useState("all");
  const [page, setPage] = useState({ mark: null, number: 1 });
  const [list, setList] = useState(null);
  const [problem, setProblem] = useState(null);

  useEffect(() => {
    const stop = new AbortController();
    let timer = null;
    const load = async () => {
      let wait = CALM;
      try {
        const query = { "state[]": SHOWN[shown][1], page: page.mark, per_page: SIZE };
        const { body, headers } = await ask("GET", "conversations/batches", { query, signal: stop.signal });
        setList({ batches: body, previous: pageAt(headers, "prev"), next: pageAt(headers, "next") });
        setProblem(null);
        if (body.some((batch) => !isFinished(batch) && batch.state !== "scheduled")) wait = LIVE;
      } catch (found) {
        if (stop.signal.aborted) return;
        setProblem(found);
        wait = found.again ? found.again * 1_000 : LIVE * 2;
      }
      timer = setTimeout(load, document.hidden ? CALM : wait);
    };
    load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [shown, page]);

  const choose = (event) => {
    setShown(event.target.value);
    setPage({ mark: null, number: 1 });
    setList(null);
  };

  return html`<div class="heading">
      <${Title} tab="Batches">Batches<//>
      <label class="inline">
        <span>Show</span>
        <select value=${shown} onChange=${choose}>
          ${Object.entries(SHOWN).map(([name, [label]]) => html`<option value=${name}>${label}</option>`)}
        </select>
      </label>
      <a class="button main" href="#/compose">New message</a>
    </div>
    ${problem && html`<${Notice} kind="bad">${problem.message} Trying again…<//>`}
    ${!list && !problem && html`<${Waiting} />`}
    ${list && html`<${List} batches=${list.batches} filtered=${shown !== "all"} />`}
    ${
      list &&
      html`<${Pager}
        page=${page.number}
        previous=${list.previous}
        next=${list.next}
        onPage=${(mark, number) => setPage({ mark, number })}
      />`
    }`;
}

function List({ batches, filtered }) {
  if (!batches.length) {
    return html`<div class="card empty">
      <p>${filtered ? "There is no such batch." : "You have not sent anything to many people yet."}</p>
      ${!filtered && html`<a class="button main" href="#/compose">Write the first message</a>`}
    </div>`;
  }
  return html`<ul class="batches">
    ${batches.map((batch) => html`<${Row} key=${batch.id} batch=${batch} />`)}
  </ul>`;
}

function Row({ batch }) {
  return html`<li class="card">
    <div class="row">
      <a href=${`#/batches/${batch.id}`}>${opening(batch.message.body)}</a>
      <${State} of=${batch.state} />
    </div>
    <${Bar} batch=${batch} />
    <div class="row quiet">
      <span>
        ${count(batch.delivered)} of ${count(batch.total)} delivered
        ${batch.failed > 0 && html`, <strong class="failed">${count(batch.failed)} failed</strong>`}
        ${batch.skipped > 0 && html`, ${count(batch.skipped)} skipped`}
      </span>
      <span>
        ${
          batch.state === "scheduled"
            ? html`starts <${Time} at=${batch.send_at} />`
            : html`<${Time} at=${batch.created_at} />`
        }
      </span>
    </div>
  </li>`;
}
