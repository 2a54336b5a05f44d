// At the top of every view: who is signed in, and the way out.

import { post } from "../parts/api.js";
import { make } from "../parts/dom.js";
import { may, me } from "../parts/me.js";
import { say } from "../parts/words.js";
import { hasSession, isAtGateway, isOn, signOut, who } from "../sign-in/sign-in.js";

const ANYONE = "anyone"; // where no token is asked for

export function showWho(place) {
  if (!may("operator")) document.querySelector('nav a[data-view="upload"]').remove();
  if (me.name === ANYONE) return;
  const name = (isOn() && who()) || me.name;
  const role = me.role || say("no role");
  const out = isOn() ? signOut : hasSession() ? endSession : null;
  place.replaceChildren(say("Signed in as {name} ({role})", { name, role }),
    ...(may("admin") && isAtGateway() ? [" ", make("a", { href: "#/access" }, say("Who may ask"))] : []),
    ...(out ? [" ", make("button", { type: "button", onclick: out }, say("Sign out"))] : []));
}

async function endSession() {
  await post("/sign-out").catch(() => null);
  location.assign("/");
}
