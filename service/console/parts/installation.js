// What waits in the installation, and who works on it, as a gateway has found it when it was asked (figures.js).
import { html } from "../html.js";
import { count, span } from "../format.js";

const KINDS = {
  recipients: "Recipients of bulk sends",
  scheduled: "Sends whose time has come",
  replies: "Replies in large conversations",
  updates: "Batch updates",
  events: "Events for other systems",
  audits: "Bulk sends to be audited",
};
const STUCK = {
  sending: "Batches that are sending",
  scheduled: "Batches that should have started",
  cancelled: "Batches that were cancelled",
  replies: "Replies in large conversations",
  updates: "Batch updates",
  events: "Lanes of events",
};

/** What an operator has to look at although the gateway serves, each in a line. */
export function troublesOf(figures) {
  const dead = deadLetters(valuesOf(figures, "clarion_queue_messages", "queue"));
  const stuck = valuesOf(figures, "clarion_stuck", "kind");
  return [
    ...idle(valuesOf(figures, "clarion_queue_consumers", "queue")).map((queue) => `No worker takes from ${queue}`),
    ...(dead > 0 ? [`Dead letters that wait for an operator: ${count(dead)}`] : []),
    ...Object.entries(STUCK).flatMap(([kind, words]) =>
      stuck.get(kind) > 0 ? [`Standing still: ${words[0].toLowerCase()}${words.slice(1)} (${count(stuck.get(kind))})`] : [],
    ),
  ];
}

export function Installation({ figures }) {
  const by = (name, label) => valuesOf(figures, name, label);
  const messages = by("clarion_queue_messages", "queue");
  return html`<div class="chapters">
    <${Backlog} sizes=${by("clarion_backlog", "kind")} ages=${by("clarion_backlog_age_seconds", "kind")} />
    <${Queues} messages=${messages} consumers=${by("clarion_queue_consumers", "queue")} />
    <${DeadLetters} messages=${messages} />
    <${Relay} lag=${by("clarion_outbox_lag_seconds").get("")} />
    <${Stuck} counts=${by("clarion_stuck", "kind")} />
  </div>`;
}

function Backlog({ sizes, ages }) {
  return html`<section class="card">
    <h2>What waits, and its age</h2>
    <${Grid}
      caption="Accepted and not done"
      columns=${["Accepted and not done", "Waiting", "The first for"]}
      rows=${Object.entries(KINDS).map(([kind, words]) => [words, size(sizes.get(kind)), age(ages.get(kind))])}
    />
    <${Unknown} values=${sizes} source="the database" />
  </section>`;
}

function Queues({ messages, consumers }) {
  const unattended = idle(consumers);
  return html`<section class="card">
    <h2>Queues and workers</h2>
    <${Grid}
      caption="Queues, with the messages that wait and the workers that take them"
      columns=${["Queue", "Messages", "Workers"]}
      rows=${worked(messages).map(([queue, value, name]) => [queue, size(value), size(consumers.get(name))])}
    />
    ${
      unattended.length > 0 &&
      html`<p class="hint bad">No worker for ${unattended.join(", ")}: what comes there waits.</p>`
    }
    <${Unknown} values=${messages} source="RabbitMQ" />
    <p class="hint">
      What a worker has taken and not done yet is no longer among the messages. The relay, audits and retention have no queue.
    </p>
  </section>`;
}

function DeadLetters({ messages }) {
  return html`<section class="card">
    <h2>Dead letters</h2>
    <${Grid}
      caption="Dead letters"
      columns=${["Could not be handled", "Messages"]}
      rows=${[["Dead letters that wait for an operator", size(deadLetters(messages))]]}
    />
    <p class="hint">
      ${"Only counted here: "}<code>clarion dead list</code>${" names them with their reasons, "}<code>clarion dead requeue</code>${" brings them back."}
    </p>
  </section>`;
}

function Relay({ lag }) {
  return html`<section class="card">
    <h2>Events and their relay</h2>
    <${Grid}
      caption="Relay of events"
      columns=${["Behind", "For"]}
      rows=${[["The oldest event that is not published", lag === 0 ? "none waits" : age(lag)]]}
    />
  </section>`;
}

function Stuck({ counts }) {
  const standing = Object.entries(STUCK).filter(([kind]) => counts.get(kind) !== 0);
  return html`<section class="card">
    <h2>What stands still</h2>
    ${
      standing.length > 0
        ? html`<${Grid}
              caption="Stuck"
              columns=${["Stuck", "Number"]}
              rows=${standing.map(([kind, words]) => [words, size(counts.get(kind))])}
            />
            <p class="hint"><code>clarion batch list --stuck</code>${" names batches, with the reason."}</p>`
        : html`<p>Nothing.</p>`
    }
    <${Unknown} values=${counts} source="the database" />
  </section>`;
}

/** [name without the installation's prefix, value, name] of each queue that workers consume from. */
const worked = (queues) =>
  [...queues].filter(([queue]) => !isDead(queue)).map(([queue, value]) => [queue.slice(prefix(queues).length), value, queue]);
const idle = (consumers) => worked(consumers).flatMap(([queue, value]) => (value === 0 ? [queue] : []));
const deadLetters = (messages) => [...messages].find(([queue]) => isDead(queue))?.[1];
const isDead = (queue) => queue.endsWith(".dead");
const prefix = (queues) => ([...queues.keys()].find(isDead) ?? "dead").slice(0, -"dead".length);

/** The values of one figure, by that label. */
const valuesOf = (figures, name, label) =>
  new Map((figures.get(name)?.samples ?? []).map(({ labels, value }) => [label ? labels[label] : "", value]));

const known = (value) => Number.isFinite(value);
const size = (value) => (known(value) ? count(value) : "not known");
const age = (value) => (known(value) ? (value > 0 ? span(value) : "–") : "not known");

function Unknown({ values, source }) {
  return [...values.values()].every(known) ? null : html`<p class="hint bad">This gateway cannot ask ${source} about all of it.</p>`;
}

function Grid({ caption, columns, rows }) {
  return html`<table class="figures">
    <caption class="unseen">${caption}</caption>
    <thead>
      <tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr>
    </thead>
    <tbody>
      ${rows.map(
        ([name, ...values]) => html`<tr>
          <th scope="row">${name}</th>
          ${values.map((value) => html`<td>${value}</td>`)}
        </tr>`,
      )}
    </tbody>
  </table>`;
}
