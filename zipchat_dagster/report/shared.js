"use strict";
// Shared by both pages: data, words and elements. Text from the data only ever becomes text nodes, never HTML.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
for (const [name, { columns, rows }] of Object.entries(data.tables)) {
  data[name] = rows.map((row) => Object.fromEntries(columns.map((column, n) => [column, row[n]])));
}

const DAY = 86400;
const dayOf = (iso) => Date.parse(`${iso}T00:00Z`) / 1000 / DAY; // the day's number since 1970

const ratio = (part, whole) => (whole ? part / whole : null);

// Words

const NONE = "–";
const short = (value) => (value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(0));
const count = (value) => (value === null ? NONE : value.toLocaleString("en"));
const percent = (value) => (value === null ? NONE : `${(value * 100).toFixed(1)}%`);
function duration(seconds) {
  if (seconds === null) return NONE;
  if (seconds < 59.5) return `${seconds.toFixed(0)}\u00a0s`;
  if (seconds < 59.5 * 60) return `${short(seconds / 60)}\u00a0min`;
  return seconds < 47.5 * 3600 ? `${short(seconds / 3600)}\u00a0h` : `${short(seconds / DAY)}\u00a0d`;
}
const inUtc = (options) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
const dateWords = inUtc({ day: "numeric", month: "short", year: "numeric" });
const shortDateWords = inUtc({ weekday: "short", day: "numeric", month: "short" });
const clockWords = inUtc({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayWords = (day) => shortDateWords.format(day * DAY * 1000);
function rangeWords(first, last) {
  const [from, to] = [first, last].map((day) => dateWords.format(day * DAY * 1000));
  return first === last ? to : `${from} – ${to}`;
}
const moment = ({ at, shift }) => clockWords.format((at + shift) * 1000);
const AS_OF = `as of ${moment({ at: data.now, shift: data.shift })} (${data.timezone})`;
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

// Elements

/** element("td.text", {title: "…"}, "text", child, …) */
function element(kind, properties, ...children) {
  const [name, ...classes] = kind.split(".");
  const made = document.createElement(name);
  if (classes.length) made.classList.add(...classes);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Columns: [heading, what a row shows (text or element), whether it is text to be left-aligned]. */
function table(columns, rows, kind = "table.stack") {
  const head = columns.map(([name, , isText]) => element(isText ? "th.text" : "th", { scope: "col" }, name));
  const line = (row) =>
    element("tr", {}, ...columns.map(([name, show, isText]) => {
      return element(isText ? "td.text" : "td", { "data-name": name }, show(row));
    }));
  const [thead, tbody] = [element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows.map(line))];
  const label = `Table by ${columns[0][0].toLowerCase()}`;
  return element("div.scroll", { tabIndex: 0, role: "region", "aria-label": label }, element(kind, {}, thead, tbody));
}

/** How a figure compares with the one before. More is better (`good` is 1), worse (-1) or neither (0). */
function change(as, good, now, then) {
  const isRate = as === percent;
  if (now === null || then === null || (!isRate && then === 0)) return "";
  const moved = isRate ? (now - then) * 100 : (now / then - 1) * 100;
  if (Math.abs(moved) < 0.5) return element("span.change", {}, `as before, ${as(then)}`);
  const size = Math.abs(moved).toFixed(isRate ? 1 : 0);
  const words = `${moved > 0 ? "+" : "−"}${size}${isRate ? " points" : "%"}`;
  const judged = good * moved > 0 ? "better" : "worse";
  const mark = good
    ? element(`b.${judged}`, {}, words, element("span.unseen", {}, `, ${judged}`))
    : element("b", {}, words);
  return element("span.change", {}, mark, element("span.before", {}, ` · ${as(then)} before`));
}

// The banner, if the records are not Zipchat's, and the button that switches between light and dark

byId("banner").hidden = !data.source;
byId("banner").querySelector("span").textContent = `These records come from ${data.source}.`;

const isDark = () => {
  const { colorScheme } = document.documentElement.style;
  return colorScheme ? colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const labelTheme = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
byId("theme").onclick = () => {
  document.documentElement.style.colorScheme = isDark() ? "light" : "dark";
  labelTheme();
};
labelTheme();
