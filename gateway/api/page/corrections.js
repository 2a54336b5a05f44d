// Results that somebody edited in a viewer and that came back: what differs, structure by structure.
import { make, table, time } from "./dom.js";

const KNOWN_BY = {
  reference: "it refers to this result",
  tracking: "its segments are tracked as this result's",
  equipment: "it names this software",
  labels: "it is of the same images, with this result's labels",
};

export function corrections(job) {
  if (!job.corrections.length) return null;
  return make("div", { role: "group", "aria-label": `Corrections of ${job.task}` },
    job.corrections.map(correction));
}

function correction(one) {
  return make("details", { "data-keep": `correction ${one.key}` },
    make("summary", {}, "Corrected, received ", time(one.received), ": ", one.reason || inShort(one.structures)),
    make("p", { class: "why" }, `Known as a correction since ${KNOWN_BY[one.evidence]}.`),
    one.structures.length
      ? table("What was corrected", ["Structure", "Dice", "ml", "ml corrected", "Change"], one.structures.map(line)) : null);
}

function line(one) {
  return make("tr", { class: isChanged(one) ? "changed" : null },
    make("th", { scope: "row" }, one.structure.replaceAll("_", " "), one.is_new ? " (added)" : ""),
    make("td", {}, one.dice === null ? "" : one.dice.toFixed(3)),
    make("td", {}, ml(one.volume_ml)),
    make("td", {}, one.corrected_ml === null ? "left out" : ml(one.corrected_ml)),
    make("td", {}, one.change_ml === null ? "" : `${one.change_ml > 0 ? "+" : ""}${ml(one.change_ml)}`));
}

const ml = (value) => (value === null ? "" : value.toFixed(1));

const isChanged = (one) => one.is_new || one.corrected_ml === null || one.dice !== 1;

function inShort(structures) {
  const changed = structures.filter(isChanged);
  if (!changed.length) return "nothing differs";
  const said = changed.slice(0, 3).map((one) => {
    const name = one.structure.replaceAll("_", " ");
    if (one.is_new) return `${name} added`;
    return one.corrected_ml === null ? `${name} left out` : `${name} Dice ${one.dice.toFixed(3)}`;
  });
  return said.join(", ") + (changed.length > said.length ? `, and ${changed.length - said.length} more` : "");
}
