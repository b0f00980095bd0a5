// The token is asked for, tried, and kept in memory only.
import { html, useEffect, useId, useRef, useState } from "../html.js";
import { Notice } from "../parts/small.js";

export function SignIn({ why, onToken }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const input = useRef(null);
  const field = useId();
  const hint = useId();

  useEffect(() => {
    document.title = "Sign in · Clarion";
    input.current.focus();
  }, []);

  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await onToken(token.trim());
    } catch (found) {
      setProblem(found);
      setBusy(false);
      input.current.select();
    }
  };

  return html`<main class="sign-in" id="main">
    <form class="card" onSubmit=${submit}>
      <h1><img src="console/icon.svg" alt="" width="32" height="32" /> Clarion</h1>
      ${why && !problem && html`<${Notice} kind="bad">${why}<//>`}
      ${problem && html`<${Notice} kind="bad">${refusal(problem)}<//>`}
      <label for=${field}>Access token</label>
      <input
        id=${field}
        ref=${input}
        type="password"
        required
        autocomplete="off"
        spellcheck=${false}
        aria-describedby=${hint}
        value=${token}
        onInput=${(event) => setToken(event.target.value)}
      />
      <p class="hint" id=${hint}>From your administrator. It is kept in this tab only, and gone when you close it.</p>
      <button class="main" disabled=${busy}>${busy ? "Signing in…" : "Sign in"}</button>
    </form>
  </main>`;
}

const refusal = (problem) => (problem.status === 401 ? `This token does not work: ${problem.message}` : problem.message);
