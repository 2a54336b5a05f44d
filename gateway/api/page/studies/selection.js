// Which studies are selected, one by one or all that match, and what can be done with them at once.

import { button } from "../parts/actions.js";
import { get, path, postJson } from "../parts/api.js";
import { make, show } from "../parts/dom.js";
import { count } from "../parts/numbers.js";
import { say } from "../parts/words.js";
import { ACTIONS } from "./bulk.js";
import { askedFor, FILTERS, meantBy } from "./query.js";

const BULK = path("actions");

export function selection(act) {
  const keys = new Set();
  let total = null; // how many match, where all that do are selected
  let now = { query: new URLSearchParams(), items: [], hasMore: false };

  const whole = make("div", { class: "selection", role: "region", "aria-label": say("Selected studies"), hidden: true });
  const note = make("p", { class: "note", role: "status" });
  const ofPage = make("input", { type: "checkbox", "data-focus": "page", "aria-label": say("Select all on this page"), onchange: choosePage });

  const filter = () => (total === null ? { keys: [...keys] } : meantBy(now.query));
  const isOn = (key) => total !== null || keys.has(key);

  function clear() { keys.clear(); total = null; note.textContent = ""; }

  function choosePage() {
    const isOnNow = ofPage.checked;
    if (!isOnNow) clear();
    else for (const one of now.items) keys.add(one.study_key);
    redraw();
  }

  function choose(key, isOnNow) {
    if (total !== null) { // one of all that match is left out: the others of this page stay
      clear();
      for (const one of now.items) keys.add(one.study_key);
    }
    if (isOnNow) keys.add(key);
    else keys.delete(key);
    redraw();
  }

  async function chooseAll() {
    const asked = askedFor(now.query);
    for (const [name, value] of [["limit", 1], ["count", true]]) asked.set(name, value);
    asked.delete("cursor");
    total = (await get(`${path("studies")}?${asked}`)).total;
    redraw();
  }

  const buttons = ACTIONS.map((one) => {
    const wish = (dry_run) => ({ action: one.action, filter: filter(), dry_run });
    return button(one.label, BULK, act, {
      needs: one.needs, focus: `selected ${one.action}`,
      get content() { return wish(false); },
      question: () => asking(one, wish(true)),
      said: (outcome) => { clear(); redraw(); return done(one, outcome); },
    });
  }).filter(Boolean);

  // The gateway says first how many they are; where there are none, or it refuses, that is said here.
  async function asking(one, wish) {
    note.textContent = "";
    try {
      const found = await postJson(BULK, wish);
      if (found.count) return one.question(one.things(found.count), ofStudies(found.studies));
      note.textContent = say("{action}: nothing of these can be asked for that.", { action: one.label });
    } catch (error) {
      note.textContent = `${one.label}: ${error.message}`;
    }
    return null;
  }

  const several = make("strong", {});
  const every = make("button", { type: "button", class: "plain", "data-focus": "every", onclick: chooseAll }, say("Select all that match"));
  const none = make("button", { type: "button", class: "plain", "data-focus": "none", onclick: () => { clear(); redraw(); } }, say("Clear selection"));
  show(whole, make("p", { class: "chosen" }, several, " ", every, " ", none), make("div", { class: "actions" }, buttons), note);

  function redraw() {
    const number = total ?? keys.size;
    whole.hidden = !number;
    several.textContent = total === null ? chosenInWords(number) : allInWords(number);
    every.hidden = total !== null || !now.hasMore;
    const onPage = now.items.filter((one) => isOn(one.study_key)).length;
    ofPage.checked = onPage > 0 && onPage === now.items.length;
    ofPage.indeterminate = onPage > 0 && onPage < now.items.length;
    for (const box of document.querySelectorAll("input[data-choice]")) {
      box.checked = isOn(box.dataset.choice);
      box.closest("tr").classList.toggle("selected", box.checked);
    }
  }

  return {
    whole, ofPage,
    of: (study, name) => make("input", {
      type: "checkbox", "data-choice": study.study_key, "data-focus": `choice ${study.study_key}`,
      "aria-label": say("Select {study} of {patient}", { study: name, patient: study.patient_id || say("an unknown patient") }),
      onchange: (event) => choose(study.study_key, event.target.checked),
    }),
    fill(query, answer) {
      const narrowed = (of) => FILTERS.map((name) => of.get(name) ?? "").join("\n");
      if (narrowed(query) !== narrowed(now.query)) clear(); // what was selected may not be in sight any more
      now = { query: new URLSearchParams(query), items: answer.items, hasMore: Boolean(answer.next_cursor || query.get("cursor")) };
    },
    mark: redraw,
  };
}

const chosenInWords = (n) => (n === 1 ? say("1 study selected.") : say("{n} studies selected.", { n: count(n) }));
const allInWords = (n) => (n === 1 ? say("The one study that matches is selected.") : say("All {n} studies that match are selected.", { n: count(n) }));
const ofStudies = (n) => (n === 1 ? say("1 study") : say("{n} studies", { n: count(n) }));

function done(one, { count: number, left_alone: left, why }) {
  const said = `${one.things(number)}.`;
  return left ? `${said} ${say("{n} left alone: {why}", { n: count(left), why })}` : said;
}
