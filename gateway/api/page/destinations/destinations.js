// Where results go: what each destination takes of what its rules send, as it says itself, and what waits for it.

import { get, path } from "../parts/api.js";
import { bulk } from "./bulk.js";
import { english, make, show, time } from "../parts/dom.js";
import { say } from "../parts/words.js";

export async function destinations(content, { isDue, act }) {
  const { items } = await get(path("destinations"));
  if (!await isDue(items)) return;
  const names = items.filter((one) => one.is_configured).map((one) => one.name);
  show(content,
    make("h1", {}, say("Destinations")),
    ...(items.length ? items.map((one) => card(one, names, act)) : [make("p", { class: "quiet" }, say("No destination is configured: results stay here."))]));
}

function card(one, names, act) {
  return make("article", { class: "card", "data-destination": one.name },
    make("h2", {}, one.name),
    one.is_configured ? null : make("p", {}, say("It is no [[destination]] any more.")),
    one.waiting ? make("p", {}, say("{n} waiting since ", { n: one.waiting }), time(one.waiting_since), one.reason ? [": ", english(one.reason)] : "") : null,
    one.failed ? make("p", {}, say("{n} failed; their studies say why.", { n: one.failed })) : null,
    one.waiting + one.failed ? bulk(one, names, act) : null,
    make("p", { class: "why" }, ...(one.asked
      ? [say("{address} says that it is {name}. Asked: ", { address: one.address, name: one.implementation }), time(one.asked)]
      : [one.address ? `${one.address}. ` : "", say("What it takes is not known: it has not answered yet, or is a folder or a DICOMweb service, which cannot be asked.")])),
    list(say("Does not take"), one.refuses.map(({ what, way_out }) => [english(what), make("span", { class: "why" }, ": ", english(way_out))])),
    list(say("Takes"), one.takes));
}

function list(title, lines) {
  if (!lines.length) return null;
  return make("section", {}, make("h3", {}, title), make("ul", {}, lines.map((line) => make("li", {}, line))));
}
