// Choosing recipients: a combobox over /search/recipients (WAI-ARIA's pattern), and what is chosen as a list.
import { html, useEffect, useId, useRef, useState } from "../html.js";
import { ask } from "../api.js";
import { codeOf } from "../draft.js";
import { people } from "../format.js";
import { announce } from "./announcer.js";

const TYPING = 200; // milliseconds without a key until it is searched
const MOST = 12;
const CODE = /^(?:\d+|(?:course|section|group)_\d+(?:_[a-z]+)?|differentiation_tag_\d+|uuid:\S+)$/;
const ROLES = { "": "Everybody", students: "Students", teachers: "Teachers", tas: "TAs", observers: "Observers" };

export function RecipientsBox({ chosen, onChange, invalid }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const [active, setActive] = useState(-1);
  const input = useRef(null);
  const id = useId();
  const known = chosen.map((each) => each.code);

  useEffect(() => {
    setActive(-1);
    setProblem(null);
    if (!text.trim()) {
      setFound(null);
      return undefined;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      find(text.trim(), known, stop.signal)
        .then((options) => {
          setFound(options);
          setActive(options.length ? 0 : -1);
          announce(options.length ? `${options.length} found` : "Nothing found");
        })
        .catch((error) => stop.signal.aborted || setProblem(error));
    }, TYPING);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [text]);

  const choose = (option) => {
    onChange([...chosen, option]);
    announce(`${option.name} added`);
    setText("");
    input.current.focus();
  };
  const remove = (option) => {
    onChange(chosen.filter((each) => each !== option));
    announce(`${option.name} removed`);
    input.current.focus();
  };
  const press = (event) => {
    const length = found?.length ?? 0;
    if (event.key === "Escape" && text) setText("");
    else if (event.key === "Enter" && found?.[active]) choose(found[active]);
    else if (event.key === "ArrowDown" && length) setActive((active + 1) % length);
    else if (event.key === "ArrowUp" && length) setActive((active + length - 1) % length);
    else if (event.key === "Backspace" && !text && chosen.length) remove(chosen.at(-1));
    else if (event.key !== "Enter") return;
    event.preventDefault();
  };

  const listed = found !== null && text.trim() !== "";
  const optionId = (n) => `${id}-option-${n}`;
  return html`<div class="recipients">
    <label for=${id}>To</label>
    ${chosen.length > 0 && html`<${Chosen} chosen=${chosen} onChange=${onChange} onRemove=${remove} />`}
    <div class="combobox">
      <input
        id=${id}
        ref=${input}
        type="text"
        role="combobox"
        autocomplete="off"
        spellcheck=${false}
        placeholder="People, courses, sections, groups"
        aria-autocomplete="list"
        aria-expanded=${listed}
        aria-controls=${`${id}-list`}
        aria-activedescendant=${listed && active >= 0 ? optionId(active) : undefined}
        aria-invalid=${invalid ? "true" : undefined}
        value=${text}
        onInput=${(event) => setText(event.target.value)}
        onKeyDown=${press}
      />
      <ul id=${`${id}-list`} role="listbox" aria-label="Found" hidden=${!listed || found.length === 0}>
        ${(listed ? found : []).map(
          (option, n) => html`<li
            key=${option.code}
            id=${optionId(n)}
            role="option"
            aria-selected=${n === active}
            ref=${n === active ? (row) => row?.scrollIntoView({ block: "nearest" }) : undefined}
            onMouseDown=${(event) => event.preventDefault()}
            onClick=${() => choose(option)}
          >
            <span>${option.name}</span> <span class="quiet">${about(option)}</span>
          </li>`,
        )}
      </ul>
      ${listed && found.length === 0 && html`<p class="hint">
        Nothing found for “${text.trim()}”. Courses, sections and groups are found by those who belong to them.
      </p>`}
      ${problem && html`<p class="hint bad" role="alert">${problem.message}</p>`}
    </div>
  </div>`;
}

function Chosen({ chosen, onChange, onRemove }) {
  const change = (option, role) => onChange(chosen.map((each) => (each === option ? { ...each, role } : each)));
  return html`<ul class="chips" aria-label="Recipients">
    ${chosen.map(
      (option) => html`<li key=${option.code}>
        <span>${option.name} <span class="quiet">${about(option)}</span></span>
        ${
          option.roles &&
          html`<select
            aria-label=${`Who in ${option.name}`}
            value=${option.role}
            onChange=${(event) => change(option, event.target.value)}
          >
            ${Object.entries(ROLES).map(([role, label]) => html`<option value=${role}>${label}</option>`)}
          </select>`
        }
        <button type="button" class="bare" aria-label=${`Remove ${option.name}`} onClick=${() => onRemove(option)}>
          ×
        </button>
      </li>`,
    )}
  </ul>`;
}

async function find(text, known, signal) {
  if (CODE.test(text)) return [{ code: text, role: "", name: text, kind: "by its code" }].filter(isNew(known));
  const query = { search: text, per_page: MOST, "exclude[]": known, messageable_only: 1 };
  const { body } = await ask("GET", "search/recipients", { query, signal });
  return body.map(optionOf).filter(isNew(known));
}

const isNew = (known) => (option) => !known.includes(codeOf(option));

function optionOf(item) {
  if (item.type !== "context") return { code: String(item.id), role: "", name: item.full_name ?? item.name, kind: "person" };
  const kind = item.id.split("_")[0];
  return {
    code: item.id,
    role: "",
    roles: kind === "course" || kind === "section",
    name: item.name,
    kind: item.context_name ? `${kind} of ${item.context_name}` : kind,
    people: item.user_count,
  };
}

const about = (option) => [option.kind, option.people !== undefined && people(option.people)].filter(Boolean).join(", ");
