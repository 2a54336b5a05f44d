// Numbers in words: counted, sizes, and how long something takes.

import { locale, say } from "./words.js";

const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const dollars = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const count = (number) => plain.format(number);
export const rounded = (number) => (Math.abs(number) < 10 ? tenths : plain).format(number);
export const usd = (number) => dollars.format(number);

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  return `${rounded(number / 1000 ** power)} ${units[power]}`;
}

const UNITS = [["s", 1], ["min", 60], ["h", 3600], ["d", 86400]];

// The unit in which a time of so many seconds reads best: its name, and its seconds.
export const unitOf = (seconds) => UNITS.findLast(([, of]) => seconds >= 2 * of) ?? UNITS[0];

export function duration(seconds) {
  const [unit, of] = unitOf(seconds);
  return unit === "d" ? say("{n} days", { n: count(seconds / of) }) : `${rounded(seconds / of)} ${unit}`;
}
