// What happened, in sentences; what says the same again stands once, and details are folded.

import { make, onTheClock, time } from "../parts/dom.js";
import { say } from "../parts/words.js";

const GOOD = ["delivery.sent", "delivery.committed", "job.delivered", "study.finished"];
const WARN = ["held", "put_off", "waits_machine", "waits_outside", "run_lost", "stalled", "timed_out", "aborted", "quarantined"];

export function timeline(answer) {
  if (!answer.timeline.length) return null;
  const left = answer.timeline_left_out
    ? make("p", { class: "quiet" }, say("{n} older lines are not shown.", { n: answer.timeline_left_out })) : null;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return make("div", { class: "card" }, left, make("p", { class: "why" }, say("Times by the clock of this browser, {zone}.", { zone })), make("ol", { class: "timeline" }, runsOfTheSame(answer.timeline).map((one) => line(one, answer.jobs))));
}

function line({ last, times }, jobs) {
  const task = jobs.length > 1 ? jobs.find((job) => job.job_key === last.job_key)?.task : null;
  const said = (task ? `${task}: ` : "") + last.sentence + (times > 1 ? ` ${say("({n} times)", { n: times })}` : "");
  const details = Object.entries(last.detail).map(([name, value]) => [name, text(value)]).filter(([, value]) => value !== "");
  const what = [["event", last.event], ...details];
  return make("li", { class: tone(last.event) }, time(last.at),
    make("details", { "data-keep": `${last.at} ${last.event} ${last.delivery_key ?? last.job_key ?? ""}` },
      make("summary", {}, said),
      make("dl", { class: "facts", lang: "en" }, what.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))))));
}

function tone(event) {
  const what = event.split(".")[1];
  if (what === "failed") return "bad";
  if (GOOD.includes(event)) return "ok";
  return WARN.includes(what) ? "warn" : null;
}

// Each picture of an overlay is planned for and sent to each destination: of such a run what says the same is
// one line, the time its last.
function runsOfTheSame(lines) {
  const found = [];
  for (const one of lines) {
    const start = found.findLastIndex((each) => each.last.event !== one.event || each.last.job_key !== one.job_key) + 1;
    const before = found.slice(start).find((each) => each.last.sentence === one.sentence);
    if (before) Object.assign(before, { last: one, times: before.times + 1 });
    else found.push({ last: one, times: 1 });
  }
  return found;
}

// Without brackets; a time as all times of the page are.
function text(value) {
  if (value === null) return "";
  if (Array.isArray(value)) return value.map(text).join("; ");
  if (typeof value === "boolean") return value ? say("yes") : say("no");
  if (typeof value === "object") return Object.entries(value).map(([name, each]) => `${name} ${text(each)}`).join(", ");
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? onTheClock(value) : String(value);
}
