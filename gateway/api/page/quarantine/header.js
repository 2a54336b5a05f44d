// An object's header, asked for when it is unfolded: it names the patient, and is for admins only.

import { get, path } from "../parts/api.js";
import { make, table } from "../parts/dom.js";
import { say } from "../parts/words.js";

const known = new Map(); // by key, as long as the page is open: it does not change

export function header(one) {
  const place = make("div", { class: "header", "aria-live": "polite" });
  return make("details", { "data-keep": `header ${one.key}`, ontoggle: (event) => { if (event.target.open) fill(place, one.key); } },
    make("summary", {}, say("Header of the object (names the patient)")), place);
}

async function fill(place, key) {
  try {
    if (!known.has(key)) {
      place.replaceChildren(make("p", { class: "quiet" }, say("Loading…")));
      known.set(key, await get(path("quarantine", key, "header")));
    }
    place.replaceChildren(...shown(known.get(key)));
  } catch (error) {
    place.replaceChildren(make("p", { class: "notice bad", role: "alert" }, error.message));
  }
}

function shown({ nature, size_bytes, elements, left_out }) {
  return [
    make("p", {}, say("It is {nature}, {n} bytes.", { nature, n: size_bytes.toLocaleString() })),
    elements.length ? table(say("Header"), [say("Tag"), say("VR"), say("Keyword"), say("Value")], elements.map(line)) : null,
    left_out ? make("p", { class: "quiet" }, say("{n} more elements are not shown; save the object to see them.", { n: left_out })) : null,
  ].filter(Boolean);
}

function line({ tag, vr, keyword, value, depth }) {
  return make("tr", { "data-depth": Math.min(depth, 4) },
    make("td", {}, make("code", {}, tag)), make("td", {}, vr), make("td", {}, keyword), make("td", { class: "value" }, value));
}
