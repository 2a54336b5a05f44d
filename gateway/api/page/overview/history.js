// What the last day or month brought: studies and results, images, how long each stage took, what it cost.

import { addressOf } from "../parts/address.js";
import { bars, lines } from "../parts/charts.js";
import { make, show, table } from "../parts/dom.js";
import { count, duration, rounded, unitOf, usd } from "../parts/numbers.js";
import { locale, say } from "../parts/words.js";

const WIDE = 688; // from there on three stand side by side, as in the style
const GAP = 16;
const INSIDE = 36; // of a card: its padding and border
const STAGES = () => ({
  receive: say("Received, until complete"), convert: say("Converted"), queue: say("At the queue"), run: say("Segmented"),
  encode: say("Encoded"), deliver: say("Delivered"),
});

export const spanOf = (query) => (query.get("span") === "month" ? "month" : "day");

export function switchOf(span) {
  const choice = (name, words) => make("a", {
    href: addressOf("overview", name === "day" ? {} : { span: name }), "data-focus": `span ${name}`, "aria-current": name === span ? "true" : null,
  }, words);
  return make("div", { class: "bar" },
    make("div", {},
      make("h2", {}, span === "day" ? say("The last 24 hours") : say("The last 30 days")),
      make("p", { class: "why" }, say("Hours and days by the clock of the site."))),
    make("p", { class: "switch", role: "group", "aria-label": say("Time shown") }, choice("day", say("Day")), choice("month", say("Month"))));
}

const dayOf = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", timeZone: "UTC" }); // the site's days, as they are called there

const named = ({ span, items }) => items.map((item) => ({
  ...item, label: span === "day" ? item.local.slice(11) : dayOf.format(new Date(`${item.local}Z`)),
}));

// Charts are drawn as wide as there is room, so that their letters are as large as all others.
export function chartsOf(answer) {
  const place = make("div", { class: "charts" });
  let drawn = 0;
  new ResizeObserver(() => {
    if (!place.clientWidth || place.clientWidth === drawn) return;
    drawn = place.clientWidth;
    draw(place, named(answer));
  }).observe(place);
  return place;
}

function draw(place, items) {
  const whole = place.clientWidth;
  const wide = (of) => (whole < WIDE ? whole : ((whole - GAP * 2) / 3) * of + GAP * (of - 1)) - INSIDE;
  show(place,
    throughput(items, wide(2)), images(items, wide(1)),
    ...Object.entries(STAGES()).map(([stage, words]) => stageChart(items, stage, words, wide(1))),
    cost(items, wide(3)));
}

function figure(title, unit, chart, classes, legend = null) {
  return make("figure", { class: `card ${classes}` },
    make("figcaption", {}, make("h3", {}, title), make("span", { class: "why" }, unit), legend),
    chart ?? make("p", { class: "quiet nothing" }, say("Nothing in this time.")));
}

const legendOf = (entries) => make("ul", { class: "legend" }, Object.entries(entries).map(([key, words]) =>
  make("li", {}, make("span", { class: `swatch ${key}`, "aria-hidden": "true" }), words)));

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

function throughput(items, width) {
  const points = items.map(({ label, studies, delivered, failed }) => ({
    label, values: { received: studies, delivered, failed },
    said: say("{time}: {studies} studies received, {delivered} results delivered, {failed} failed", { time: label, studies: count(studies), delivered: count(delivered), failed: count(failed) }),
  }));
  const said = say("{studies} studies received, {delivered} results delivered, {failed} failed in all", {
    studies: count(sum(items, (one) => one.studies)), delivered: count(sum(items, (one) => one.delivered)), failed: count(sum(items, (one) => one.failed)),
  });
  return figure(say("Studies and results"), said, bars({ width, height: 200, points, series: ["received", "delivered", "failed"], said, number: rounded, least: 1 }), "two",
    legendOf({ received: say("studies received"), delivered: say("results delivered"), failed: say("jobs failed") }));
}

function images(items, width) {
  const points = items.map(({ label, instances }) => ({ label, values: { images: instances }, said: say("{time}: {n} images", { time: label, n: count(instances) }) }));
  const said = say("{n} images received in all", { n: count(sum(items, (one) => one.instances)) });
  const short = new Intl.NumberFormat(locale, { notation: "compact" });
  return figure(say("Images received"), said, bars({ width, height: 200, points, series: ["images"], said, number: (value) => short.format(value), least: 1 }), "one");
}

function stageChart(items, stage, words, width) {
  const times = items.map((one) => one.stages[stage]).filter(Boolean);
  if (!times.length) return figure(words, "", null, "one stage");
  const [unit, seconds] = unitOf(Math.max(...times.map((one) => one.p95_s)));
  const points = items.map(({ label, stages }) => {
    const one = stages[stage];
    return {
      label, values: { median: one ? one.median_s / seconds : null, p95: one ? one.p95_s / seconds : null },
      said: one ? say("{time}: median {median}, 95 % within {p95}, of {n}", { time: label, median: duration(one.median_s), p95: duration(one.p95_s), n: count(one.number) }) : say("{time}: none", { time: label }),
    };
  });
  const last = times.at(-1);
  const said = say("Lately: median {median}, 95 % within {p95}", { median: duration(last.median_s), p95: duration(last.p95_s) });
  return figure(words, said, lines({ width, height: 140, points, series: ["median", "p95"], said: `${words}. ${said}`, number: (value) => `${rounded(value)} ${unit}`, least: 1 }), "one stage");
}

function cost(items, width) {
  if (items.every((one) => one.usd === null)) return null; // nobody asks for money here
  const points = items.map(({ label, usd: dollars }) => ({ label, values: { cost: dollars }, said: say("{time}: {n} USD", { time: label, n: usd(dollars ?? 0) }) }));
  const said = say("{n} USD in all, as estimated", { n: usd(sum(items, (one) => one.usd ?? 0)) });
  return figure(say("Cost, USD"), said, bars({ width, height: 160, points, series: ["cost"], said, number: usd, least: 0.01 }), "three");
}

export function asTable(answer) {
  const stages = STAGES();
  const heads = [say("Time"), say("Studies"), say("Images"), say("Results"), say("Failed"), ...Object.values(stages), say("USD")];
  const cell = (text) => make("td", { class: "number" }, text);
  const rows = named(answer).toReversed().map((one) => make("tr", {},
    make("th", { scope: "row" }, one.label), cell(count(one.studies)), cell(count(one.instances)), cell(count(one.delivered)), cell(count(one.failed)),
    ...Object.keys(stages).map((stage) => cell(one.stages[stage] ? `${duration(one.stages[stage].median_s)} / ${duration(one.stages[stage].p95_s)}` : "")),
    cell(one.usd === null ? "" : usd(one.usd))));
  return make("details", { "data-keep": "history table" },
    make("summary", {}, say("The same as a table: of each stage the median, and what 95 % took at most")),
    table(say("History"), heads, rows));
}
