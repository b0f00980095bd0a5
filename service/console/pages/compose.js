// Writing a message. It can be sent once it was previewed as it is; any change asks for a new preview.
import { html, useEffect, useId, useRef, useState } from "../html.js";
import { ask } from "../api.js";
import {
  FILES_PATTERN,
  KINDS,
  codeOf,
  contextOf,
  coursesOf,
  currentDraft,
  emptyDraft,
  keepDraft,
  newKey,
  requestOf,
} from "../draft.js";
import { count, latestStart, localInput, moment, people, zone } from "../format.js";
import { announce } from "../parts/announcer.js";
import { RecipientsBox } from "../parts/recipients_box.js";
import { Notice, Title } from "../parts/small.js";

const MOST_BODY = 65_535;
const MOST_SUBJECT = 255;

/** `onBatch(id, words)` when a batch was accepted. */
export function Compose({ onBatch }) {
  const [draft, setDraft] = useState(currentDraft);
  const [preview, setPreview] = useState(null);
  const [problem, setProblem] = useState(null);
  const [sent, setSent] = useState(null);
  const [busy, setBusy] = useState("");
  const wanted = useRef(null); // the draft that the last preview was asked for
  const form = useRef(null);

  const change = (changes) => {
    const changed = { ...draft, ...changes, key: newKey() };
    setDraft(changed);
    keepDraft(changed);
    wanted.current = null;
    setPreview(null);
    setProblem(null);
    setSent(null);
  };

  const look = async (event) => {
    event.preventDefault();
    wanted.current = draft;
    setBusy("preview");
    setProblem(null);
    setPreview(null);
    try {
      const { body } = await ask("POST", "conversations", { body: { ...requestOf(draft), dry_run: true } });
      if (wanted.current === draft) setPreview(body);
    } catch (found) {
      if (wanted.current === draft) setProblem(found.message);
    } finally {
      setBusy("");
    }
  };

  const send = async () => {
    // A date of which a part is missing has no value yet: it would go out now.
    if (!form.current.reportValidity()) return;
    setBusy("send");
    setProblem(null);
    try {
      const headers = { "Idempotency-Key": draft.key };
      const answer = await ask("POST", "conversations", { body: requestOf(draft), headers });
      const fresh = emptyDraft();
      keepInstead(fresh);
      const batch = answer.headers.get("X-Conversation-Batch-Id");
      if (batch) {
        onBatch(batch, `${draft.at ? "Scheduled" : "Accepted"} for ${people(preview.total)}.`);
        return;
      }
      setDraft(fresh);
      setPreview(null);
      setSent(`The message is delivered to ${people(preview.total)}.`);
    } catch (found) {
      setProblem(afterFailure(found));
      if (!mayBeAccepted(found)) renew();
    }
    setBusy("");
  };

  // A refusal is answered again under its key, also when its reason is gone.
  const renew = () => {
    const renewed = { ...draft, key: newKey() };
    setDraft(renewed);
    keepInstead(renewed);
  };

  // The page may have been left meanwhile, and another message been begun.
  const keepInstead = (next) => {
    if (currentDraft() === draft) keepDraft(next);
  };

  return html`<${Title} tab="New message">New message<//>
    ${sent && html`<${Notice} kind="good"><span role="status">${sent}</span><//>`}
    <form class="card compose" ref=${form} onSubmit=${look}>
      <fieldset disabled=${busy === "send"}>
        <legend class="unseen">Message</legend>
        <${RecipientsBox} chosen=${draft.recipients} onChange=${(recipients) => change({ recipients })} />
        <${Text} draft=${draft} change=${change} />
        <${Files} draft=${draft} change=${change} />
        <${Kind} draft=${draft} change=${change} />
        <${When} draft=${draft} change=${change} />
        <button class=${preview ? "" : "main"} disabled=${busy !== "" || !isWhole(draft)}>
          ${busy === "preview" ? "Looking…" : "Preview"}
        </button>
        ${!isWhole(draft) && html`<span class="hint beside">Needs a recipient and a text.</span>`}
      </fieldset>
    </form>
    ${problem && html`<${Notice} kind="bad">${problem}<//>`}
    ${preview && html`<${Preview} preview=${preview} draft=${draft} busy=${busy === "send"} onSend=${send} />`}`;
}

const isWhole = (draft) => draft.recipients.length > 0 && draft.body.trim() !== "";

const mayBeAccepted = (problem) => problem.status === 0 || problem.status >= 500 || problem.status === 409;

function afterFailure(problem) {
  return mayBeAccepted(problem)
    ? `${problem.message} It is not known whether the message was accepted. You can send it again: it goes out once.`
    : `It was not sent. ${problem.message}`;
}

function Text({ draft, change }) {
  const [subject, body, context] = [useId(), useId(), useId()];
  const courses = coursesOf(draft);
  return html`<label for=${subject}>Subject <span class="quiet">(optional)</span></label>
    <input
      id=${subject}
      type="text"
      maxlength=${MOST_SUBJECT}
      autocomplete="off"
      value=${draft.subject}
      onInput=${(event) => change({ subject: event.target.value })}
    />
    <label for=${body}>Message</label>
    <textarea
      id=${body}
      rows="7"
      maxlength=${MOST_BODY}
      value=${draft.body}
      onInput=${(event) => change({ body: event.target.value })}
    ></textarea>
    ${
      courses.length > 0 &&
      html`<label for=${context}>About</label>
        <select
          id=${context}
          value=${contextOf(draft)}
          onChange=${(event) => change({ context: event.target.value })}
        >
          ${courses.map((each) => html`<option value=${each.code}>${each.name}</option>`)}
          <option value="">No course</option>
        </select>`
    }`;
}

function Files({ draft, change }) {
  const [field, hint] = [useId(), useId()];
  return html`<label for=${field}>Attachments <span class="quiet">(optional)</span></label>
    <input
      id=${field}
      type="text"
      inputmode="numeric"
      autocomplete="off"
      pattern=${FILES_PATTERN}
      title="Numbers, with commas or spaces between them"
      aria-describedby=${hint}
      value=${draft.files}
      onInput=${(event) => change({ files: event.target.value })}
    />
    <p class="hint" id=${hint}>
      Numbers of files in your Canvas folder “conversation attachments”: a file's address ends with its number. Any other
      number is left out.
    </p>`;
}

function Kind({ draft, change }) {
  const name = useId();
  return html`<fieldset class="choices">
    <legend>Deliver as</legend>
    ${Object.entries(KINDS).map(
      ([kind, { label, hint }]) => html`<div key=${kind}>
        <input
          id=${`${name}-${kind}`}
          type="radio"
          name=${name}
          value=${kind}
          checked=${draft.kind === kind}
          aria-describedby=${`${name}-${kind}-hint`}
          onChange=${() => change({ kind })}
        />
        <label for=${`${name}-${kind}`}>${label}</label>
        <p class="hint" id=${`${name}-${kind}-hint`}>${hint}</p>
      </div>`,
    )}
  </fieldset>`;
}

function When({ draft, change }) {
  const field = useId();
  const hint = useId();
  return html`<label for=${field}>Send at <span class="quiet">(empty: now)</span></label>
    <input
      id=${field}
      type="datetime-local"
      aria-describedby=${hint}
      min=${localInput(new Date())}
      max=${localInput(latestStart())}
      value=${draft.at}
      onInput=${(event) => change({ at: event.target.value })}
    />
    <p class="hint" id=${hint}>Your time zone: ${zone}</p>`;
}

const FORMS = {
  private: "one private thread",
  bulk_private: "a private thread with each",
  group: "one group conversation",
  bulk_separate: "a new conversation with each",
};
const REASONS = {
  unknown: "is not known",
  not_reachable: "cannot be written to by you",
  deleted: "was deleted",
  yourself: "is yourself",
  malformed: "is not written correctly",
};

function Preview({ preview, draft, busy, onSend }) {
  const heading = useRef(null);
  useEffect(() => {
    heading.current.focus();
    announce(`Preview: ${people(preview.total)}, ${count(preview.rejected_count)} rejected`);
  }, [preview]);
  const names = new Map(draft.recipients.map((each) => [codeOf(each), each.name]));
  const cells = [
    ["people", preview.total],
    ["new conversations", preview.new_conversations],
    ["existing threads", preview.reused_conversations],
    ["rejected", preview.rejected_count],
  ];
  return html`<section class="card preview">
    <h2 ref=${heading} tabindex="-1">Preview</h2>
    <dl class="counts">
      ${cells.map(
        ([name, number]) => html`<div class=${name === "rejected" && number > 0 ? "alarm" : ""}>
          <dt>${name}</dt>
          <dd>${count(number)}</dd>
        </div>`,
      )}
    </dl>
    <p>${inWords(preview, draft)} Nothing is sent yet.</p>
    ${preview.rejected_count > 0 && html`<${Rejected} preview=${preview} names=${names} />`}
    ${
      preview.total > 0
        ? html`<button class="main" disabled=${busy} onClick=${onSend}>${busy ? "Sending…" : sendLabel(preview, draft)}</button>`
        : html`<${Notice} kind="bad">There is nobody to send it to.<//>`
    }
  </section>`;
}

function inWords(preview, draft) {
  const most = preview.limit === null ? "" : ` (at most ${people(preview.limit)})`;
  return `As ${FORMS[preview.kind]}${most}, ${draft.at ? `on ${moment(draft.at)}` : "now"}.`;
}

const sendLabel = (preview, draft) => `${draft.at ? "Schedule for" : "Send to"} ${people(preview.total)}`;

function Rejected({ preview, names }) {
  return html`<h3 class="failed">${count(preview.rejected_count)} rejected</h3>
    <ul class="rejected">
      ${preview.rejected.map(
        ({ recipient, reason }) =>
          html`<li key=${recipient}>${names.get(recipient) ?? recipient} ${REASONS[reason] ?? reason}</li>`,
      )}
    </ul>
    ${
      preview.rejected_count > preview.rejected.length &&
      html`<p class="hint">The first ${count(preview.rejected.length)} are shown.</p>`
    }`;
}
