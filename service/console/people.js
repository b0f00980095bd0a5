// Names of people by id, where the caller may know them; each is asked for once, one after the other.
import { ask } from "./api.js";

const names = new Map();
let turn = Promise.resolve();

/** The name, or null where the caller does not find this person. */
export function nameOf(id) {
  if (!names.has(id)) {
    turn = turn.then(() => lookUp(id));
    names.set(id, turn);
  }
  return names.get(id);
}

export function forgetNames() {
  names.clear();
}

async function lookUp(id) {
  try {
    const { body } = await ask("GET", "search/recipients", { query: { user_id: id } });
    return body[0]?.full_name ?? null;
  } catch {
    return null;
  }
}
