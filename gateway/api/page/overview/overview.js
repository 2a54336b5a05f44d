// What an operator sees first: whether all is well and what to do, how everything stands, what the last day or
// month brought.

import { get, path } from "../parts/api.js";
import { make, show } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { cards } from "./cards.js";
import { destinations, tried } from "./destinations.js";
import { asTable, chartsOf, spanOf, switchOf } from "./history.js";
import { verdict } from "./verdict.js";

const OLD_MS = 60000; // so long the gateway itself keeps the present hour

let kept = null; // the history as it was last told, and as it is drawn: { span, at, answer, charts }

export async function overview(content, { isDue, query, again }) {
  const span = spanOf(query);
  const now = await get(path("overview"));
  const isGateway = now.started !== null; // the cloud knows no hours, and sends nothing
  const past = isGateway ? await historyOf(span) : null;
  if (!await isDue(now, past?.answer, tried())) return;
  show(content,
    verdict(now),
    make("div", { class: "cards" }, cards(now)),
    isGateway ? destinations(now.destinations, again) : null,
    past ? make("section", { "aria-label": say("History") }, switchOf(span), past.charts, asTable(past.answer)) : null);
}

async function historyOf(span) {
  if (kept?.span !== span || Date.now() - kept.at > OLD_MS) {
    const answer = await get(`${path("history")}?span=${span}`);
    kept = { span, at: Date.now(), answer, charts: chartsOf(answer) };
  }
  return kept;
}
