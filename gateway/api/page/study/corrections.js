// Results that somebody edited in a viewer and that came back: what differs, structure by structure.

import { make, table, time } from "../parts/dom.js";
import { say } from "../parts/words.js";

const KNOWN_BY = {
  reference: () => say("Known as a correction since it refers to this result."),
  tracking: () => say("Known as a correction since its segments are tracked as this result's."),
  equipment: () => say("Known as a correction since it names this software."),
  labels: () => say("Known as a correction since it is of the same images, with this result's labels."),
};

export function corrections(job) {
  if (!job.corrections.length) return null;
  return make("div", { role: "group", "aria-label": say("Corrections of {task}", { task: job.task }) },
    job.corrections.map(correction));
}

function correction(one) {
  const heads = [say("Structure"), say("Dice"), say("ml"), say("ml corrected"), say("Change")];
  return make("details", { "data-keep": `correction ${one.key}` },
    make("summary", {}, say("Corrected, received"), " ", time(one.received), ": ", one.reason || inShort(one.structures)),
    make("p", { class: "why" }, KNOWN_BY[one.evidence]()),
    one.structures.length ? table(say("What was corrected"), heads, one.structures.map(line)) : null);
}

function line(one) {
  return make("tr", { class: isChanged(one) ? "changed" : null },
    make("th", { scope: "row" }, nameOf(one), one.is_new ? ` ${say("(added)")}` : ""),
    make("td", {}, one.dice === null ? "" : one.dice.toFixed(3)),
    make("td", {}, ml(one.volume_ml)),
    make("td", {}, one.corrected_ml === null ? say("left out") : ml(one.corrected_ml)),
    make("td", {}, one.change_ml === null ? "" : `${one.change_ml > 0 ? "+" : ""}${ml(one.change_ml)}`));
}

const nameOf = (one) => one.structure.replaceAll("_", " ");

const ml = (value) => (value === null ? "" : value.toFixed(1));

const isChanged = (one) => one.is_new || one.corrected_ml === null || one.dice !== 1;

function inShort(structures) {
  const changed = structures.filter(isChanged);
  if (!changed.length) return say("nothing differs");
  const said = changed.slice(0, 3).map((one) => {
    const name = nameOf(one);
    if (one.is_new) return say("{name} added", { name });
    return one.corrected_ml === null ? say("{name} left out", { name }) : say("{name} Dice {dice}", { name, dice: one.dice.toFixed(3) });
  });
  const more = changed.length - said.length;
  return said.join(", ") + (more ? say(", and {n} more", { n: more }) : "");
}
