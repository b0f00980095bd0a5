// Two buttons through the pages of a list, the newest first.
import { html } from "../html.js";

export function Pager({ page, previous, next, onPage }) {
  if (!previous && !next) return null;
  return html`<nav class="pager" aria-label="Pages">
    <button disabled=${!previous} onClick=${() => onPage(previous, page - 1)}>Previous page</button>
    <span>Page ${page}</span>
    <button disabled=${!next} onClick=${() => onPage(next, page + 1)}>Next page</button>
  </nav>`;
}
