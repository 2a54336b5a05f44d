// What waits for a person: objects that were put aside, and jobs that are held; and who was turned away at the
// DICOM port, since what was not taken is in no list.

import { button } from "./actions.js";
import { get, path } from "./api.js";
import { make, records, show, time } from "./dom.js";

export async function quarantine(content, stillHere, act) {
  const [answer, door] = await Promise.all([get("/api/v1/quarantine?limit=500"), get("/api/v1/door")]);
  if (!stillHere()) return;
  show(content,
    make("h1", {}, "Quarantine"),
    answer.items.length
      ? records("Quarantine", ["What", "Why", "From", "Study", "Since", "Action"], answer.items.map((one) => row(one, act)))
      : make("p", { class: "quiet" }, "Nothing waits for a person."),
    answer.next_cursor ? make("p", { class: "quiet" }, "Only the latest 500 are shown.") : null,
    make("h2", {}, "At the DICOM port, and by STOW-RS"),
    make("p", { class: "quiet" }, `${door.associations} of ${door.limit} associations and requests are open.`),
    door.turned_away.length
      ? records("Turned away", ["When", "What", "AE title or token", "Address", "Why"], door.turned_away.map(turnedAway))
      : make("p", { class: "quiet" }, "Nobody was turned away since the start."));
}

function turnedAway(one) {
  return make("tr", {},
    make("td", {}, time(one.at)),
    make("td", {}, one.what.replace("_", " ")),
    make("td", {}, one.calling_ae_title),
    make("td", {}, one.address),
    make("td", {}, one.sentence));
}

function row(one, act) {
  const address = path("quarantine", one.key, "release");
  const times = one.times > 1 ? ` (came ${one.times} times)` : "";
  return make("tr", { "data-key": one.key },
    make("td", {}, one.kind === "job" ? `job ${one.task}` : "object"),
    make("td", { class: "sentence" }, one.sentence + times, make("span", { class: "why" }, one.reason)),
    make("td", {}, one.sender ?? ""),
    make("td", {}, one.study_key
      ? make("a", { href: `#/studies/${encodeURIComponent(one.study_key)}`, "data-focus": one.key }, "show")
      : (one.study_uid ?? "")),
    make("td", {}, time(one.first)),
    make("td", {}, one.releasable
      ? button("Release", address, act)
      : make("span", { class: "why" }, "Correct it where it comes from, then send it again.")));
}
