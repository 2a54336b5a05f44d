// Whether all is well, large: what is worst and what to do, then what else is to be looked at.

import { addressOf } from "../parts/address.js";
import { make } from "../parts/dom.js";
import { count, rounded } from "../parts/numbers.js";
import { say } from "../parts/words.js";

const SIGNS = { stopped: "✕", failed: "!", warning: "!", person: "?", well: "✓" };

export function verdict({ verdict: { level, findings } }) {
  const [worst, ...others] = findings.map(inWords);
  return make("section", { class: `verdict ${level}`, "aria-labelledby": "verdict" },
    make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[level]),
    make("div", {},
      make("h1", { id: "verdict" }, worst ? worst.head : say("All is well")),
      make("p", {}, worst ? worst.rest : say("Studies are taken, and nothing waits for a person.")),
      others.length
        ? make("ul", { class: "findings" }, others.map((one) => make("li", { class: one.level }, one.isHeadline ? null : [one.head, ". "], one.rest)))
        : null));
}

// What a finding is, and what is to be done about it. Where the gateway says it in a sentence of its own, its head
// is for the headline alone.
function inWords({ code, level, number, sentence, way_out }) {
  const n = { n: count(number) };
  switch (code) {
    case "not_ready": return { level, isHeadline: true, head: say("No studies are taken"), rest: told(sentence, way_out) };
    case "studies_failed": return {
      level, head: link(number === 1 ? say("1 study failed") : say("{n} studies failed", n), "studies", { state: "failed" }),
      rest: say("Settle what stands there, then retry, or cancel what is not needed."),
    };
    case "studies_held": return {
      level, head: link(number === 1 ? say("1 study is held") : say("{n} studies are held", n), "studies", { state: "held" }),
      rest: say("A person decides: look at what stands there, then release or cancel."),
    };
    case "objects_put_aside": return {
      level, head: link(number === 1 ? say("1 object was put aside") : say("{n} objects were put aside", n), "quarantine"),
      rest: say("The quarantine says why, and what to do."),
    };
    case "disk_fills": return {
      level, head: say("The disk will do for {n} days at the rate of the last week", { n: rounded(number) }),
      rest: say("Make room, or let retention remove what is old."),
    };
    default: return { level, isHeadline: true, head: say("Studies are taken, but not all is well"), rest: told(sentence, way_out) };
  }
}

const told = (sentence, wayOut) => (wayOut ? `${sentence}; ${wayOut}` : sentence);

const link = (words, view, query = {}) => make("a", { href: addressOf(view, query), "data-focus": `finding ${view} ${query.state}` }, words);
