// Sends a file and says how far it is, how fast, and how long it takes still. fetch would not say.

import { make } from "../parts/dom.js";
import { bytes, duration } from "../parts/numbers.js";
import { say } from "../parts/words.js";

const LOOK_BACK_MS = 8000; // the speed is that of the last seconds: lines change

// What was being sent did not get there: it can be sent again as it is.
export class BrokeOff extends Error {}

export function transfer(method, address, headers, body, running) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const bar = make("progress", { max: 100, value: 0, "aria-label": say("Upload") });
    const said = make("span", { class: "why", "data-sending": "" }, say("{n} %", { n: 0 }));
    const stop = make("button", { type: "button", onclick: () => request.abort() }, say("Stop"));
    running.replaceChildren(make("span", { class: "progress" }, bar, said), stop);
    const pace = paceOf();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = total ? (100 * loaded) / total : 0;
      said.textContent = loaded < total ? inWords(loaded, total, pace(loaded)) : say("The image is looked at…");
      stop.hidden = loaded >= total; // from then on it may have begun
    });
    request.addEventListener("load", () => {
      const content = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(content);
      else reject(new Error(content?.detail ?? say("The upload was answered with {status}.", { status: request.status })));
    });
    request.addEventListener("error", () => reject(new BrokeOff(say("The upload broke off. Look at the notices above, then send it again."))));
    request.addEventListener("abort", () => reject(new BrokeOff(say("The upload was stopped; nothing of it is kept."))));
    request.open(method, address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

// Bytes a second over the last seconds; 0 as long as that cannot be said.
function paceOf() {
  const seen = [[performance.now(), 0]];
  return (loaded) => {
    const now = performance.now();
    seen.push([now, loaded]);
    while (seen.length > 2 && now - seen[0][0] > LOOK_BACK_MS) seen.shift();
    const [since, before] = seen[0];
    return now > since ? (1000 * (loaded - before)) / (now - since) : 0;
  };
}

function inWords(loaded, total, pace) {
  const n = Math.floor((100 * loaded) / total);
  if (!pace) return say("{n} %", { n });
  return say("{n} %, {speed} a second, {time} left", { n, speed: bytes(pace), time: duration(Math.max(1, (total - loaded) / pace)) });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
