// What a screen reader says without being asked: one polite live region for the whole page.

/** The element is made once, by the page's frame. */
export const REGION = "announcements";

let last = "";

export function announce(text) {
  const region = document.getElementById(REGION);
  if (!region) return;
  // The same words once more are only read when the text differs.
  region.textContent = text === last ? `${text}\u00a0` : text;
  last = region.textContent;
}
