// What can be done about all that waits for a destination, or failed there.

import { button } from "../parts/actions.js";
import { path, postJson } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { may } from "../parts/me.js";
import { say } from "../parts/words.js";

const BULK = path("actions");
const chosen = new Map(); // what is chosen stays so while the page is shown anew

export function bulk(one, names, act) {
  if (!may("operator")) return null;
  const others = names.filter((name) => name !== one.name);
  return make("div", { class: "actions" },
    one.waiting && one.is_configured ? asksAll(say("Try now"), "retry", { state: "pending" }, one, act, (what) =>
      say("This tries what waits for {name} now: {what}.", { what, name: one.name })) : null,
    one.failed && one.is_configured ? asksAll(say("Retry what failed"), "retry", { state: "failed" }, one, act, (what) =>
      say("This sends {what} to {name} that failed there. Settle first what their studies say.", { what, name: one.name })) : null,
    others.length ? elsewhere(one, others, act) : null,
    asksAll(say("Do not send"), "drop", {}, one, act, (what) =>
      say("This gives up sending {what} to {name}: what waits and what failed. It stays here, and “iris resend” sends it after all.", { what, name: one.name })));
}

function elsewhere(one, others, act) {
  const to = () => chosen.get(one.name) ?? others[0];
  const choose = (event) => chosen.set(one.name, event.target.value);
  const options = others.map((name) => make("option", { value: name, selected: name === to() }, name));
  return make("span", { class: "field" },
    make("select", { "aria-label": say("Instead of {name}", { name: one.name }), "data-focus": `instead ${one.name}`, onchange: choose }, options),
    asksAll(say("Send all there instead"), "redirect", {}, one, act, (what) =>
      say("This sends {what} to {to}, and not to {name} any more: what waits and what failed.", { what, to: to(), name: one.name }), to));
}

// The gateway says first how many they are.
function asksAll(label, action, filter, one, act, sentence, to = null) {
  const wish = (dry_run) => ({
    action, filter: { ...filter, destination: one.name }, arguments: to ? { to: to() } : {}, dry_run,
  });
  const inWords = (count) => (count === 1 ? say("1 delivery") : say("{n} deliveries", { n: count }));
  const asked = {
    get content() { return wish(false); },
    focus: `${action} ${filter.state ?? "all"} ${one.name}`,
    said: (outcome) => (outcome.left_alone
      ? say("{count}; {left} left alone: {why}", { count: inWords(outcome.count), left: outcome.left_alone, why: outcome.why })
      : say("{count}.", { count: inWords(outcome.count) })),
    question: async () => {
      const { count } = await postJson(BULK, wish(true));
      return count ? sentence(inWords(count)) : null;
    },
  };
  return button(label, BULK, act, asked);
}
