// Where results go: what each destination takes of what its rules send, as it says itself, and what waits for it.

import { get, path } from "./api.js";
import { bulk } from "./bulk.js";
import { make, show, time } from "./dom.js";

export async function destinations(content, stillHere, act) {
  const { items } = await get(path("destinations"));
  if (!stillHere()) return;
  const names = items.filter((one) => one.is_configured).map((one) => one.name);
  show(content,
    make("h1", {}, "Destinations"),
    ...(items.length ? items.map((one) => card(one, names, act)) : [make("p", { class: "quiet" }, "No destination is configured: results stay here.")]));
}

function card(one, names, act) {
  return make("article", { class: "card", "data-destination": one.name },
    make("h2", {}, one.name),
    one.is_configured ? null : make("p", {}, "It is no [[destination]] any more."),
    one.waiting ? make("p", {}, `${one.waiting} waiting since `, time(one.waiting_since), one.reason ? `: ${one.reason}` : "") : null,
    one.failed ? make("p", {}, `${one.failed} failed; their studies say why.`) : null,
    one.waiting + one.failed ? bulk(one, names, act) : null,
    make("p", { class: "why" }, ...(one.asked
      ? [`${one.address} says that it is ${one.implementation}. Asked: `, time(one.asked)]
      : [one.address ? `${one.address}. ` : "", "What it takes is not known: it has not answered yet, or is a folder or a DICOMweb service, which cannot be asked."])),
    list("Does not take", one.refuses.map(({ what, way_out }) => [what, make("span", { class: "why" }, `: ${way_out}`)])),
    list("Takes", one.takes));
}

function list(title, lines) {
  if (!lines.length) return null;
  return make("section", {}, make("h3", {}, title), make("ul", {}, lines.map((line) => make("li", {}, line))));
}
