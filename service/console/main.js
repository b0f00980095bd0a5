// The start, and the frame around every page: who is signed in, where one is, and the way to the other pages.
import { html, render, useEffect, useState } from "./html.js";
import { Problem, ask, useToken } from "./api.js";
import { claimDraft, isBegun } from "./draft.js";
import { zone } from "./format.js";
import { forgetNames } from "./people.js";
import { forgetRates } from "./rate_history.js";
import { Batch } from "./pages/batch.js";
import { Batches } from "./pages/batches.js";
import { Compose } from "./pages/compose.js";
import { Health } from "./pages/health.js";
import { SignIn } from "./pages/sign_in.js";
import { REGION } from "./parts/announcer.js";
import { Waiting } from "./parts/small.js";

/** A token that came in the fragment. It leaves the address, and the history, before anything else is done. */
function tokenFromAddress() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return found[1]; // a lone % is no reason to show nothing at all
  }
}

const firstToken = tokenFromAddress();

function Console() {
  const [user, setUser] = useState(null);
  const [trying, setTrying] = useState(firstToken !== null);
  const [why, setWhy] = useState("");
  const [place, setPlace] = useState(placeInAddress);
  const [news, setNews] = useState(null); // words for the next page

  const signOut = (reason) => {
    useToken("");
    forgetNames();
    forgetRates();
    setUser(null);
    setWhy(reason);
  };
  const signIn = async (token) => {
    // No header can carry it, and the browser would say so as if there were no connection.
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Problem(401, "it has characters that no token has.");
    useToken(token);
    try {
      const who = await self();
      claimDraft(who.id);
      useToken(token, (words) => signOut(`Please sign in again: ${words}`));
      setWhy("");
      setUser(who);
    } catch (problem) {
      useToken("");
      throw problem;
    }
  };
  const tryToken = (token) => {
    setTrying(true);
    return signIn(token)
      .catch((problem) => signOut(`The token in the address does not work: ${problem.message}`))
      .finally(() => setTrying(false));
  };

  useEffect(() => {
    if (firstToken !== null) tryToken(firstToken);
    const moved = () => {
      const token = tokenFromAddress();
      if (token !== null) tryToken(token);
      const next = placeInAddress();
      setPlace(next);
      setNews((last) => (last?.id === next.id ? last : null));
    };
    const leaving = (event) => {
      if (isBegun()) event.preventDefault();
    };
    window.addEventListener("hashchange", moved);
    window.addEventListener("beforeunload", leaving);
    return () => {
      window.removeEventListener("hashchange", moved);
      window.removeEventListener("beforeunload", leaving);
    };
  }, []);

  if (trying) return html`<main id="main"><${Waiting} /></main>`;
  if (!user) return html`<${SignIn} why=${why} onToken=${signIn} />`;

  const open = (id, words) => {
    setNews({ id, words });
    location.hash = `#/batches/${id}`;
  };
  const leave = () => {
    claimDraft(null);
    signOut("");
    history.replaceState(null, "", location.pathname + location.search);
    setPlace(placeInAddress());
  };
  return html`<${Frame} user=${user} place=${place} onLeave=${leave}>
    ${place.page === "batches" && html`<${Batches} />`}
    ${
      place.page === "batch" &&
      html`<${Batch} key=${place.id} id=${place.id} news=${news?.id === place.id ? news.words : ""} />`
    }
    ${place.page === "compose" && html`<${Compose} onBatch=${open} />`}
    ${place.page === "health" && html`<${Health} user=${user} />`}
  <//>`;
}

function placeInAddress() {
  const [, page, id] = /^#\/(\w+)(?:\/(\d+))?$/.exec(location.hash) ?? [];
  if (page === "batches" && id) return { page: "batch", id };
  return { page: ["compose", "health"].includes(page) ? page : "batches" };
}

/** A token that is limited to some routes may not ask who its user is, and is good for the others all the same. */
async function self() {
  try {
    return (await ask("GET", "users/self", { query: { "include[]": "account_admin" } })).body;
  } catch (problem) {
    if (problem.status === 401 && /scope/i.test(problem.message)) return { id: null, name: "Limited token" };
    throw problem;
  }
}

function Frame({ user, place, onLeave, children }) {
  const pages = [
    ["batches", "Batches"],
    ["compose", "New message"],
    ...(user.account_admin ? [["health", "Health"]] : []),
  ];
  const here = place.page === "batch" ? "batches" : place.page;
  const skip = (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  };
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header>
      <a class="brand" href="#/batches"><img src="console/icon.svg" alt="" width="28" height="28" /> Clarion</a>
      <nav aria-label="Pages of the console">
        ${pages.map(
          ([page, label]) =>
            html`<a href=${`#/${page}`} aria-current=${here === page ? "page" : undefined}>${label}</a>`,
        )}
      </nav>
      <span class="who">${user.name || `User ${user.id}`}</span>
      <button onClick=${onLeave}>Sign out</button>
    </header>
    <main id="main" tabindex="-1">${children}</main>
    <footer>Times are in ${zone}. The token is kept in this tab only.</footer>
    <div id=${REGION} class="unseen" role="status" aria-live="polite"></div>`;
}

const root = document.getElementById("page");
root.textContent = "";
render(html`<${Console} />`, root);
