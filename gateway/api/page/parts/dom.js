// Makes elements; texts go in as text only, never as markup.

import { locale, named } from "./words.js";

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function badge(state) {
  return make("span", { class: `badge ${state}` }, named(state));
}

// A sentence as the gateway keeps it, whatever the page's language.
export const english = (sentence) => make("span", { lang: "en" }, sentence);

const clock = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });

export const onTheClock = (at) => clock.format(new Date(at));

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "full" });

export function time(at) {
  return make("time", { datetime: at, title: zoned.format(new Date(at)) }, onTheClock(at));
}

// DICOM dates are eight digits (PS3.5 6.2, DA).
export function day(date) {
  return /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : date;
}

export function table(caption, heads, rows) {
  return make("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
    make("table", {},
      make("caption", { class: "hidden" }, caption),
      make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, rows)));
}

// A table whose rows are about one thing each: in a small window each row is a block, and its cells say what they are.
export function records(caption, heads, rows) {
  for (const row of rows) [...row.cells].forEach((cell, at) => { cell.dataset.head = heads[at]; });
  const whole = table(caption, heads, rows);
  whole.classList.add("records");
  return whole;
}

// By what the element is found again that has the keyboard.
function placeOf(element) {
  const [name, value] = element.matches("summary") ? ["data-keep", element.parentElement.dataset.keep]
    : element.dataset.focus ? ["data-focus", element.dataset.focus] : ["aria-label", element.getAttribute("aria-label")];
  return `[${name}="${CSS.escape(value ?? "")}"]${element.matches("summary") ? " > summary" : ""}`;
}

// Replaces what an element shows; the keyboard stays where it was, at the element itself where that is gone,
// and what was unfolded stays so.
export function show(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? placeOf(document.activeElement) : null;
  const unfolded = [...parent.querySelectorAll("details[open]")].map((one) => one.dataset.keep);
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  for (const one of parent.querySelectorAll("details")) one.open = unfolded.includes(one.dataset.keep);
  if (focused) (parent.querySelector(focused) ?? parent).focus({ preventScroll: true });
}
