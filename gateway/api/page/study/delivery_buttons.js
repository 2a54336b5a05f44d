// What can be done about a delivery: sent now, once more, elsewhere, or not at all.

import { button } from "../parts/actions.js";
import { path } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { may } from "../parts/me.js";
import { say } from "../parts/words.js";

const WAITS = ["pending", "failed"];
const ARRIVED = ["sent", "committed"];
const BULK = path("actions");
const chosen = new Map(); // what is chosen stays so while the page is shown anew

export function deliveryButtons(ones, names, act) {
  const [delivery] = ones;
  const row = (buttons) => make("div", { class: "actions" }, buttons);
  if (WAITS.includes(delivery.state)) return row(actions(ones.at(-1), names, act));
  return [
    delivery.waiting_since ? row([ask(delivery, act)]) : null,
    names.length && may("operator") && ARRIVED.includes(delivery.state) ? folded(delivery, row(again(ones, names, act))) : null,
  ];
}

// Nothing is left to be done about what arrived: it takes no room unless somebody wants it.
function folded(delivery, buttons) {
  return make("details", { "data-keep": `again ${delivery.key}` }, make("summary", {}, say("Send it again, or elsewhere")), buttons);
}

function what(ones) {
  const [{ output }] = ones;
  if (ones.length > 1) return say("{n} objects of {output}", { n: ones.length, output: output || say("a result") });
  return output ? say("the {output}", { output }) : say("the result");
}

// What arrived is sent once more, or to another destination as well.
function again(ones, names, act) {
  const [delivery] = ones;
  const { job_key, destination, output, state } = delivery;
  const wish = (to) => ({ action: "resend", filter: { key: job_key, destination, output, state }, arguments: to ? { to } : {}, dry_run: false });
  const once = button(say("Send again"), BULK, act, {
    content: wish(""), focus: `again ${delivery.key}`, said: say("it goes to {destination} once more.", { destination }),
    question: say("This sends {what} to {destination} once more, under the same UIDs: where it is there still it is the same object.", { what: what(ones), destination }),
  });
  const others = names.filter((name) => name !== destination);
  if (!others.length) return [names.includes(destination) ? once : null];
  const asked = {
    get content() { return wish(asked.to); }, get said() { return say("it goes to {to}, too.", { to: asked.to }); }, focus: `also ${delivery.key}`,
    question: () => say("This sends {what} to {to} as well. {destination} keeps it.", { what: what(ones), to: asked.to, destination }),
  };
  return [names.includes(destination) ? once : null, elsewhere(delivery, others, say("Send there, too"), BULK, act, asked)];
}

function actions(delivery, names, act) {
  const at = (verb) => path("deliveries", delivery.key, verb);
  const { destination } = delivery;
  const isGone = names.length > 0 && !names.includes(delivery.destination);
  const others = names.filter((name) => name !== delivery.destination);
  return [
    isGone ? null : button(say("Send now"), at("retry"), act, { title: say("Do not wait any longer for the next try") }),
    others.length ? redirect(delivery, others, at("redirect"), act) : null,
    button(say("Do not send"), at("drop"), act, {
      title: say("Give up sending it to {destination}", { destination }),
      question: say("This gives up sending {what} to {destination}. It stays here, and \"iris resend\" sends it after all.", { what: what([delivery]), destination }),
    }),
  ];
}

// What is sent and waits until its destination says that it keeps it.
function ask(delivery, act) {
  return button(say("Ask now"), path("deliveries", delivery.key, "retry"), act, { title: say("Ask {destination} whether it keeps it", { destination: delivery.destination }) });
}

function redirect(delivery, others, address, act) {
  const asked = {
    get content() { return { to: asked.to }; }, get said() { return say("it goes to {to}.", { to: asked.to }); },
    question: () => say("This sends {what} to {to}, and not to {destination} any more.", { what: what([delivery]), to: asked.to, destination: delivery.destination }),
  };
  return elsewhere(delivery, others, say("Send there instead"), address, act, asked);
}

// A choice among destinations with its button; what is chosen is `asked.to`.
function elsewhere(delivery, others, label, address, act, asked) {
  if (!may("operator")) return null;
  const to = () => chosen.get(delivery.key) ?? others[0];
  Object.defineProperty(asked, "to", { get: to });
  const choose = (event) => chosen.set(delivery.key, event.target.value);
  const options = others.map((name) => make("option", { value: name, selected: name === to() }, name));
  return make("span", { class: "field" },
    make("select", { "aria-label": say("Another destination"), "data-focus": `${delivery.key} to`, onchange: choose }, options),
    button(label, address, act, asked));
}
