// Numbers and times as the viewer writes them, in the viewer's zone.

const COUNT = new Intl.NumberFormat(undefined, { useGrouping: "always", maximumFractionDigits: 0 });
const RATE = new Intl.NumberFormat(undefined, { useGrouping: "always", maximumSignificantDigits: 3 });
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;

export const count = (number) => COUNT.format(number);
export const rate = (number) => (number >= 100 ? COUNT : RATE).format(number);
export const moment = (iso) => SHORT.format(new Date(iso));
export const wholeMoment = (iso) => LONG.format(new Date(iso));

/** "1 person", "10,000 people" */
export const people = (number) => `${count(number)} ${number === 1 ? "person" : "people"}`;

/** Seconds as "12 s", "3 min 5 s", "2 h 10 min". */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${count(Math.floor(whole / 3600))} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** What an <input type="datetime-local"> shows for a time. */
export function localInput(date) {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
}

/** The latest time for which a message can be kept (LONGEST in service/domain/schedule.py). */
export const latestStart = () => new Date(Date.now() + 366 * 86_400_000);

/** The beginning of a text, in one line: whole characters, of which some are two to JavaScript. */
export function opening(text, length = 90) {
  const line = [...text.replace(/\s+/g, " ").trim()];
  return line.length > length ? `${line.slice(0, length - 1).join("")}…` : line.join("") || "(no text)";
}
