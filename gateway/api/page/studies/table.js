// The table of studies: its heads sort it, and a row that is as it was stays the same element.

import { make, show } from "../parts/dom.js";
import { say } from "../parts/words.js";
import { COLUMNS, row } from "./row.js";

const DOWN_FIRST = ["received", "updated", "images"];

const orderOf = (query) => {
  const sort = query.get("sort") || "received";
  return { sort, isDown: query.get("order") ? query.get("order") === "desc" : DOWN_FIRST.includes(sort) };
};

export function table(isSearched, chosen, put) {
  const body = make("tbody");
  const head = make("tr");
  const sorting = isSearched ? sortBox(put) : null;
  const rows = new Map(); // by key: what was shown of it, and how
  const rowOf = (study) => {
    const said = JSON.stringify(study);
    if (rows.get(study.study_key)?.said !== said) rows.set(study.study_key, { said, row: row(study, chosen) });
    return rows.get(study.study_key).row;
  };
  return {
    whole: make("div", {}, sorting?.whole,
      make("div", { class: "scroll records", role: "region", "aria-label": say("Studies"), tabindex: 0 },
        make("table", {}, make("caption", { class: "hidden" }, say("Studies")), make("thead", {}, head), body))),
    fill(query, items) {
      const order = orderOf(query);
      sorting?.fill(order);
      show(head, chosen ? make("th", { scope: "col", class: "choice" }, chosen.ofPage) : null,
        ...COLUMNS.map((column) => (isSearched && column.sort ? sorted(column, order, put) : make("th", { scope: "col", class: column.name }, column.title))));
      const shown = items.map(rowOf);
      for (const key of rows.keys()) if (!items.some((one) => one.study_key === key)) rows.delete(key);
      if (shown.length !== body.rows.length || shown.some((one, at) => one !== body.rows[at])) show(body, ...shown);
      chosen?.mark(shown);
    },
  };
}

function sorted({ name, title, sort }, order, put) {
  const isIt = sort === order.sort;
  const turned = isIt ? !order.isDown : DOWN_FIRST.includes(sort);
  const arrow = isIt ? (order.isDown ? "▼" : "▲") : "";
  return make("th", { scope: "col", class: name, "aria-sort": isIt ? (order.isDown ? "descending" : "ascending") : null },
    make("button", {
      type: "button", class: "plain", "data-focus": `sort ${sort}`, onclick: () => put({ sort, order: turned ? "desc" : "asc" }),
    }, title, make("span", { class: "arrow", "aria-hidden": true }, arrow)));
}

// In a small window the heads are not shown.
function sortBox(put) {
  const ways = COLUMNS.filter((column) => column.sort).flatMap(({ title, sort }) => [
    [`${sort} desc`, say("{column}, downwards", { column: title })], [`${sort} asc`, say("{column}, upwards", { column: title })],
  ]);
  const choose = (event) => { const [sort, order] = event.target.value.split(" "); put({ sort, order }); };
  const element = make("select", { id: "sort", "data-focus": "sort", onchange: choose },
    ways.map(([value, words]) => make("option", { value }, words)));
  return {
    whole: make("div", { class: "field sorting" }, make("label", { for: "sort" }, say("Order")), element),
    fill({ sort, isDown }) { element.value = `${sort} ${isDown ? "desc" : "asc"}`; },
  };
}
