// One batch: how far it is, what becomes of it, who did not get it and why.
import { html, useEffect, useState } from "../html.js";
import { open } from "../api.js";
import { follow } from "../batch_events.js";
import { STATES, done, isFinished } from "../batch_state.js";
import { count, people, rate, span } from "../format.js";
import { FEW, fromRecipients, note } from "../rate_history.js";
import { announce } from "../parts/announcer.js";
import { Bar, inWords } from "../parts/bar.js";
import { Moves } from "../parts/moves.js";
import { RatePlot } from "../parts/plot.js";
import { Recipients, whyNotListed } from "../parts/recipients.js";
import { Notice, State, Time, Title, Waiting } from "../parts/small.js";

export function Batch({ id, news }) {
  const [batch, setBatch] = useState(null);
  const [way, setWay] = useState("live");
  const [problem, setProblem] = useState(null);
  const [said, setSaid] = useState(news ? { kind: "good", text: news } : null);
  const [moves, setMoves] = useState(0); // a batch that had ended may move again

  useEffect(() => follow(id, { show: setBatch, line: setWay, failed: setProblem }), [id, moves]);
  useAnnouncements(batch, way);

  const moved = (changed, text) => {
    setBatch(changed);
    setSaid({ kind: "good", text });
    setMoves((n) => n + 1);
  };
  const refused = (found) => {
    setSaid({ kind: "bad", text: `That was not possible: ${found.message}` });
    setMoves((n) => n + 1);
  };

  if (problem) {
    const text = problem.status === 404 ? "You have no batch with this number." : problem.message;
    return html`<${Title} tab="Batch">Batch ${id}<//><${Notice} kind="bad">${text}<//>`;
  }
  const outdated = said?.kind === "good" && batch?.state === "error";
  return html`<div class="heading">
      <${Title} tab=${`Batch ${id}`}>Batch ${id}<//>
      ${batch && html`<${State} of=${batch.state} />`}
    </div>
    ${
      way === "lost" &&
      html`<${Notice} kind="bad">The connection is lost. What you see may be out of date; trying again…<//>`
    }
    ${said && !outdated && html`<${Notice} kind=${said.kind}>${said.text}<//>`}
    ${!batch && way !== "lost" && html`<${Waiting} />`}
    ${batch && html`<${Details} batch=${batch} way=${way} onMoved=${moved} onFailed=${refused} />`}`;
}

function Details({ batch, way, onMoved, onFailed }) {
  return html`<section class="card" aria-label="Progress">
      <div class="figure">
        <strong>${percent(batch)}</strong>
        <span>${inWords(batch)}</span>
      </div>
      <${Bar} batch=${batch} />
      <${Counts} batch=${batch} />
      ${batch.error && html`<${Notice} kind="bad">It ended in error: ${batch.error.replaceAll("_", " ")}<//>`}
      <${Moves} batch=${batch} onMoved=${onMoved} onFailed=${onFailed} />
      ${way === "polling" && html`<p class="hint">Events are held back on the way; asked anew every few seconds.</p>`}
    </section>
    <${Rate} batch=${batch} />
    <${Unreached} batch=${batch} />
    <section class="card">
      <h2>Message</h2>
      <pre class="body">${batch.message.body}</pre>
      <${Dates} batch=${batch} />
    </section>`;
}

function percent(batch) {
  const share = batch.total ? done(batch) / batch.total : batch.state === "sent" ? 1 : 0;
  return `${Math.floor(share * 100)} %`; // 100 only when all are done
}

function Counts({ batch }) {
  const cells = [
    ["delivered", batch.delivered],
    ["failed", batch.failed],
    ["skipped", batch.skipped],
    ["pending", batch.total - done(batch)],
  ];
  const running = batch.state === "sending";
  return html`<dl class="counts">
    ${cells.map(
      ([name, number]) => html`<div class=${name === "failed" && number > 0 ? "alarm" : ""}>
        <dt>${name}</dt>
        <dd>${count(number)}</dd>
      </div>`,
    )}
    ${
      running &&
      batch.recipients_per_second !== null &&
      html`<div>
        <dt>per second</dt>
        <dd>${rate(batch.recipients_per_second)}</dd>
      </div>`
    }
    ${
      running &&
      batch.eta &&
      html`<div>
        <dt>time left</dt>
        <dd>${span((Date.parse(batch.eta) - Date.now()) / 1_000)}</dd>
      </div>`
    }
  </dl>`;
}

function Dates({ batch }) {
  const rows = [
    ["Accepted", batch.created_at],
    ["To start", batch.send_at],
    ["Started", batch.started_at],
    ["Finished", batch.finished_at],
  ].filter(([, at]) => at);
  return html`<dl class="dates">
    ${rows.map(
      ([name, at]) => html`<div>
        <dt>${name}</dt>
        <dd><${Time} at=${at} /></dd>
      </div>`,
    )}
  </dl>`;
}

function Rate({ batch }) {
  const [live, setLive] = useState([]);
  const [whole, setWhole] = useState(null);
  const [problem, setProblem] = useState(null);
  const [wanted, setWanted] = useState(false);
  const ended = isFinished(batch);
  const few = batch.delivered <= FEW;

  useEffect(() => {
    setLive(note(batch));
  }, [batch]);

  useEffect(() => {
    setWhole(null);
    if (!ended || batch.delivered === 0 || !(few || wanted)) return undefined;
    const stop = new AbortController();
    fromRecipients(batch.id, stop.signal)
      .then(setWhole)
      .catch((found) => stop.signal.aborted || setProblem(found));
    return () => stop.abort();
  }, [batch.id, ended, batch.delivered, wanted]);

  const points = whole ?? live;
  return html`<section class="card">
    <h2>Recipients per second</h2>
    ${problem && html`<${Notice} kind=${problem.status === 404 ? "info" : "bad"}>${whyNotListed(problem)}<//>`}
    ${points.length > 1 ? html`<${RatePlot} key=${whole ? "whole" : "live"} points=${points} />` : ""}
    ${points.length <= 1 && !problem && html`<p class="hint">${emptyPlot(batch, ended)}</p>`}
    ${
      ended &&
      !few &&
      !whole &&
      html`<button disabled=${wanted} onClick=${() => setWanted(true)}>
        ${wanted ? "Reading…" : `Draw it from the times of all ${people(batch.delivered)}`}
      </button>`
    }
  </section>`;
}

function emptyPlot(batch, ended) {
  if (ended && batch.delivered === 0) return "Nothing was delivered.";
  if (ended) return "Reading the times of the deliveries…";
  return batch.state === "scheduled" ? "Drawn once it has started." : "Drawn while it is being sent.";
}

function Unreached({ batch }) {
  const [saving, setSaving] = useState(false);
  const [problem, setProblem] = useState(null);

  const save = async () => {
    setSaving(true);
    setProblem(null);
    try {
      const path = `conversations/batches/${batch.id}/recipients`;
      const answer = await open("GET", path, { headers: { Accept: "text/csv" } });
      download(await answer.blob(), `batch-${batch.id}.csv`);
      announce("The list of recipients is downloaded.");
    } catch (found) {
      setProblem(found);
    } finally {
      setSaving(false);
    }
  };

  return html`<section class="card">
    <div class="heading">
      <h2>Who did not get it</h2>
      <button disabled=${saving} onClick=${save}>${saving ? "Downloading…" : "All recipients as CSV"}</button>
    </div>
    ${problem && html`<${Notice} kind="bad">The list could not be downloaded: ${whyNotListed(problem)}<//>`}
    ${
      batch.failed + batch.skipped === 0 &&
      html`<p class="hint">${isFinished(batch) ? "Everybody has it." : "So far, no recipient has failed or was skipped."}</p>`
    }
    ${["failed", "skipped"].map(
      (state) =>
        batch[state] > 0 &&
        html`<${Recipients} key=${state} batch=${batch.id} state=${state} total=${batch[state]} />`,
    )}
  </section>`;
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Changes of state, every quarter of the way, and a lost connection are read out; single deliveries are not. */
function useAnnouncements(batch, way) {
  const quarter = batch && batch.total ? Math.floor((4 * done(batch)) / batch.total) : 0;
  useEffect(() => {
    if (batch) announce(`${STATES[batch.state]}: ${inWords(batch)}`);
  }, [batch?.state, quarter]);
  const [before, setBefore] = useState(way);
  useEffect(() => {
    if (before === "lost" && way !== "lost") announce("The connection is back.");
    setBefore(way);
  }, [way]);
}
