// Which of those that wait are shown: by reason, by sender, or what was dismissed. It stands in the address.

import { addressOf } from "../parts/address.js";
import { make } from "../parts/dom.js";
import { say } from "../parts/words.js";

export function choices(answer, query, change) {
  const dismissed = Boolean(query.get("dismissed"));
  return make("div", { class: "bar" },
    make("p", { class: "switch", role: "group", "aria-label": say("Which are shown") },
      tab(say("Waiting"), {}, !dismissed), tab(say("Dismissed"), { dismissed: "true" }, dismissed)),
    make("div", { class: "choices" },
      choice("reason", say("Reason"), withChosen(query.get("reason"), answer.reasons.map(({ reason }) => reason)), query, change),
      choice("sender", say("Sender"), withChosen(query.get("sender"), answer.senders), query, change)));
}

// What was chosen stays among them, also when nothing of it is left.
const withChosen = (chosen, names) => (chosen && !names.includes(chosen) ? [chosen, ...names] : names);

function tab(words, parameters, isShown) {
  return make("a", { href: addressOf("quarantine", parameters), "aria-current": isShown ? "true" : null, "data-focus": words }, words);
}

function choice(name, label, names, query, change) {
  const choose = (event) => {
    const next = new URLSearchParams(query);
    next.delete("cursor");
    next.set(name, event.target.value);
    change(next, { isStep: true });
  };
  const options = names.map((one) => make("option", { value: one, selected: one === query.get(name) }, one.replaceAll("_", " ")));
  return make("div", { class: "field" },
    make("label", { for: name }, label),
    make("select", { id: name, "data-focus": name, onchange: choose }, make("option", { value: "" }, say("any")), options));
}
