// What of a study goes where, what waits there, and what can be done about it.

import { button } from "./actions.js";
import { get, path } from "./api.js";
import { badge, make, records, time } from "./dom.js";

const WAITS = ["pending", "failed"];
const ARRIVED = ["sent", "committed"];
const BULK = path("actions");
const HEADS = ["State", "What", "Destination", "Reason", "Since", "Next try", "Action"];
const chosen = new Map(); // what is chosen stays so while the page is shown anew

const waits = (delivery) => WAITS.includes(delivery.state);

// The names that something can be sent to; none in the cloud, which sends nothing.
export async function destinationsFor(answer) {
  if (!answer.deliveries.length) return [];
  return (await get(path("destinations"))).items.filter((one) => one.is_configured).map((one) => one.name);
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
    make("td", {}, make("div", { class: "actions" }, offers(ones, names, act))));
}

function offers(ones, names, act) {
  const [delivery] = ones;
  if (waits(delivery)) return actions(ones.at(-1), names, act);
  const offered = names.length && ARRIVED.includes(delivery.state) ? again(ones, names, act) : [];
  return [delivery.waiting_since ? ask(delivery, act) : null, ...offered];
}

const what = (ones) => (ones.length > 1 ? `${ones.length} objects of ${ones[0].output || "a result"}` : `the ${ones[0].output || "result"}`);

// What arrived is sent once more, or to another destination as well.
function again(ones, names, act) {
  const [delivery] = ones;
  const { job_key, destination, output, state } = delivery;
  const wish = (to) => ({ action: "resend", filter: { key: job_key, destination, output, state }, arguments: to ? { to } : {}, dry_run: false });
  const once = button("Send again", BULK, act, {
    content: wish(""), focus: `again ${delivery.key}`, said: `it goes to ${destination} once more.`,
    question: `This sends ${what(ones)} to ${destination} once more, under the same UIDs: where it is there still it is the same object.`,
  });
  const others = names.filter((name) => name !== destination);
  if (!others.length) return [names.includes(destination) ? once : null];
  const asked = {
    get content() { return wish(asked.to); }, get said() { return `it goes to ${asked.to}, too.`; }, focus: `also ${delivery.key}`,
    question: () => `This sends ${what(ones)} to ${asked.to} as well. ${destination} keeps it.`,
  };
  return [names.includes(destination) ? once : null, elsewhere(delivery, others, "Send there, too", BULK, act, asked)];
}

function actions(delivery, names, act) {
  const at = (verb) => path("deliveries", delivery.key, verb);
  const isGone = names.length > 0 && !names.includes(delivery.destination);
  const others = names.filter((name) => name !== delivery.destination);
  return [
    isGone ? null : button("Send now", at("retry"), act, { title: "Do not wait any longer for the next try" }),
    others.length ? redirect(delivery, others, at("redirect"), act) : null,
    button("Do not send", at("drop"), act, {
      title: `Give up sending it to ${delivery.destination}`,
      question: `This gives up sending ${what([delivery])} to ${delivery.destination}. It stays here, and "iris resend" sends it after all.`,
    }),
  ];
}

// What is sent and waits until its destination says that it keeps it.
function ask(delivery, act) {
  return button("Ask now", path("deliveries", delivery.key, "retry"), act, { title: `Ask ${delivery.destination} whether it keeps it` });
}

function redirect(delivery, others, address, act) {
  const asked = {
    get content() { return { to: asked.to }; }, get said() { return `it goes to ${asked.to}.`; },
    question: () => `This sends ${what([delivery])} to ${asked.to}, and not to ${delivery.destination} any more.`,
  };
  return elsewhere(delivery, others, "Send there instead", address, act, asked);
}

// A choice among destinations with its button; what is chosen is `asked.to`.
function elsewhere(delivery, others, label, address, act, asked) {
  const to = () => chosen.get(delivery.key) ?? others[0];
  Object.defineProperty(asked, "to", { get: to });
  const choose = (event) => chosen.set(delivery.key, event.target.value);
  const options = others.map((name) => make("option", { value: name, selected: name === to() }, name));
  return make("span", { class: "field" },
    make("select", { "aria-label": "Another destination", "data-focus": `${delivery.key} to`, onchange: choose }, options),
    button(label, address, act, asked));
}
