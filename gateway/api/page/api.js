// Asks the API; a problem becomes an Error with its sentence.

import { authorization, isOn, refused } from "./sign-in.js";

async function ask(address, options = {}) {
  const headers = { ...options.headers, ...await authorization() };
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin", ...options, headers });
  } catch {
    throw new Error("The gateway does not answer.");
  }
  if (answer.status === 401) {
    if (isOn()) await refused();
    location.assign("/");
    throw new Error("You are not signed in any more.");
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok && answer.status !== 503) throw new Error(content?.detail ?? `The gateway answered ${answer.status}.`);
  return content;
}

export const get = (address) => ask(address);

// The header tells the gateway that this page asks, and no form of another site.
export const post = (address, body) => ask(address, { method: "POST", headers: { "X-IRIS-Page": "1" }, body });

export const postJson = (address, content) => ask(address, {
  method: "POST", headers: { "X-IRIS-Page": "1", "Content-Type": "application/json" }, body: JSON.stringify(content),
});

export const path = (...parts) => `/api/v1/${parts.map(encodeURIComponent).join("/")}`;
