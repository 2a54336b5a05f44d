// How long the study and its jobs were in each step: a table, whose bars lie on one clock.

import { make, onTheClock } from "../parts/dom.js";
import { duration } from "../parts/numbers.js";
import { say } from "../parts/words.js";

const NAMES = {
  received: () => say("Received"),
  awaited: () => say("Waited for the rest"),
  converted: () => say("Converted"),
  staged: () => say("Put into its job folder"),
  queued: () => say("Waited for its turn"),
  segmented: () => say("Segmented"),
  encoded: () => say("Results made"),
  delivered: () => say("Delivered"),
  held: () => say("Held for a person"),
  failed: () => say("Failed, until retried"),
};

export function steps(answer) {
  if (!answer.steps.length) return null;
  const spans = answer.steps.map((one) => ({ ...one, from: Date.parse(one.begun), to: one.ended ? Date.parse(one.ended) : Date.now() }));
  const axis = { from: Math.min(...spans.map((one) => one.from)), to: Math.max(...spans.map((one) => one.to)) };
  const rows = together(spans);
  const longest = Math.max(...rows.map((one) => one.ms));
  const total = duration((axis.to - axis.from) / 1000);
  const isOver = spans.every((one) => one.ended);
  return make("div", { class: "card steps" },
    make("p", { class: "quiet" }, isOver ? say("{time} from the first image to the end.", { time: total }) : say("{time} so far.", { time: total })),
    make("table", {},
      make("caption", { class: "hidden" }, say("Time spent in each step")),
      make("thead", { class: "hidden" }, make("tr", {},
        [say("Step"), say("When"), say("How long")].map((head) => make("th", { scope: "col" }, head)))),
      groups(rows, answer).map(({ title, rows: of }) => make("tbody", {},
        title ? make("tr", {}, make("th", { colspan: 3, scope: "colgroup", class: "group" }, title)) : null,
        of.map((one) => row(one, axis, one.ms === longest && rows.length > 1))))));
}

// What was taken up again, as another run, is one row with several bars.
function together(spans) {
  const rows = new Map();
  for (const span of spans) {
    const key = `${span.job_key} ${span.step}`;
    const one = rows.get(key) ?? { step: span.step, job_key: span.job_key, spans: [], ms: 0 };
    one.spans.push(span);
    one.ms += span.to - span.from;
    rows.set(key, one);
  }
  return [...rows.values()];
}

function groups(rows, answer) {
  const keys = [...new Set(rows.map((one) => one.job_key))];
  const isOne = keys.filter(Boolean).length < 2;
  return keys.map((key) => ({
    title: isOne || !key ? "" : answer.jobs.find((job) => job.job_key === key)?.task ?? say("an earlier job"),
    rows: rows.filter((one) => one.job_key === key),
  }));
}

function row(one, axis, isLongest) {
  const isOpen = one.spans.some((span) => !span.ended);
  return make("tr", { class: [one.step, isLongest ? "longest" : "", isOpen ? "open" : ""].join(" ") },
    make("th", { scope: "row" }, NAMES[one.step]()),
    make("td", { class: "track" }, one.spans.map((span) => bar(span, axis))),
    make("td", { class: "number" }, duration(one.ms / 1000), isOpen ? [" ", make("span", { class: "why" }, say("so far"))] : null));
}

// A script may set a style where the page's content policy lets no attribute.
function bar(span, axis) {
  const whole = Math.max(1, axis.to - axis.from);
  const from = onTheClock(span.begun);
  const title = span.ended ? say("{from} to {to}", { from, to: onTheClock(span.ended) }) : say("since {from}", { from });
  const drawn = make("span", { class: "span", title, role: "img", "aria-label": title });
  drawn.style.left = `${(100 * (span.from - axis.from)) / whole}%`;
  drawn.style.width = `${(100 * (span.to - span.from)) / whole}%`;
  return drawn;
}
