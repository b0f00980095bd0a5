// A question before something is done. The browser's own dialog keeps the focus inside, and gives it back.
import { html, useEffect, useId, useRef } from "../html.js";

/** `onClose` is called whichever way it closes; `onAgree` before that, when the answer is yes. */
export function Dialog({ title, agree, danger = false, blocked = false, onAgree, onClose, children }) {
  const dialog = useRef(null);
  const name = useId();
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const submit = (event) => {
    event.preventDefault();
    onAgree();
    dialog.current.close();
  };
  return html`<dialog ref=${dialog} aria-labelledby=${name} onClose=${onClose}>
    <form onSubmit=${submit}>
      <h2 id=${name}>${title}</h2>
      ${children}
      <div class="actions">
        <button type="button" onClick=${() => dialog.current.close()}>Not now</button>
        <button class=${danger ? "danger" : "main"} disabled=${blocked}>${agree}</button>
      </div>
    </form>
  </dialog>`;
}
