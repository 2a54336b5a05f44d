// What the list's part of the address means: to the API's list, and to what is done with all that match.

export const WORDS = ["q", "waits", "modality", "sender", "rule", "flag"]; // alike in lists and in bulk
export const FILTERS = [...WORDS, "state", "destination", "since", "until"];
export const FOLDED = ["modality", "sender", "rule", "destination", "flag", "since", "until"];
const PAGE = 50;
const DAY_MS = 86400000;

// Whether any of these narrows the list.
export const has = (query, names = FILTERS) => names.some((name) => query.get(name));

export function askedFor(query) {
  const asked = new URLSearchParams({ limit: PAGE });
  for (const name of [...FILTERS, "sort", "order", "cursor"]) {
    const value = name === "since" || name === "until" ? instant(query, name) : query.get(name);
    if (value) asked.set(name, value);
  }
  return asked;
}

// The filter of all studies that match, as POST /api/v1/actions takes it.
export function meantBy(query) {
  const times = { received_since: instant(query, "since"), received_until: instant(query, "until") };
  const own = { study_state: query.get("state"), study_destination: query.get("destination") };
  const words = Object.fromEntries(WORDS.map((name) => [name, query.get(name)]));
  return Object.fromEntries(Object.entries({ ...words, ...own, ...times }).filter(([, value]) => value));
}

// A day is one of this browser's, the last one with all its hours; other views give an instant.
function instant(query, name) {
  const value = query.get(name) ?? "";
  if (!/^\d{4}-\d\d-\d\d$/.test(value)) return value;
  const midnight = new Date(`${value}T00:00`);
  if (Number.isNaN(midnight.valueOf())) return "";
  if (name === "until") midnight.setTime(midnight.valueOf() + DAY_MS);
  return midnight.toISOString();
}

// For a field of a form: the day on which an instant is.
export function dayOf(value) {
  if (!value || /^\d{4}-\d\d-\d\d$/.test(value)) return value;
  const at = new Date(value);
  if (Number.isNaN(at.valueOf())) return "";
  return new Date(at.valueOf() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 10);
}
