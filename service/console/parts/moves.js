// The moves that the state of a batch allows, as buttons that ask first.
import { html, useEffect, useId, useState } from "../html.js";
import { ask } from "../api.js";
import { done, movesOf } from "../batch_state.js";
import { latestStart, localInput, people, zone } from "../format.js";
import { announce } from "./announcer.js";
import { Dialog } from "./dialog.js";

/** `onMoved(batch, words)` after a move; `onFailed(problem, move)` when the service refused it. */
export function Moves({ batch, onMoved, onFailed }) {
  const [asked, setAsked] = useState(null);
  const [under, setUnder] = useState(null);

  // The button that was pressed may be gone with the state: who was on it goes on from the heading.
  useEffect(() => {
    if (under === null && document.activeElement === document.body) document.querySelector("main h1")?.focus();
  }, [under, batch.state]);

  const make = async (move, at) => {
    setUnder(move.name);
    const path = `conversations/batches/${batch.id}`;
    try {
      const { body } = at
        ? await ask("PUT", path, { body: { send_at: at.toISOString() } })
        : await ask("POST", `${path}/${move.name}`);
      announce(move.past);
      onMoved(body, move.past);
    } catch (problem) {
      onFailed(problem, move);
    } finally {
      setUnder(null);
    }
  };

  const moves = movesOf(batch);
  if (!moves.length && !asked) return null;
  return html`<div class="moves" role="group" aria-label="What you can do with this batch">
    ${moves.map(
      (move) => html`<button
        key=${move.name}
        class=${move.danger ? "danger quiet" : move.main ? "main" : ""}
        disabled=${under !== null}
        onClick=${() => setAsked(move)}
      >
        ${under === move.name ? "One moment…" : move.label}
      </button>`,
    )}
    ${asked && html`<${Question} move=${asked} batch=${batch} onAgree=${make} onClose=${() => setAsked(null)} />`}
  </div>`;
}

function Question({ move, batch, onAgree, onClose }) {
  const timed = move.name === "reschedule";
  const [before] = useState(() => localInput(new Date(batch.send_at ?? Date.now())));
  const [at, setAt] = useState(before);
  const field = useId();
  const left = people(batch.total - done(batch));
  // The field shows no seconds, nor which of the two it is where an hour comes twice: unchanged, the time stays.
  const chosen = () => new Date(at === before ? batch.send_at : at);
  return html`<${Dialog}
    title=${move.question}
    agree=${move.label}
    danger=${move.danger}
    blocked=${timed && !at}
    onAgree=${() => onAgree(move, timed ? chosen() : null)}
    onClose=${onClose}
  >
    ${
      timed
        ? html`<label for=${field}>Start at</label>
            <input
              id=${field}
              type="datetime-local"
              required
              min=${localInput(new Date())}
              max=${localInput(latestStart())}
              value=${at}
              onInput=${(event) => setAt(event.target.value)}
            />
            <p class="hint">Your time zone: ${zone}</p>`
        : html`<p>${move.text(left, people(batch.failed))}</p>`
    }
  <//>`;
}
