// The list of studies. Its frame stays while studies move, so that nothing typed, selected or scrolled to is lost.

import { get, getAgain, path } from "../parts/api.js";
import { make, show } from "../parts/dom.js";
import { may } from "../parts/me.js";
import { place } from "../parts/address.js";
import { say } from "../parts/words.js";
import { filters } from "./filters.js";
import { askedFor, has } from "./query.js";
import { selection } from "./selection.js";
import { table } from "./table.js";

export { advance, isUpload, nameOf, progress } from "./row.js";

let frame = null; // anew each time that the view is entered

export async function studies(content, { isDue, query, change, act }) {
  const known = frame?.whole.isConnected ? frame : null;
  const [answer, traits] = await Promise.all([
    getAgain(`${path("studies")}?${askedFor(query)}`),
    known?.traits.modality.length ? known.traits : get(path("traits")),
  ]);
  if (!await isDue()) return;
  frame = known ?? made(traits.is_searched, change, act);
  frame.traits = traits;
  frame.fill(answer, query);
  if (!known) show(content, frame.whole);
}

// In the cloud studies are neither searched nor sorted nor acted on.
function made(isSearched, change, act) {
  const put = (changed, isStep = true) => change({ ...Object.fromEntries(place().query), cursor: "", ...changed }, { isStep });
  const above = filters(isSearched, put);
  const chosen = isSearched && may("operator") ? selection(act) : null;
  const below = table(isSearched, chosen, put);
  const none = make("p", { class: "quiet none" });
  const pager = make("nav", { class: "pager", "aria-label": say("Pages") });
  const whole = make("div", { class: "studies" }, make("h1", {}, say("Studies")), above.whole, chosen?.whole, below.whole, none, pager);
  return {
    whole,
    fill(answer, query) {
      above.fill(query, this.traits);
      chosen?.fill(query, answer);
      below.fill(query, answer.items);
      below.whole.hidden = !answer.items.length;
      none.textContent = answer.items.length ? "" : nothing(query);
      show(pager, ...turns(answer, query, put, whole));
    },
  };
}

function nothing(query) {
  if (query.get("cursor")) return say("No more studies match.");
  if (has(query)) return say("No study matches.");
  return say("No study has arrived yet. Send one to the gateway's DICOM address.");
}

function turns({ next_cursor: next }, query, put, whole) {
  const turn = (label, cursor) => make("button", {
    type: "button", "data-focus": label, onclick: () => put({ cursor }).then(() => whole.scrollIntoView()),
  }, label);
  return [query.get("cursor") ? turn(say("← First page"), "") : null, next ? turn(say("Next page →"), next) : null];
}
