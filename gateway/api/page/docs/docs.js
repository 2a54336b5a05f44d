// Draws the list of operations from the gateway's own OpenAPI.

import { get } from "../parts/api.js";
import { make, show, table } from "../parts/dom.js";
import { sayWhatStandsThere } from "../parts/words.js";

const content = document.getElementById("content");
sayWhatStandsThere();

function operation(path, method, what) {
  const parameters = (what.parameters ?? []).map((one) => make("tr", {},
    make("td", {}, make("code", {}, one.name)),
    make("td", {}, one.required ? `${one.in}, required` : one.in),
    make("td", {}, one.description ?? "")));
  return make("article", { class: "card" },
    make("h2", {}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    make("p", {}, what.description ?? what.summary ?? ""),
    parameters.length ? table(`Parameters of ${method} ${path}`, ["Name", "In", "Meaning"], parameters) : null);
}

try {
  const api = await get("/openapi.json");
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, what]) => operation(path, method, what)));
  show(content,
    make("h1", {}, `${api.info.title} ${api.info.version}`),
    make("p", {}, api.info.description),
    make("p", {}, "Programs send a token as ",
      make("code", {}, "Authorization: Bearer TOKEN"), ". Errors are RFC 9457 problem details. The whole description, with every field: ",
      make("a", { href: "/openapi.json" }, "openapi.json"), "."),
    ...operations);
} catch (error) {
  show(content, make("p", { class: "notice bad", role: "alert" }, error.message));
}
