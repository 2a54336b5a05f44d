// What changed since the patient's earlier result.

import { make, table } from "../parts/dom.js";
import { say } from "../parts/words.js";

const NOT_COMPARED = {
  cut_now: () => say("the scan cuts it off now"),
  cut_then: () => say("the earlier scan cut it off"),
  cut_both: () => say("both scans cut it off"),
  not_found_now: () => say("not found now"),
  not_found_then: () => say("not found then"),
};

export function comparison(job) {
  const compared = job.comparison;
  if (!compared) return null;
  if (!compared.prior_date) return make("p", { class: "why" }, say("Not compared with an earlier result: {why}", { why: compared.why_none }));
  const date = compared.prior_date;
  const heads = [say("Structure"), say("Then, ml"), say("Now, ml"), say("Change, ml"), say("Change, %")];
  const whole = table(say("Change of {task} since {date}", { task: job.task, date }), heads, compared.structures.map(line));
  [...whole.querySelectorAll("thead th")].slice(1).forEach((head) => head.classList.add("number"));
  return make("details", { "data-keep": `compared ${job.job_key}` },
    make("summary", {}, say("Compared with {date}, {before}", { date, before: before(compared.interval_days) })),
    whole);
}

function before(days) {
  if (!days) return say("on the same day");
  return days === 1 ? say("1 day before") : say("{n} days before", { n: days });
}

function line(one) {
  return make("tr", {}, make("th", { scope: "row" }, one.structure.replaceAll("_", " ")),
    number(one.then_ml), number(one.now_ml),
    one.not_compared
      ? make("td", { colspan: 2, class: "quiet" }, say("not compared: {why}", { why: NOT_COMPARED[one.not_compared]() }))
      : [number(one.change_ml, "+"), number(one.change_percent, "+")]);
}

function number(value, sign = "") {
  const text = value === null ? "" : `${value > 0 ? sign : ""}${value.toFixed(Math.abs(value) < 100 ? 1 : 0)}`;
  return make("td", { class: "number" }, text);
}
