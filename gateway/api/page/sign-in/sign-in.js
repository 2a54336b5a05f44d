// Signs the page in where it is told of a place: at Cognito, or an issuer of OpenID Connect; authorization code with PKCE
// (RFC 7636). Everything else waits for it. Tokens live in this tab alone (sessionStorage) and go nowhere but to the API
// and to that place. What is told: its `name`, the `client` that this page is there, the addresses `authorize`, `token` and
// `logout`, what the latter calls the address to come `back` to, the `scope`, and which token the API is sent (`sends`).

import { say } from "../parts/words.js";

const KEPT = "iris-tokens";
const LEFT = "iris-signing-in"; // what was agreed before this page was left for Cognito's
const EARLY_MS = 60000; // a token is renewed so long before it ends
const FRESH_MS = 10000; // one that is refused so soon would be refused again

export let trouble = ""; // why nobody is signed in, although somebody should be
let session = false;
let settings = null;
let tokens = null;
let renewing = null;

export const isOn = () => settings !== null;

// Whether the gateway itself keeps a session of this page, by a cookie.
export const hasSession = () => session;

// Who signs in at a user pool is in the cloud.
export const isAtGateway = () => session || settings?.sends === "id";

async function begin() {
  const told = await fetch("/page/sign-in.json").then((answer) => answer.json()).catch(() => ({}));
  session = told.session ?? false;
  trouble = told.trouble ?? "";
  if (!told.authorize && !trouble) return;
  settings = told;
  if (trouble) return;
  tokens = JSON.parse(sessionStorage.getItem(KEPT));
  const query = new URLSearchParams(location.search);
  if (query.has("code") || query.has("error")) await comeBack(query);
  if (!tokens && !trouble) await leave();
}

// To Cognito's own page; this one does not go on.
export async function leave() {
  forget();
  if (!settings.authorize) { location.reload(); return; } // it could not be said where to; perhaps it can now
  const left = { state: random(), verifier: random(), place: location.pathname + location.hash };
  sessionStorage.setItem(LEFT, JSON.stringify(left));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(left.verifier));
  go(settings.authorize, {
    response_type: "code", scope: settings.scope, redirect_uri: here(), state: left.state,
    code_challenge: text(new Uint8Array(digest)), code_challenge_method: "S256",
  });
  return new Promise(() => {});
}

export function signOut() {
  const hint = settings.sends === "id" ? { id_token_hint: tokens.id } : {}; // OpenID Connect RP-Initiated Logout 1.0
  forget();
  if (settings.logout) go(settings.logout, { [settings.back]: here(), ...hint });
  else location.assign("/");
}

// What a request to the API has to bring along.
export async function authorization() {
  if (!settings) return {};
  if (!tokens) throw new Error(trouble || say("You are not signed in."));
  if (Date.now() > tokens.until - EARLY_MS) {
    renewing ??= renew().finally(() => { renewing = null; });
    await renewing;
  }
  return { Authorization: `Bearer ${tokens[settings.sends]}` };
}

// The API did not take the token.
export async function refused() {
  if (tokens && Date.now() - tokens.since > FRESH_MS) await leave();
  throw new Error(say("This sign-in is not accepted here; tell who runs {name}.", { name: settings.name }));
}

// As a user pool says it, whose token for the API has no name that people know; empty: the API says it.
export function who() {
  if (settings.sends === "id") return "";
  const known = claims(tokens.id ?? tokens.access);
  return known.email ?? known["cognito:username"] ?? known.username;
}

async function comeBack(query) {
  const left = JSON.parse(sessionStorage.getItem(LEFT));
  sessionStorage.removeItem(LEFT);
  history.replaceState(null, "", left?.place ?? "/"); // the code leaves the address
  if (query.has("error")) {
    trouble = say("{name} did not sign you in ({error}).", { name: settings.name, error: query.get("error") });
  } else if (!left || left.state !== query.get("state")) {
    trouble = say("This answer to a sign-in is not one that this page asked for.");
  } else {
    const asked = { grant_type: "authorization_code", code: query.get("code"), code_verifier: left.verifier };
    if (!await exchange({ ...asked, redirect_uri: here() })) trouble = say("{name} did not accept the sign-in.", { name: settings.name });
    else if (!left.place.startsWith("/#") && left.place !== "/") location.replace(left.place);
  }
}

async function renew() {
  const done = tokens.refresh && await exchange({ grant_type: "refresh_token", refresh_token: tokens.refresh });
  if (!done) await leave();
}

async function exchange(asked) {
  const answer = await fetch(settings.token, {
    method: "POST", credentials: "omit", body: new URLSearchParams({ client_id: settings.client, ...asked }),
  }).catch(() => null);
  if (!answer?.ok) return false;
  const given = await answer.json();
  const now = Date.now();
  tokens = {
    access: given.access_token, id: given.id_token ?? tokens?.id, refresh: given.refresh_token ?? tokens?.refresh,
    since: now, until: now + livesFor(given),
  };
  sessionStorage.setItem(KEPT, JSON.stringify(tokens));
  return true;
}

// The clock of this machine may be wrong: only how long a token lives is taken from it.
function livesFor(given) {
  if (settings.sends !== "id" || !given.id_token) return given.expires_in * 1000;
  const { exp, iat } = claims(given.id_token);
  return (exp - iat) * 1000;
}

function forget() {
  tokens = null;
  sessionStorage.removeItem(KEPT);
}

function go(address, asked) {
  location.assign(`${address}?${new URLSearchParams({ client_id: settings.client, ...asked })}`);
}

const here = () => `${location.origin}/`;

const random = () => text(crypto.getRandomValues(new Uint8Array(32)));

function text(bytes) { // base64url without padding
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function claims(token) {
  const part = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(part, (char) => char.charCodeAt(0))));
}

await begin(); // last: what it calls has to be there
