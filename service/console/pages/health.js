// For operators: what this gateway says of itself on /readyz and /metrics. Nothing can be changed here.
import { html, useEffect, useState } from "../html.js";
import { look } from "../api.js";
import { parseFigures } from "../figures.js";
import { rate, span } from "../format.js";
import { announce } from "../parts/announcer.js";
import { Installation, troublesOf } from "../parts/installation.js";
import { Notice, Title, Waiting } from "../parts/small.js";

const PERIOD = 5_000; // milliseconds

const HERE = /http_requests_(?:open|throttled)|batch_streams|batches_accepted|recipients_delivered|pool_(?:waiting|timeouts)|slow/;
const PARTS = {
  database: "The database is away",
  schema: "The database has another schema than this release needs",
  draining: "This gateway is stopping",
  broker: "RabbitMQ cannot be used; what is sent is accepted and waits",
  topology: "Exchanges or queues are not as they should be",
};

export function Health({ user }) {
  const [report, setReport] = useState(null);
  const [figures, setFigures] = useState(null);
  const [problem, setProblem] = useState(null);

  useEffect(() => {
    let timer = null;
    let stopped = false;
    const load = async () => {
      try {
        const [ready, metrics] = await Promise.all([look("readyz"), look("metrics")]);
        if (stopped) return;
        setReport(JSON.parse(ready.text));
        setFigures(metrics.status === 200 ? parseFigures(metrics.text) : new Map());
        setProblem(null);
      } catch (found) {
        if (!stopped) setProblem(found);
      }
      if (!stopped) timer = setTimeout(load, PERIOD);
    };
    if (user.account_admin) load();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, []);

  useEffect(() => {
    if (report) announce(`Health: ${report.status}`);
  }, [report?.status]);

  if (!user.account_admin) {
    return html`<${Title} tab="Health">Health<//><${Notice}>This page is for administrators of the account.<//>`;
  }
  return html`<${Title} tab="Health">Health<//>
    ${problem && html`<${Notice} kind="bad">${problem.message ?? String(problem)} Trying again…<//>`}
    ${!report && !problem && html`<${Waiting} />`}
    ${report && figures && html`<${Readiness} report=${report} figures=${figures} />`}
    ${figures && (figures.size ? html`<${Figures} figures=${figures} />` : html`<${Elsewhere} />`)}`;
}

const Elsewhere = () =>
  html`<${Notice}>
    This gateway does not answer /metrics here: with CLARION_METRICS_PORT set its figures, also of queues, dead letters, relay
    and workers, are on a port of their own, which a browser cannot read from this page.
  <//>`;

function Readiness({ report, figures }) {
  const troubles = troublesOf(figures);
  const ok = figures.size && !troubles.length ? "Everything is in order" : "This gateway is in order";
  const words = { ok, degraded: "Serving, without some of its parts", unavailable: "Not serving" };
  const parts = [...(report.failing ?? []), ...(report.degraded ?? [])];
  const details = [report.broker, report.missing, report.topology].flat().filter(Boolean);
  return html`<section class="card" aria-label="Readiness">
    <p class="figure">
      <span class=${`state health-${report.status}`}>${report.status}</span>
      <span>${words[report.status] ?? ""}</span>
    </p>
    ${parts.length > 0 && html`<ul>${parts.map((part) => html`<li>${PARTS[part] ?? part}</li>`)}</ul>`}
    ${troubles.length > 0 && html`<ul class="troubles">${troubles.map((words) => html`<li>${words}</li>`)}</ul>`}
    ${details.length > 0 && html`<pre class="body">${details.join("\n")}</pre>`}
  </section>`;
}

function Figures({ figures }) {
  const own = [...figures.values()].filter(({ name }) => name.startsWith("clarion_") && HERE.test(name));
  return html`<${Installation} figures=${figures} />
    <section class="card">
      <h2>This gateway</h2>
      <${Table} families=${own} caption="This gateway" />
      <p class="hint">As this one gateway counts since it started.</p>
    </section>
    <details class="card">
      <summary>All figures of this gateway</summary>
      <${Table} families=${[...figures.values()]} caption="All figures" />
    </details>`;
}

function Table({ families, caption }) {
  return html`<table class="figures">
    <caption class="unseen">${caption}</caption>
    <thead class="unseen">
      <tr>
        <th scope="col">Figure</th>
        <th scope="col">Value</th>
      </tr>
    </thead>
    <tbody>
      ${families.flatMap((family) =>
        family.samples.map(
          ({ labels, value }) => html`<tr>
            <th scope="row" title=${family.name}>
              ${family.help || family.name}
              ${Object.keys(labels).length > 0 && html` <span class="quiet">${Object.values(labels).join(" · ")}</span>`}
            </th>
            <td>${written(family.name, labels, value)}</td>
          </tr>`,
        ),
      )}
    </tbody>
  </table>`;
}

function written(name, labels, value) {
  if (!Number.isFinite(value)) return "–";
  return /_seconds$/.test(name) && labels.of !== "count" && value >= 1 ? span(value) : rate(value);
}
