// What of a study goes where, what was answered there, and what was tried.

import { get, path } from "../parts/api.js";
import { badge, make, records, time } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { deliveryButtons } from "./delivery_buttons.js";

// The names that something can be sent to; none in the cloud, which sends nothing.
export async function destinationsFor(answer) {
  if (!answer.deliveries.length) return [];
  return (await get(path("destinations"))).items.filter((one) => one.is_configured).map((one) => one.name);
}

export function deliveries(answer, names, act) {
  if (!answer.deliveries.length) return null;
  const heads = [say("State"), say("What"), say("Destination"), say("What it answered"), say("Since"), say("Action")];
  return records(say("Deliveries"), heads, alike(answer.deliveries).map((ones) => row(ones, answer, names, act)));
}

// Nothing is left to be done about what does not wait: of one output those that fared alike are one row.
function alike(all) {
  const rows = new Map();
  for (const one of all) {
    const waits = ["pending", "failed"].includes(one.state);
    const fate = waits ? one.key : JSON.stringify([one.job_key, one.output, one.destination, one.state, one.reason]);
    rows.set(fate, [...(rows.get(fate) ?? []), one]);
  }
  return [...rows.values()];
}

function row(ones, answer, names, act) {
  const delivery = ones.at(-1);
  const output = delivery.output || say("a result");
  const story = answer.timeline.filter((line) => line.delivery_key === delivery.key);
  return make("tr", { "data-delivery": delivery.key },
    make("td", {}, badge(delivery.state)),
    make("td", {}, ones.length > 1 ? say("{output}, {n} objects", { output, n: ones.length }) : output,
      answer.jobs.length > 1 ? make("span", { class: "why" }, answer.jobs.find((job) => job.job_key === delivery.job_key)?.task ?? "") : null),
    make("td", {}, delivery.destination),
    make("td", { class: "sentence" }, answered(delivery, story), tries(delivery, story)),
    make("td", {}, time(delivery.waiting_since ?? delivery.updated),
      delivery.next_try ? make("span", { class: "why" }, say("Tried again:"), " ", time(delivery.next_try)) : null),
    make("td", {}, deliveryButtons(ones, names, act)));
}

// How it stands; of what arrived the destination's own answer, with the status of DICOM in words.
function answered(delivery, story) {
  const answer = story.findLast((line) => line.detail.answer)?.detail.answer;
  const arrived = ["sent", "committed"].includes(delivery.state);
  const waits = delivery.state === "pending" ? say("Waits to be sent to {destination}.", { destination: delivery.destination }) : "";
  return [...new Set([arrived ? answer : "", delivery.reason].filter(Boolean))].join("; ") || waits;
}

function tries(delivery, story) {
  const told = story.slice(1); // that it was to be sent needs no words
  if (told.length < 2 && delivery.attempts < 2) return null;
  const title = delivery.attempts > 1 ? say("Tried {n} times", { n: delivery.attempts }) : say("What was tried");
  return make("details", { "data-keep": `tries ${delivery.key}` },
    make("summary", {}, title),
    make("ol", { class: "why" }, told.map((line) => make("li", {}, time(line.at), " ", line.sentence))));
}
