// What the states of a batch are called, and which moves they allow (as MOVABLE in service/domain/batch.py has it).

export const STATES = {
  scheduled: "Scheduled",
  created: "Waiting",
  sending: "Sending",
  paused: "Paused",
  sent: "Sent",
  cancelled: "Cancelled",
  error: "Ended in error",
};

const RUNNING = ["created", "sending"];
const FINAL = ["sent", "error", "cancelled"];

export const isRunning = (batch) => RUNNING.includes(batch.state);
/** Whether nothing of it can change any more but by a new move: work that is under way outlasts a cancel. */
export const isFinished = (batch) => FINAL.includes(batch.state) && batch.finished_at !== null;
export const done = (batch) => batch.delivered + batch.failed + batch.skipped;

const MOVES = [
  {
    name: "pause",
    label: "Pause",
    allowed: isRunning,
    question: "Pause this batch?",
    text: () => "No further delivery begins. You can resume it at any time.",
    past: "The batch is paused.",
  },
  {
    name: "resume",
    label: "Resume",
    main: true,
    allowed: (batch) => batch.state === "paused",
    question: "Resume this batch?",
    text: (left) => `Delivery to the remaining ${left} goes on.`,
    past: "The batch goes on.",
  },
  {
    name: "reschedule",
    label: "Change time",
    allowed: (batch) => batch.state === "scheduled",
    question: "When should it start?",
    text: () => "",
    past: "The batch has a new time.",
  },
  {
    name: "retry",
    label: "Retry failed",
    main: true,
    allowed: (batch) => FINAL.includes(batch.state) && batch.failed > 0,
    question: "Send again to those who failed?",
    text: (_left, failed) => `Only the failed get it again: ${failed}. Nobody gets a second copy.`,
    past: "The failed are tried again.",
  },
  {
    name: "cancel",
    label: "Cancel sending",
    danger: true,
    allowed: (batch) => ["scheduled", "paused", ...RUNNING].includes(batch.state),
    question: "Cancel this batch?",
    text: (left) => `The remaining ${left} will not get the message. What is delivered stays. This cannot be undone.`,
    past: "The batch is cancelled.",
  },
];

export const movesOf = (batch) => MOVES.filter((move) => move.allowed(batch));
