// Signs the page in at Cognito, where it is told of one: authorization code with PKCE (RFC 7636). Everything else
// waits for it. Tokens live in this tab alone (sessionStorage) and go nowhere but to the API and to Cognito.

const KEPT = "iris-tokens";
const LEFT = "iris-signing-in"; // what was agreed before this page was left for Cognito's
const EARLY_MS = 60000; // a token is renewed so long before it ends
const FRESH_MS = 10000; // one that is refused so soon would be refused again

export let trouble = ""; // why nobody is signed in, although the answer of Cognito is there
let settings = null;
let tokens = null;
let renewing = null;

export const isOn = () => settings !== null;

async function begin() {
  const told = await fetch("/page/sign-in.json").then((answer) => answer.json()).catch(() => ({}));
  if (!told.url) return;
  settings = told;
  tokens = JSON.parse(sessionStorage.getItem(KEPT));
  const query = new URLSearchParams(location.search);
  if (query.has("code") || query.has("error")) await comeBack(query);
  if (!tokens && !trouble) await leave();
}

// To Cognito's own page; this one does not go on.
export async function leave() {
  forget();
  const left = { state: random(), verifier: random(), place: location.pathname + location.hash };
  sessionStorage.setItem(LEFT, JSON.stringify(left));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(left.verifier));
  go("/oauth2/authorize", {
    response_type: "code", scope: "openid", redirect_uri: here(), state: left.state,
    code_challenge: text(new Uint8Array(digest)), code_challenge_method: "S256",
  });
  return new Promise(() => {});
}

export function signOut() {
  forget();
  go("/logout", { logout_uri: here() });
}

// What a request to the API has to bring along.
export async function authorization() {
  if (!settings) return {};
  if (!tokens) throw new Error(trouble || "You are not signed in.");
  if (Date.now() > tokens.until - EARLY_MS) {
    renewing ??= renew().finally(() => { renewing = null; });
    await renewing;
  }
  return { Authorization: `Bearer ${tokens.access}` };
}

// The API did not take the token.
export async function refused() {
  if (tokens && Date.now() - tokens.since > FRESH_MS) await leave();
  throw new Error("This sign-in is not accepted here; tell who runs the user pool.");
}

export function who() {
  const groups = claims(tokens.access)["cognito:groups"] ?? [];
  const known = claims(tokens.id ?? tokens.access);
  const group = ["admin", "viewer"].find((name) => groups.includes(name));
  return `${known.email ?? known["cognito:username"] ?? known.username} (${group ?? "no group"})`;
}

async function comeBack(query) {
  const left = JSON.parse(sessionStorage.getItem(LEFT));
  sessionStorage.removeItem(LEFT);
  history.replaceState(null, "", left?.place ?? "/"); // the code leaves the address
  if (query.has("error")) {
    trouble = `Cognito did not sign you in (${query.get("error")}).`;
  } else if (!left || left.state !== query.get("state")) {
    trouble = "This answer to a sign-in is not one that this page asked for.";
  } else {
    const asked = { grant_type: "authorization_code", code: query.get("code"), code_verifier: left.verifier };
    if (!await exchange({ ...asked, redirect_uri: here() })) trouble = "Cognito did not accept the sign-in.";
    else if (!left.place.startsWith("/#") && left.place !== "/") location.replace(left.place);
  }
}

async function renew() {
  const done = tokens.refresh && await exchange({ grant_type: "refresh_token", refresh_token: tokens.refresh });
  if (!done) await leave();
}

async function exchange(asked) {
  const answer = await fetch(`${settings.url}/oauth2/token`, {
    method: "POST", credentials: "omit", body: new URLSearchParams({ client_id: settings.client, ...asked }),
  }).catch(() => null);
  if (!answer?.ok) return false;
  const given = await answer.json();
  const now = Date.now();
  tokens = {
    access: given.access_token, id: given.id_token, refresh: given.refresh_token ?? tokens?.refresh,
    since: now, until: now + given.expires_in * 1000,
  };
  sessionStorage.setItem(KEPT, JSON.stringify(tokens));
  return true;
}

function forget() {
  tokens = null;
  sessionStorage.removeItem(KEPT);
}

function go(path, asked) {
  location.assign(`${settings.url}${path}?${new URLSearchParams({ client_id: settings.client, ...asked })}`);
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
