// Each destination on a line, with a button that tries it: whether it answers, and takes what its rules send.

import { addressOf } from "../parts/address.js";
import { path, post } from "../parts/api.js";
import { english, make, records, time } from "../parts/dom.js";
import { may } from "../parts/me.js";
import { count } from "../parts/numbers.js";
import { say } from "../parts/words.js";

const SIGNS = { ok: "✓", warning: "!", failed: "✕" };
const answers = new Map(); // what each said when it was last tried, or that it is being asked

export const tried = () => [...answers];

export function destinations(items, again) {
  return make("section", {},
    make("h2", {}, make("a", { href: addressOf("destinations"), "data-focus": "to destinations" }, say("Destinations"))),
    items.length
      ? records(say("Destinations"), [say("Name"), say("Waiting"), say("Failed"), say("Last answer"), ...(may("operator") ? [say("Test")] : [])], items.map((one) => row(one, again)))
      : make("p", { class: "quiet" }, say("No destination is configured: results stay here.")));
}

function row(one, again) {
  return make("tr", { "data-destination": one.name },
    make("td", {}, make("strong", {}, one.name), make("span", { class: "why" }, one.is_configured ? one.address : say("It is configured no more."))),
    make("td", { class: "number" }, count(one.waiting),
      one.waiting_since ? make("span", { class: "why" }, say("since "), time(one.waiting_since), one.reason ? [": ", english(one.reason)] : "") : null),
    make("td", { class: "number" }, one.failed ? make("a", { href: addressOf("destinations"), "data-focus": `failed ${one.name}` }, count(one.failed)) : "0"),
    make("td", {}, one.asked ? time(one.asked) : say("not asked yet, or cannot be asked"),
      one.implementation ? make("span", { class: "why" }, one.implementation) : null),
    may("operator") ? make("td", { class: "tried" }, one.is_configured ? tryIt(one.name, again) : null) : null);
}

function tryIt(name, again) {
  const answer = answers.get(name);
  const press = async () => {
    answers.set(name, "asked");
    again();
    try {
      answers.set(name, (await post(path("destinations", name, "test"))).checks);
    } catch (error) {
      answers.set(name, [{ verdict: "failed", finding: error.message, fix: "" }]);
    }
    again();
  };
  return [
    make("button", {
      type: "button", "data-focus": `try ${name}`, "aria-label": say("Test {name}", { name }), "aria-disabled": answer === "asked" ? "true" : null,
      onclick: () => { if (answers.get(name) !== "asked") press(); },
    }, answer === "asked" ? say("Asking…") : say("Test")),
    make("div", { role: "status" }, Array.isArray(answer)
      ? make("ul", { class: "checks" }, answer.map(({ verdict, finding, fix }) => make("li", { class: verdict },
        make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[verdict]), fix ? `${finding}; ${fix}` : finding)))
      : null),
  ];
}
