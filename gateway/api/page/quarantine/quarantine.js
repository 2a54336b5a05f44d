// What waits for a person: objects that were put aside, and jobs that are held; and who was turned away at the
// DICOM port, since what was not taken is in no list. Nothing of it failed: a person decides.

import { get, path } from "../parts/api.js";
import { english, make, records, show, time } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { bulk } from "./bulk.js";
import { card } from "./card.js";
import { choices } from "./choices.js";

const PAGE = 50;

export async function quarantine(content, { isDue, query, change, act }) {
  const asked = new URLSearchParams({ limit: PAGE });
  for (const name of ["reason", "sender", "dismissed", "cursor"]) {
    if (query.get(name)) asked.set(name, query.get(name));
  }
  const [answer, door] = await Promise.all([get(`${path("quarantine")}?${asked}`), get(path("door"))]);
  if (!await isDue(answer, door)) return;
  show(content,
    make("h1", {}, say("Quarantine")),
    make("p", {}, inShort(answer.waiting)),
    choices(answer, query, change),
    bulk(answer, query, act),
    answer.items.length
      ? make("div", { class: "waiting" }, answer.items.map((one) => card(one, act)))
      : make("p", { class: "quiet" }, nothing(query)),
    pages(answer, query, change),
    make("h2", {}, say("At the DICOM port, and by STOW-RS")),
    make("p", { class: "quiet" }, say("{n} of {limit} associations and requests are open.", { n: door.associations, limit: door.limit })),
    door.turned_away.length
      ? records(say("Turned away"), [say("When"), say("What"), say("AE title or token"), say("Address"), say("Why")], door.turned_away.map(turnedAway))
      : make("p", { class: "quiet" }, say("Nobody was turned away since the start.")));
}

function inShort(waiting) {
  if (!waiting) return say("Nothing waits for a person.");
  return waiting === 1 ? say("1 waits. It did not fail: a person decides.") : say("{n} wait. They did not fail: a person decides.", { n: waiting });
}

function nothing(query) {
  if (query.get("dismissed")) return say("Nothing was dismissed, or it is removed by now.");
  return query.get("reason") || query.get("sender") ? say("Nothing waits that is like that.") : say("What is put aside or held stands here.");
}

function pages(answer, query, change) {
  const turn = (cursor) => {
    const next = new URLSearchParams(query);
    if (cursor) next.set("cursor", cursor); else next.delete("cursor");
    return () => change(next, { isStep: true });
  };
  const latest = query.get("cursor") ? make("button", { type: "button", onclick: turn(""), "data-focus": "latest" }, say("The latest")) : null;
  const older = answer.next_cursor ? make("button", { type: "button", onclick: turn(answer.next_cursor), "data-focus": "older" }, say("Older ones")) : null;
  return latest || older ? make("p", { class: "actions" }, latest, older) : null;
}

function turnedAway(one) {
  return make("tr", {},
    make("td", {}, time(one.at)),
    make("td", {}, one.what.replace("_", " ")),
    make("td", {}, one.calling_ae_title),
    make("td", {}, one.address),
    make("td", {}, english(one.sentence)));
}
