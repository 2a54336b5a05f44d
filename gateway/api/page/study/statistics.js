// The figures of each structure, sortable, with the doubts about it beside it.

import { make, table } from "../parts/dom.js";
import { json } from "../parts/files.js";
import { language, say } from "../parts/words.js";

const measured = new Map(); // by job: fetched once, while it stays as it is
const sorted = new Map(); // by job: [column, -1 or 1]; stays so while the page is shown anew

const COLUMNS = [
  { of: ([name]) => name, head: () => say("Structure") },
  { of: ([, one]) => one.volume_ml ?? 0, head: () => say("Volume, ml") },
  { of: ([, one]) => one.mean_intensity ?? -Infinity, head: (unit) => (unit ? say("Mean, {unit}", { unit }) : say("Mean intensity")) },
  { of: ([, one]) => one.std_intensity ?? -Infinity, head: (unit) => (unit ? say("SD, {unit}", { unit }) : say("SD")) },
];

export function statistics(job, address) {
  const version = `${job.job_key} ${job.attempts}`;
  const place = make("div", { class: "statistics" });
  const draw = (figures) => place.replaceChildren(...(figures ? [drawn(job, Object.entries(figures), () => draw(figures))] : []));
  if (!measured.has(version)) {
    const figures = json(address).catch(() => null); // the link beside it says why
    measured.set(version, { figures, now: null });
    figures.then((found) => { if (found) measured.get(version).now = found; else measured.delete(version); });
  }
  const { figures, now } = measured.get(version);
  if (now) draw(now);
  else figures.then(draw);
  return place;
}

function drawn(job, entries, again) {
  if (!entries.length) return make("p", { class: "quiet" }, say("Nothing was found, so there are no figures."));
  const [by, way] = sorted.get(job.job_key) ?? [0, 1];
  const key = COLUMNS[by].of;
  const rows = [...entries].sort((one, other) => way * (by === 0 ? key(one).localeCompare(key(other)) : key(one) - key(other)));
  const unit = entries.find(([, one]) => one.intensity_unit)?.[1].intensity_unit ?? "";
  const caption = say("Figures of {task}", { task: job.task });
  const whole = table(caption, COLUMNS.map((column) => column.head(unit)), rows.map((row) => line(job, row)));
  [...whole.querySelectorAll("thead th")].forEach((head, at) => sortable(head, at, job, again));
  return whole;
}

function sortable(head, at, job, again) {
  const [by, way] = sorted.get(job.job_key) ?? [0, 1];
  const press = () => { // numbers the largest first
    sorted.set(job.job_key, [at, by === at ? -way : at === 0 ? 1 : -1]);
    again();
    document.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  };
  const focus = `sort ${job.job_key} ${at}`;
  head.setAttribute("aria-sort", by !== at ? "none" : way > 0 ? "ascending" : "descending");
  head.classList.toggle("number", at > 0);
  head.replaceChildren(make("button", { type: "button", class: "sort", "data-focus": focus, onclick: press }, head.textContent));
}

function line(job, [name, one]) {
  const doubts = job.flags.filter((flag) => flag.structure === name);
  return make("tr", { class: doubts.length ? "doubted" : null },
    make("th", { scope: "row" }, name.replaceAll("_", " "),
      doubts.map((flag) => [" ", make("span", { class: "badge flag", title: flag.sentence, lang: "en" }, flag.code.replaceAll("_", " "))]).flat()),
    [number(one.volume_ml, one.truncated ? say("≥ {ml}", { ml: digits(one.volume_ml) }) : null), number(one.mean_intensity), number(one.std_intensity)]);
}

const number = (value, words = null) => make("td", { class: "number" }, value === null || value === undefined ? "" : words ?? digits(value));

// Three digits that count, as a reader of reports has them.
function digits(value) {
  const size = Math.abs(value);
  return value.toLocaleString(language, { maximumFractionDigits: size < 10 ? 2 : size < 100 ? 1 : 0 });
}
