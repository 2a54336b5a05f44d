// Where results go: what each destination takes of what its rules send, as it says itself, and what waits for it.

import { get, path } from "./api.js";
import { make, show, time } from "./dom.js";

export async function destinations(content, stillHere) {
  const { items } = await get(path("destinations"));
  if (!stillHere()) return;
  show(content,
    make("h1", {}, "Destinations"),
    ...(items.length ? items.map(card) : [make("p", { class: "quiet" }, "No destination is configured: results stay here.")]));
}

function card(one) {
  return make("article", { class: "card", "data-destination": one.name },
    make("h2", {}, one.name),
    one.is_configured ? null : make("p", {}, "It is no [[destination]] any more."),
    one.waiting ? make("p", {}, `${one.waiting} waiting since `, time(one.waiting_since), one.reason ? `: ${one.reason}` : "") : null,
    one.asked
      ? make("p", { class: "why" }, `${one.address} says that it is ${one.implementation}. Asked: `, time(one.asked))
      : make("p", { class: "why" }, "It was not asked yet what it takes, or nobody can be asked there."),
    list("Does not take", one.refuses.map(({ what, way_out }) => [what, make("span", { class: "why" }, `: ${way_out}`)])),
    list("Takes", one.takes));
}

function list(title, lines) {
  if (!lines.length) return null;
  return make("section", {}, make("h3", {}, title), make("ul", {}, lines.map((line) => make("li", {}, line))));
}
