// The structures beside the picture: which are shown, which are of glass, and how large each is.

import { make } from "../../parts/dom.js";
import { say } from "../../parts/words.js";

const MANY = 12;
const MOST = 0.85;

export function list(structures, known, changed) {
  const facts = new Map(known.map((each) => [each.name, each]));
  const rows = structures
    .map((structure) => row(structure, facts.get(structure.name), changed))
    .sort((one, other) => one.structure.title.localeCompare(other.structure.title));
  for (const each of rows) each.see(!around(each.structure, structures));
  const items = make("ul", { class: "surface-list" }, rows.map((each) => each.element));
  const all = (isShown) => () => { for (const each of rows) each.show(isShown); changed(); };
  const find = make("input", {
    type: "search", placeholder: say("Find a structure"), "aria-label": say("Find a structure"),
    oninput: () => {
      const sought = find.value.trim().toLowerCase();
      for (const each of rows) each.element.hidden = !each.structure.title.toLowerCase().includes(sought);
    },
  });
  const element = make("fieldset", { class: "surface-structures" },
    make("legend", {}, rows.length === 1 ? say("1 structure") : say("{n} structures", { n: rows.length })),
    rows.length > MANY ? find : null,
    make("div", { class: "surface-all" },
      make("button", { type: "button", onclick: all(true) }, say("All")),
      make("button", { type: "button", onclick: all(false) }, say("None"))),
    items);
  return {
    element,
    toggle(structure) {
      rows.find((each) => each.structure === structure).show(structure.hidden);
      changed();
    },
  };
}

function row(structure, fact, changed) {
  const rgb = `rgb(${fact.rgb.join(" ")})`;
  const box = make("input", { type: "checkbox", checked: true, onchange: () => { structure.hidden = !box.checked; changed(); } });
  const swatch = make("span", { class: "surface-swatch" });
  swatch.style.background = rgb;
  const glass = make("button", {
    type: "button", class: "surface-glass", "aria-label": say("See through {title}", { title: structure.title }),
    title: say("See through it"), onclick: () => { see(structure.glass); changed(); },
  }, "◐");
  const see = (isOpaque) => {
    structure.glass = !isOpaque;
    glass.setAttribute("aria-pressed", String(structure.glass));
  };
  const doubts = [
    fact.truncated ? say("cut off by the scan") : "",
    ...fact.flags.map((flag) => flag.replaceAll("_", " ")),
  ].filter(Boolean);
  const element = make("li", {},
    make("label", {}, box, swatch, make("span", { class: "surface-title" }, structure.title,
      doubts.length ? make("span", { class: "why" }, doubts.join(", ")) : null),
    make("span", { class: "surface-ml" }, say("{ml} ml", { ml: fact.volume_ml.toFixed(fact.volume_ml < 10 ? 1 : 0) }))),
    glass);
  return { structure, element, see, show: (isShown) => { structure.hidden = !isShown; box.checked = isShown; } };
}

// Whether it reaches as far as everything together, as skin does, with others inside: then it is of glass at first.
function around(structure, structures) {
  const reach = (axis) => Math.max(...structures.map(({ max }) => max[axis])) - Math.min(...structures.map(({ min }) => min[axis]));
  return structures.length > 1 && [0, 1, 2].every((axis) => structure.max[axis] - structure.min[axis] > MOST * reach(axis));
}
