// What was decided about each volume of each series, and why; another one is used instead by a button.

import { button } from "../parts/actions.js";
import { path } from "../parts/api.js";
import { english, make, records } from "../parts/dom.js";
import { say } from "../parts/words.js";

export function seriesName(series) {
  return series.number === null ? say("a series without number") : say("series {number}", { number: series.number });
}

export function seriesTable(answer, act) {
  if (!answer.series.length) return null;
  const heads = [say("Verdict"), say("Series"), say("Images"), say("Why"), say("Action")];
  const rows = answer.series.flatMap((series) => (series.volumes.length
    ? series.volumes.map((volume) => row(volume, series, answer, act))
    : [waiting(series)]));
  return records(say("Volumes"), heads, rows);
}

function waiting(series) {
  return make("tr", { class: "left" },
    make("td", {}, verdict("", say("not decided yet"))),
    what(series),
    make("td", { class: "number" }, String(series.images)),
    make("td", { class: "sentence quiet" }, say("Decided when the study is complete.")),
    make("td", {}));
}

function row(volume, series, answer, act) {
  const isUsed = Boolean(volume.job_key);
  const canBeUsed = volume.can_be_used && !isUsed && !answer.images_removed;
  return make("tr", { class: isUsed ? "taken" : "left" },
    make("td", {}, isUsed ? verdict("done", say("used")) : verdict("superseded", say("not used"))),
    what(series, series.volumes.length > 1 ? say("volume {number}", { number: volume.number }) : ""),
    make("td", { class: "number" }, String(volume.images)),
    make("td", { class: "sentence" }, english(volume.why), findings(volume), ranking(volume, series)),
    make("td", {}, canBeUsed ? use(volume, series, answer, act) : null));
}

const verdict = (kind, text) => make("span", { class: `badge ${kind}` }, text);

function what(series, part = "") {
  return make("td", {}, [seriesName(series), part].filter(Boolean).join(", "),
    make("span", { class: "why" }, [series.modality, series.description].filter(Boolean).join(" · ")));
}

function findings(volume) {
  if (!volume.findings.length) return null;
  return make("ul", { class: "findings" }, volume.findings.map((finding) => make("li", {}, english(finding.sentence))));
}

function ranking(volume, series) {
  if (volume.ranking.length < 2) return null;
  return make("details", { "data-keep": `${series.series_uid} ${volume.number}` },
    make("summary", {}, say("Ranking of the {n} volumes of its scan", { n: volume.ranking.length })),
    make("ol", {}, volume.ranking.map((line) => make("li", {}, english(line)))));
}

function use(volume, series, answer, act) {
  const address = path("studies", answer.study_key, "use");
  return button(say("Use this one"), address, act, {
    content: { series_uid: series.series_uid, number: volume.number },
    title: say("Segment it in the place of the other volumes of its scan; what is not delivered of those is given up"),
    said: say("it takes the place of the others of its scan."),
    focus: `${address} ${series.series_uid} ${volume.number}`,
    question: say("This volume is segmented in the place of the others of its scan, now and whenever more of the study comes. What is not delivered of those is given up; what is delivered stays."),
  });
}
