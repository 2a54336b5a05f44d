// What the page says, in the reader's language. English stands in the code; the other languages are catalogues of it.

import { SPANISH } from "./spanish.js";

const CATALOGUES = { es: SPANISH };
const KEPT = "iris-language";

export const LANGUAGES = { en: "English", es: "Español" };
export const language = chosen();
export const locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language; // of numbers and times
document.documentElement.lang = language;

function chosen() {
  const wished = [localStorage.getItem(KEPT), ...navigator.languages].filter(Boolean);
  return wished.map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES) ?? "en";
}

// From then on; the page is loaded anew.
export function speak(tag) {
  localStorage.setItem(KEPT, tag);
  location.reload();
}

// `say("{n} images", { n: 3 })`: the sentence, and what stands in its braces.
export function say(english, values = {}) {
  const sentence = CATALOGUES[language]?.[english] ?? english;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// A code, as states and flags have it, in words.
export const named = (code) => say(code.replaceAll("_", " "));

// What stands in the page's own HTML, in elements that are marked so; of those for one language the others are hidden.
export function sayWhatStandsThere() {
  for (const one of document.querySelectorAll("[data-only]")) one.hidden = one.lang !== language;
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.textContent.trim().replace(/\s+/g, " "));
  for (const one of document.querySelectorAll("[data-say-label]")) one.setAttribute("aria-label", say(one.getAttribute("aria-label")));
}
