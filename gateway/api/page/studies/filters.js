// What narrows the list: a search box, which `/` leads to, and what studies can be found by. It stands in the address.

import { make } from "../parts/dom.js";
import { named, say } from "../parts/words.js";
import { dayOf, FILTERS, FOLDED, has } from "./query.js";

const PAUSE_MS = 250; // after a letter: then it is searched
const STATES = ["receiving", "processing", "failed", "held", "done"];
const WAITS = {
  person: say("a person"), sender: say("its sender"), gateway: say("this gateway"), queue: say("the queue"),
  destination: say("a destination"),
};
const IN_THE_CLOUD = ["person", "sender"];

export function filters(isSearched, put) {
  const search = searchBox(put);
  const choose = (name) => (event) => put({ [name]: event.target.value });
  const states = select("state", say("State"), Object.fromEntries(STATES.map((one) => [one, named(one)])), choose("state"));
  const waits = Object.entries(WAITS).filter(([name]) => isSearched || IN_THE_CLOUD.includes(name));
  const shown = [states, select("waits", say("Waits for"), Object.fromEntries(waits), choose("waits"))];
  const folded = [
    ...(isSearched ? traitSelects(choose) : []),
    date("since", say("Received from"), choose("since")), date("until", say("Received until"), choose("until")),
  ];
  const all = [...(isSearched ? [search] : []), ...shown, ...folded];
  const more = make("details", { class: "more" },
    make("summary", {}, say("More filters")), make("div", { class: "filters" }, folded.map((one) => one.whole)));
  const clear = make("button", { type: "button", class: "plain", onclick: () => put(Object.fromEntries(FILTERS.map((name) => [name, ""]))) }, say("Show all"));
  const whole = make("div", { class: "narrowing", role: "search" },
    make("div", { class: "filters" }, isSearched ? search.whole : null, shown.map((one) => one.whole), clear), more);
  return {
    whole,
    fill(query, traits) {
      for (const one of all) one.fill(query.get(one.name) ?? "", traits);
      if (has(query, FOLDED)) more.open = true;
      clear.hidden = !has(query);
    },
  };
}

function searchBox(put) {
  let waiting = null;
  let filled = "";
  const look = () => { clearTimeout(waiting); waiting = null; put({ q: input.value.trim() }, false); };
  const input = make("input", {
    type: "search", id: "q", autocomplete: "off", spellcheck: "false", maxlength: 128, "aria-keyshortcuts": "/",
    placeholder: say("How it begins"),
    oninput: () => { clearTimeout(waiting); waiting = setTimeout(look, PAUSE_MS); },
    onkeydown: (event) => { if (event.key === "Enter") look(); },
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea, dialog");
    if (event.key !== "/" || isTyping || !input.isConnected || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.select();
  });
  return {
    name: "q",
    whole: make("div", { class: "field search" },
      make("label", { for: "q" }, say("Patient ID, accession number, UID or key"), " ", make("kbd", { "aria-hidden": true }, "/")), input),
    // What is being typed is not in the address yet.
    fill(value) {
      if (value !== filled && waiting === null && input.value.trim() !== value) input.value = value;
      filled = value;
    },
  };
}

function select(name, label, choices, onchange, valuesOf = null) {
  const element = make("select", { id: name, "data-focus": name, onchange });
  let known = null;
  const offer = (all) => {
    const text = JSON.stringify(all);
    if (text === known) return;
    known = text;
    element.replaceChildren(make("option", { value: "" }, say("all")), ...Object.entries(all).map(([value, word]) => make("option", { value }, word)));
  };
  return {
    name,
    whole: make("div", { class: "field" }, make("label", { for: name }, label), element),
    fill(value, traits) {
      const all = valuesOf ? Object.fromEntries(valuesOf(traits).map((one) => [one, name === "flag" ? named(one) : one])) : choices;
      offer(value && !(value in all) ? { ...all, [value]: value } : all);
      element.value = value;
    },
  };
}

function traitSelects(choose) {
  const labels = {
    modality: say("Modality"), sender: say("Sender"), rule: say("Rule"), destination: say("Destination"), flag: say("Flag"),
  };
  return Object.entries(labels).map(([name, label]) => select(name, label, {}, choose(name), (traits) => traits[name]));
}

function date(name, label, onchange) {
  const input = make("input", { type: "date", id: name, "data-focus": name, onchange });
  return {
    name,
    whole: make("div", { class: "field" }, make("label", { for: name }, label), input),
    fill(value) { if (document.activeElement !== input) input.value = dayOf(value); },
  };
}
