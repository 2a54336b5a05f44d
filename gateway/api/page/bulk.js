// What can be done about all that waits for a destination, or failed there.

import { button } from "./actions.js";
import { path, postJson } from "./api.js";
import { make } from "./dom.js";

const BULK = path("actions");
const chosen = new Map(); // what is chosen stays so while the page is shown anew

export function bulk(one, names, act) {
  const others = names.filter((name) => name !== one.name);
  return make("div", { class: "actions" },
    one.waiting && one.is_configured ? asksAll("Try now", "retry", { state: "pending" }, one, act, (count) =>
      `This tries ${count} now that ${count.startsWith("1 ") ? "waits" : "wait"} for ${one.name}.`) : null,
    one.failed && one.is_configured ? asksAll("Retry what failed", "retry", { state: "failed" }, one, act, (count) =>
      `This sends ${count} to ${one.name} that failed there. Settle first what their studies say.`) : null,
    others.length ? elsewhere(one, others, act) : null,
    asksAll("Do not send", "drop", {}, one, act, (count) =>
      `This gives up sending ${count} to ${one.name}: what waits and what failed. It stays here, and "iris resend" sends it after all.`));
}

function elsewhere(one, others, act) {
  const to = () => chosen.get(one.name) ?? others[0];
  const choose = (event) => chosen.set(one.name, event.target.value);
  const options = others.map((name) => make("option", { value: name, selected: name === to() }, name));
  return make("span", { class: "field" },
    make("select", { "aria-label": `Instead of ${one.name}`, "data-focus": `instead ${one.name}`, onchange: choose }, options),
    asksAll("Send all there instead", "redirect", {}, one, act, (count) =>
      `This sends ${count} to ${to()}, and not to ${one.name} any more: what waits and what failed.`, to));
}

// The gateway says first how many they are.
function asksAll(label, action, filter, one, act, sentence, to = null) {
  const wish = (dry_run) => ({
    action, filter: { ...filter, destination: one.name }, arguments: to ? { to: to() } : {}, dry_run,
  });
  const inWords = (count) => (count === 1 ? "1 delivery" : `${count} deliveries`);
  const asked = {
    get content() { return wish(false); },
    focus: `${action} ${filter.state ?? "all"} ${one.name}`,
    said: (outcome) => `${inWords(outcome.count)}${outcome.left_alone ? `; ${outcome.left_alone} left alone: ${outcome.why}` : ""}.`,
    question: async () => {
      const { count } = await postJson(BULK, wish(true));
      return count ? sentence(inWords(count)) : null;
    },
  };
  return button(label, BULK, act, asked);
}
