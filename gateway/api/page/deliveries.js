// What of a study goes where, what waits there, and what can be done about it.

import { button } from "./actions.js";
import { get, path } from "./api.js";
import { badge, make, records, time } from "./dom.js";

const WAITS = ["pending", "failed"];
const HEADS = ["State", "What", "Destination", "Reason", "Since", "Next try", "Action"];
const chosen = new Map(); // what is chosen stays so while the page is shown anew

const waits = (delivery) => WAITS.includes(delivery.state);

// The names that something can be redirected to; asked for where something waits only.
export async function destinationsFor(answer) {
  if (!answer.deliveries.some(waits)) return [];
  return (await get(path("destinations"))).items.map((one) => one.name);
}

export function deliveries(answer, names, act) {
  if (!answer.deliveries.length) return null;
  return records("Deliveries", HEADS, alike(answer.deliveries).map((ones) => row(ones, names, act)));
}

// Nothing is left to be done about what does not wait: of one output those that fared alike are one row.
function alike(all) {
  const rows = new Map();
  for (const one of all) {
    const fate = waits(one) ? one.key : JSON.stringify([one.job_key, one.output, one.destination, one.state, one.reason]);
    rows.set(fate, [...(rows.get(fate) ?? []), one]);
  }
  return [...rows.values()];
}

function row(ones, names, act) {
  const delivery = ones.at(-1);
  const several = ones.length > 1 ? `, ${ones.length} objects` : "";
  return make("tr", { "data-delivery": delivery.key },
    make("td", {}, badge(delivery.state)),
    make("td", {}, (delivery.output || "a result") + several),
    make("td", {}, delivery.destination),
    make("td", { class: "sentence" }, delivery.reason || (delivery.state === "pending" ? `Waits to be sent to ${delivery.destination}.` : "")),
    make("td", {}, time(delivery.waiting_since ?? delivery.updated)),
    make("td", {}, delivery.next_try ? time(delivery.next_try) : ""),
    make("td", {}, waits(delivery) ? make("div", { class: "actions" }, actions(delivery, names, act)) : null));
}

function actions(delivery, names, act) {
  const at = (verb) => path("deliveries", delivery.key, verb);
  const isGone = names.length > 0 && !names.includes(delivery.destination);
  const others = names.filter((name) => name !== delivery.destination);
  return [
    isGone ? null : button("Send now", at("retry"), act, { title: "Do not wait any longer for the next try" }),
    others.length ? redirect(delivery, others, at("redirect"), act) : null,
    button("Do not send", at("drop"), act, { title: `Give up sending it to ${delivery.destination}` }),
  ];
}

function redirect(delivery, others, address, act) {
  const to = () => chosen.get(delivery.key) ?? others[0];
  const choose = (event) => chosen.set(delivery.key, event.target.value);
  const asked = { get content() { return { to: to() }; }, get said() { return `it goes to ${to()}.`; } };
  const options = others.map((name) => make("option", { value: name, selected: name === to() }, name));
  return make("span", { class: "field" },
    make("select", { "aria-label": "Another destination", "data-focus": `${address} to`, onchange: choose }, options),
    button("Send there instead", address, act, asked));
}
