// Asks the API; a problem becomes an Error with its sentence.

import { authorization, isOn, refused } from "../sign-in/sign-in.js";
import { language, say } from "./words.js";

const tags = new WeakMap(); // of each answer that has one
let last = { address: "", content: null };

async function ask(address, options = {}, before = null) {
  const headers = { "Accept-Language": language, ...options.headers, ...await authorization() };
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin", ...options, headers });
  } catch {
    throw new Error(say("The gateway does not answer."));
  }
  if (answer.status === 401) {
    if (isOn()) await refused();
    location.assign("/");
    throw new Error("You are not signed in any more.");
  }
  if (answer.status === 304) return before;
  const content = await answer.json().catch(() => null);
  if (!answer.ok && answer.status !== 503) throw new Error(content?.detail ?? `The gateway answered ${answer.status}.`);
  if (content && answer.headers.has("ETag")) tags.set(content, answer.headers.get("ETag"));
  return content;
}

export const get = (address) => ask(address);

// What is asked for again and again: where the answer is as it was, the very same object.
export async function getAgain(address) {
  const before = address === last.address ? last.content : null;
  const headers = tags.has(before) ? { "If-None-Match": tags.get(before) } : {};
  const content = await ask(address, { headers }, before);
  last = { address, content };
  return content;
}

// The header tells the gateway that this page asks, and no form of another site.
export const post = (address, body) => ask(address, { method: "POST", headers: { "X-IRIS-Page": "1" }, body });

export const postJson = (address, content) => ask(address, {
  method: "POST", headers: { "X-IRIS-Page": "1", "Content-Type": "application/json" }, body: JSON.stringify(content),
});

export const path = (...parts) => `/api/v1/${parts.map(encodeURIComponent).join("/")}`;
