// What the address says behind its #: which view, of what, and the view's own parameters: `#/studies/KEY`,
// `#/studies?state=failed&q=ABC`.

export function place() {
  const [where, query = ""] = split(location.hash.slice(2));
  const [name, key = ""] = where.split("/");
  return { name: name || "overview", key: decoded(key), query: new URLSearchParams(query) };
}

// `addressOf("studies", { state: "failed" })`; what is empty is left out.
export function addressOf(name, query = {}, key = "") {
  const given = [...new URLSearchParams(query)].filter(([, value]) => value !== "");
  const where = [name === "overview" ? "" : name, ...(key ? [encodeURIComponent(key)] : [])].join("/");
  return `#/${where}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

// An address that was cut off in the middle of a character names what it says, which is nothing that exists.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function split(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

// The tab's title, which is also the name of a bookmark and of a line in the browser's history.
export function entitle(what) {
  document.title = `${what} - IRIS Gateway`;
}
