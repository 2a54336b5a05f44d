// Who may ask: tokens by name and role; an admin makes them, and ends them.

import { button } from "../parts/actions.js";
import { get, path, postJson } from "../parts/api.js";
import { badge, make, records, show, time } from "../parts/dom.js";
import { say } from "../parts/words.js";

const TOKENS = path("tokens");
const ROLES = {
  viewer: () => say("viewer: reads"),
  operator: () => say("operator: retries, cancels, releases, sends again"),
  admin: () => say("admin: erases, too, and says who may ask"),
  sender: () => say("sender: sends images by STOW-RS, and nothing else"),
};

export async function access(content, { isDue, again, act }) {
  const { items } = await get(TOKENS);
  if (!await isDue(items)) return;
  const heads = [say("Name"), say("Begins"), say("Role"), say("State"), say("Made"), say("Ends"), ""];
  show(content,
    make("h1", {}, say("Who may ask")),
    make("p", {}, say("Each person and each program has a token of its own: the timeline has its name. The first admin’s token stands in the file admin-token at the gateway.")),
    form(again),
    make("h2", {}, say("Tokens")),
    items.length ? records(say("Tokens"), heads, items.map((one) => row(one, act)))
      : make("p", { class: "quiet" }, say("No token was made yet.")));
}

function row(one, act) {
  const ends = one.revoked ?? one.expires;
  return make("tr", { "data-key": one.prefix },
    make("td", {}, one.name),
    make("td", {}, make("code", {}, `${one.prefix}…`)),
    make("td", {}, one.role),
    make("td", {}, badge(one.state)),
    make("td", {}, time(one.created), make("span", { class: "why" }, say("by {name}", { name: one.created_by }))),
    make("td", {}, ends ? time(ends) : say("never"), one.revoked_by ? make("span", { class: "why" }, say("by {name}", { name: one.revoked_by })) : null),
    make("td", {}, one.state === "revoked" ? null : button(say("Revoke"), path("tokens", one.name, "revoke"), act, {
      needs: "admin", said: say("{name} opens nothing any more.", { name: one.name }),
      question: say("Whoever uses the token {name} is let in no longer, at once. It cannot be taken back.", { name: one.name }),
    })));
}

function form(redraw) {
  const name = make("input", { id: "name", required: true, maxlength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*", autocomplete: "off", "aria-describedby": "name-rule" });
  const role = make("select", { id: "role" }, Object.entries(ROLES).map(([value, label]) => make("option", { value }, label())));
  const days = make("input", { id: "days", type: "number", min: 1, max: 36500, step: 1, value: 365 });
  const trouble = make("div", { "aria-live": "polite" });
  const whole = make("form", { class: "card new-token", "data-keep": "new-token" },
    field(say("Who or what uses it"), name, make("p", { class: "why", id: "name-rule" }, say("a to z, figures, dot, hyphen, underscore"))),
    field(say("Role"), role), field(say("Days until it ends; empty: never"), days),
    make("button", {}, say("Make a token")), trouble);
  whole.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const wish = { name: name.value, role: role.value, expires_days: days.value ? Number(days.value) : null };
      await told(await postJson(TOKENS, wish));
      await redraw();
    } catch (error) {
      trouble.replaceChildren(make("p", { class: "notice bad", role: "alert" }, error.message));
    }
  });
  return whole;
}

const field = (label, input, ...more) => make("div", {}, make("label", { for: input.id }, label), input, ...more);

// The one time that it is shown; until it is said to be kept it stays.
function told(made) {
  return new Promise((done) => {
    const title = say("The token of {name}", { name: made.name });
    const dialog = make("dialog", { class: "card", "aria-label": title, onclose: () => { dialog.remove(); done(); } },
      make("h2", {}, title),
      make("p", {}, make("code", { class: "token" }, made.token)),
      make("p", {}, say("Keep it now: it is not shown again. Programs send it as Authorization: Bearer TOKEN; people sign in with it at this page.")),
      make("div", { class: "actions" },
        make("button", { type: "button", onclick: () => dialog.close() }, say("I have kept it"))));
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // Escape would lose it
    document.body.append(dialog);
    dialog.showModal();
  });
}
