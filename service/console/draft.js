// The message that is being written. It outlasts a visit to another page and a sign-in with a new token, not the tab.

export const KINDS = {
  separate: {
    label: "A new conversation with each",
    hint: "Replies come to you alone. For any number of people.",
    parameters: { group_conversation: true, bulk_message: true, mode: "async" },
  },
  private: {
    label: "The private thread with each",
    hint: "Goes on where you already write to each other. For a limited number of people.",
    parameters: { group_conversation: false, mode: "async" },
  },
  group: {
    label: "One group conversation",
    hint: "All see each other and every reply. For a limited number of people.",
    parameters: { group_conversation: true },
  },
};

export const emptyDraft = () => ({
  recipients: [], // {code, role, name, kind, people}
  kind: "separate",
  subject: "",
  body: "",
  files: "", // ids of the sender's files, as they were written
  context: null, // code of the course it is about; null: the first one among the recipients
  at: "", // as <input type="datetime-local"> has it; empty: now
  key: newKey(),
});

let draft = emptyDraft();
let owner = null;

export const currentDraft = () => draft;
export const keepDraft = (changed) => {
  draft = changed;
};

/** A draft belongs to who wrote it; who that is remains unknown (null) of some tokens, and then it is not handed on. */
export function claimDraft(userId) {
  if (userId === null || owner !== userId) draft = emptyDraft();
  owner = userId;
}

export const isBegun = () => Boolean(draft.body.trim());

/** For each message one: what is sent again under it is sent once. `crypto.randomUUID` is not there without TLS. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export const codeOf = (recipient) => recipient.code + (recipient.role ? `_${recipient.role}` : "");

const FILE_IDS = /\d+/g;

/** What may be written as ids of files: numbers, and between them commas or spaces. */
export const FILES_PATTERN = "[\\d\\s,]*";

export const filesOf = (written) => written.files.match(FILE_IDS) ?? [];

/** The courses among the recipients, of which one may be what the message is about. */
export const coursesOf = (written) => written.recipients.filter((each) => /^course_\d+$/.test(each.code));

export const contextOf = (written) => written.context ?? coursesOf(written)[0]?.code ?? "";

/** The body of POST /conversations. */
export function requestOf(written) {
  const request = {
    recipients: written.recipients.map(codeOf),
    body: written.body,
    ...KINDS[written.kind].parameters,
  };
  if (written.subject.trim()) request.subject = written.subject.trim();
  if (contextOf(written)) request.context_code = contextOf(written);
  if (filesOf(written).length > 0) request.attachment_ids = filesOf(written);
  if (written.at) request.send_at = new Date(written.at).toISOString();
  return request;
}
