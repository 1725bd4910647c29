"use strict";
// Computes every figure in the browser from the rows in the page; the queries report_*.sql define the
// rows. Text from the data only ever becomes text nodes, never HTML.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
const charts = read("charts");
for (const [name, { columns, rows }] of Object.entries(data.tables)) {
  data[name] = rows.map((row) => Object.fromEntries(columns.map((column, n) => [column, row[n]])));
}

// Days are numbers since 1970 of the local calendar, so that the browser's time zone plays no part.
const DAY = 86400;
const dayOf = (iso) => Date.parse(`${iso}T00:00Z`) / 1000 / DAY;
const isoOf = (day) => new Date(day * DAY * 1000).toISOString().slice(0, 10);
for (const row of [...data.escalations, ...data.conversations, ...data.waiting]) {
  row.day = Math.floor((row.at + row.shift) / DAY);
  row.hour = Math.floor(((row.at + row.shift) % DAY) / 3600);
}
for (const row of [...data.days, ...data.hours, ...data.starts]) row.day = dayOf(row.day);
for (const row of data.starts) row.answers = Object.entries(JSON.parse(row.answers ?? "{}"));
const FIRST = dayOf(data.first);
const LAST = dayOf(data.last);
const dayRow = (day) => data.days[day - FIRST];

const NAMES = new Map(data.agents.map(({ agent, name }) => [agent, name]));
const nameOf = (agent) => (agent === null ? "unassigned" : NAMES.get(agent) ?? `user ${agent}`);
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const weekdayOf = (day) => (day + 3) % 7; // 1970 began on a Thursday

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
const moment = ({ at, shift }) => clockWords.format((at + shift) * 1000);
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

// What is chosen

const chosen = { first: 0, last: 0, channels: new Set(), agents: new Set(), hours: "escalations" };
const today = dayOf(isoOf((data.now + data.shift) / DAY));
const ALL = LAST - FIRST + 1;
const RANGES = [[1, LAST === today ? "Today" : "Last day"], [7, "7 days"], [30, "30 days"]].filter(([days]) => days < ALL);
RANGES.push([ALL, ALL === 1 ? "1 day" : `${ALL} days`]);
const hasChannel = (row) => !chosen.channels.size || chosen.channels.has(row.channel);
const hasAgent = (row) => !chosen.agents.size || chosen.agents.has(String(row.agent));
const isChosen = (row) => hasChannel(row) && hasAgent(row);

// Figures

/** As DuckDB's quantile_cont: linear between the two nearest. `values` need not be sorted. */
function quantile(values, share) {
  if (!values.length) return null;
  const sorted = Float64Array.from(values).sort();
  const place = (sorted.length - 1) * share;
  const low = Math.floor(place);
  return sorted[low] + (sorted[Math.ceil(place)] - sorted[low]) * (place - low);
}
const ratio = (part, whole) => (whole ? part / whole : null);
const sum = (rows, name) => rows.reduce((total, row) => total + row[name], 0);
const happened = (row, name, by) => row[name] !== null && row.at + row[name] <= by;
const within = ({ day }, first, last) => day >= first && day <= last;

/** What can be said of these escalations as they stood at `by`, each figure as its rows. */
function measure(rows, by) {
  const answered = rows.filter((row) => happened(row, "response", by));
  const resolved = rows.filter((row) => happened(row, "resolution", by));
  const target = data.target ?? Infinity;
  const isDue = (row) => happened(row, "response", by) || happened(row, "duration", by) || by - row.at >= target;
  const due = rows.filter(isDue);
  const late = due.filter((row) => !(happened(row, "response", by) && row.response <= target));
  const responses = answered.map((row) => row.response);
  return {
    rows, answered, resolved, due, late,
    unanswered: rows.filter((row) => !happened(row, "response", by)),
    p50: quantile(responses, 0.5),
    p90: quantile(responses, 0.9),
    resolution: quantile(resolved.map((row) => row.resolution), 0.5),
    inTime: data.target === null ? null : ratio(due.length - late.length, due.length),
  };
}

/** Of the conversations that began in these rows of `starts`: counts, and percentiles of the AI's answers. */
function measureStarts(rows) {
  const totals = {};
  for (const name of ["started", "escalated", "human", "person", "involved", "automated", "pending", "known", "repeated"]) {
    totals[name] = sum(rows, name);
  }
  const answers = rows.flatMap((row) => row.answers.flatMap(([seconds, times]) => Array(times).fill(Number(seconds))));
  return { ...totals, answers };
}

/** The chosen channels and agents, as they stood at `by`; conversations of the last day up to `hour`. */
function figures(first, last, by, hour = 23) {
  const rows = data.escalations.filter((row) => within(row, first, last) && row.at <= by && isChosen(row));
  const starts = measureStarts(data.starts.filter((row) => within(row, first, last) && (row.day < last || row.hour <= hour) && hasChannel(row)));
  return { ...measure(rows, by), starts };
}

const openAt = (at) =>
  data.escalations.filter((row) => row.at < at && (row.duration === null || row.at + row.duration >= at) && isChosen(row));
const endOf = (day) => Math.min(dayRow(day).ends_at, data.now);
const begun = (test) => () =>
  data.conversations.filter((row) => within(row, chosen.first, chosen.last) && hasChannel(row) && test(row));
const outcomes = {
  automated: (row) => row.automated,
  pending: (row) => row.pending,
  person: (row) => row.escalated || row.human,
  other: (row) => !(row.automated || row.pending || row.escalated || row.human),
};

// A tile: its value (of `figures`), how to word it, whether more is better (1) or worse (-1), and its list.
const TILES = [
  { id: "started", label: "Conversations begun", of: (f) => f.starts.started, as: count, good: 0, list: begun(() => true) },
  { id: "escalations", label: "Escalations", of: (f) => f.rows.length, as: count, good: 0, list: (f) => f.rows },
  { id: "rate", label: "Escalation rate", of: (f) => ratio(f.starts.escalated, f.starts.started), as: percent, good: -1,
    list: begun((row) => row.escalated), title: "Begun in the range and escalated" },
  { id: "p50", label: "First response, median", of: (f) => f.p50, as: duration, good: -1, list: (f) => f.answered, title: "Answered", sort: "response" },
  { id: "p90", label: "First response, p90", of: (f) => f.p90, as: duration, good: -1, list: (f) => f.answered, title: "Answered", sort: "response" },
  { id: "target", label: "Within target", of: (f) => f.inTime, as: percent, good: 1, list: (f) => f.late, title: "Missed the target" },
  { id: "unanswered", label: "Not answered", of: (f) => f.unanswered.length, as: count, good: -1, list: (f) => f.unanswered },
  { id: "resolved", label: "Resolved", of: (f) => ratio(f.resolved.length, f.rows.length), as: percent, good: 1, list: (f) => f.resolved },
  { id: "resolution", label: "Resolution, median", of: (f) => f.resolution, as: duration, good: -1, list: (f) => f.resolved, title: "Resolved", sort: "resolution" },
];
const AI_TILES = [
  { id: "involved", label: "AI involved", of: (f) => ratio(f.starts.involved, f.starts.started), as: percent, good: 0, list: begun((row) => row.involved) },
  { id: "automated", label: "Automated", of: (f) => ratio(f.starts.automated, f.starts.started - f.starts.pending), as: percent, good: 1, list: begun(outcomes.automated) },
  { id: "pending", label: "Pending", of: (f) => f.starts.pending, as: count, good: 0, list: begun(outcomes.pending) },
  { id: "repeated", label: "Came back in 7 days", of: (f) => ratio(f.starts.repeated, f.starts.known), as: percent, good: -1, list: begun((row) => row.repeated) },
  { id: "answer", label: "AI answer, median", of: (f) => quantile(f.starts.answers, 0.5), as: duration, good: -1, list: begun((row) => row.answer !== null), sort: "answer" },
];

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
const byId = (id) => document.getElementById(id);

/** Columns: [heading, what a row shows (text or element), whether it is text to be left-aligned]. */
function table(columns, rows, kind = "table.stack") {
  const head = columns.map(([name, , isText]) => element(isText ? "th.text" : "th", { scope: "col" }, name));
  const line = (row) =>
    element("tr", {}, ...columns.map(([name, show, isText]) => {
      return element(isText ? "td.text" : "td", { "data-name": name }, show(row));
    }));
  const made = element(kind, {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows.map(line)));
  return element("div.scroll", { tabIndex: 0, role: "region", "aria-label": `Table by ${columns[0][0].toLowerCase()}` }, made);
}

/** The same, but only the first `limit` rows until more are asked for. */
function longTable(place, columns, rows, limit) {
  const show = (limit) => {
    place.replaceChildren(table(columns, rows.slice(0, limit)));
    if (rows.length <= limit) return;
    const step = Math.min(rows.length - limit, 200);
    place.append(element("button.more", { type: "button", onclick: () => show(limit + step) }, `Show ${count(step)} more of ${count(rows.length)}`));
  };
  show(limit);
}

function conversation({ id, link }) {
  const isSafe = /^https?:\/\//i.test(link ?? "");
  return isSafe ? element("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, `#${id}`) : `#${id}`;
}
const opens = (shown, rows, title) =>
  element("button", { type: "button", onclick: () => showList(title, rows), "aria-label": `${title}: ${shown}, list` }, shown);

// The list behind a figure

const state = (row) =>
  row.resolution !== null ? "resolved" : row.duration !== null ? "ended" : row.response !== null ? "open, answered" : "open, not answered";
const outcome = (row) => Object.keys(outcomes).find((name) => outcomes[name](row));
const ESCALATION_COLUMNS = [
  ["Conversation", conversation, true],
  ["Channel", (row) => row.channel, true],
  ["Agent", (row) => nameOf(row.agent), true],
  ["Escalated", moment],
  ["Response", (row) => duration(row.response)],
  ["Resolution", (row) => duration(row.resolution)],
  ["State", state, true],
];
const CONVERSATION_COLUMNS = [
  ["Conversation", conversation, true],
  ["Channel", (row) => row.channel, true],
  ["Began", moment],
  ["AI answer", (row) => duration(row.answer)],
  ["Outcome", (row) => outcome(row) + (row.repeated ? ", came back" : ""), true],
];

function showList(title, rows, sort) {
  const isEscalation = rows.length === 0 || "response" in rows[0];
  const ordered = sort ? rows.toSorted((a, b) => b[sort] - a[sort]) : rows;
  byId("list-title").textContent = `${title}: ${count(rows.length)}`;
  byId("list-note").textContent = [
    sort ? "Longest first." : "Newest first.",
    isEscalation ? "One row per escalation." : "One row per conversation.",
    !isEscalation && isCut(chosen.first) ? `Only the newest ${count(data.listed)} conversations are in this file; figures cover all.` : "",
  ].join(" ");
  longTable(byId("list-rows"), isEscalation ? ESCALATION_COLUMNS : CONVERSATION_COLUMNS, ordered, 100);
  byId("list").showModal();
}
const isCut = (first) => data.conversations.length >= data.listed && data.conversations.at(-1).day >= first;

// Sections

function drawWaiting() {
  const rows = data.waiting.filter(isChosen);
  const waited = (row) => data.now - row.at;
  const isLate = (row) => row.breach_at !== null && row.breach_at <= data.now;
  const hasTarget = rows.some((row) => row.breach_at !== null);
  byId("waiting-lead").textContent = rows.length
    ? `${plural(rows.length, "customer")}, the longest for ${duration(waited(rows[0]))}.` +
      (hasTarget ? ` ${count(rows.filter(isLate).length)} past the target.` : "")
    : "Nobody is waiting.";
  const due = (row) => {
    if (row.breach_at === null) return NONE;
    const left = duration(Math.abs(row.breach_at - data.now));
    return isLate(row) ? element("span.late", {}, `late by ${left}`) : `due in ${left}`;
  };
  const columns = [
    ["Conversation", conversation, true],
    ["Waiting", (row) => duration(waited(row)), true],
    ...(hasTarget ? [["Target", due, true]] : []),
    ["Since", moment, true],
    ["For", (row) => (row.is_next ? "a further answer" : "the first answer"), true],
    ["Channel", (row) => row.channel, true],
    ["Agent", (row) => nameOf(row.agent), true],
  ];
  if (rows.length) longTable(byId("waiting"), columns, rows, 8);
  else byId("waiting").replaceChildren();
}

/** The range before the chosen one, or null if the page does not hold all of it. */
function before() {
  const length = chosen.last - chosen.first + 1;
  const first = chosen.first - length;
  if (first < FIRST || !isComputed(first, chosen.last)) return null;
  // As it stood then: one range before now, by the calendar.
  const by = data.now - (dayRow(chosen.last).ends_at - dayRow(chosen.first - 1).ends_at);
  const hour = chosen.last === today ? Math.floor(((data.now + data.shift) % DAY) / 3600) : 23;
  return figures(first, chosen.first - 1, by, hour);
}
function isComputed(first, last) {
  return data.days.slice(first - FIRST, last - FIRST + 1).every((row) => row.is_computed);
}

function change(tile, now, then) {
  if (now === null || then === null || (tile.as !== percent && then === 0)) return "";
  const moved = tile.as === percent ? (now - then) * 100 : (now / then - 1) * 100;
  if (Math.abs(moved) < 0.5) return element("span.change", {}, `as before, ${tile.as(then)}`);
  const words = `${moved > 0 ? "+" : "−"}${Math.abs(moved).toFixed(tile.as === percent ? 1 : 0)}${tile.as === percent ? " points" : "%"}`;
  const judged = tile.good * moved > 0 ? "better" : "worse";
  const mark = tile.good ? element(`b.${judged}`, {}, words, element("span.unseen", {}, `, ${judged}`)) : element("b", {}, words);
  return element("span.change", {}, mark, ` · ${tile.as(then)} before`);
}

function drawTiles(place, tiles, now, then) {
  place.replaceChildren(...tiles.filter((tile) => tile.id !== "target" || data.target !== null).map((tile) => {
    const value = tile.of(now);
    return element("button.tile", { type: "button", id: `tile-${tile.id}`, disabled: value === null, onclick: () => showList(tile.title ?? tile.label, tile.list(now), tile.sort) },
      element("span.label", {}, tile.label), element("span.value", { "data-value": value ?? "" }, tile.as(value)),
      then ? change(tile, value, tile.of(then)) : null);
  }));
}

const views = {}; // of the charts by id: what is drawn, its list, and Vega's view

/**
 * A chart and, for those who cannot see or point at it, its numbers as a table. Columns as for `table`,
 * with a fourth entry for the one that is drawn; `list` gives the rows behind a value.
 */
function draw(id, values, columns, list) {
  const place = byId(id);
  const numbered = values.map((value, index) => ({ ...value, index }));
  const cell = (show) => (value) => opens(show(value), list(value), titleOf(id, value));
  const numbers = columns.map(([name, show, isText, isDrawn]) => [name, isDrawn && list ? cell(show) : show, isText]);
  if (!views[id]) {
    const chart = element("div.chart");
    place.append(chart, element("details.numbers", {}, element("summary", {}, "Numbers"), element("div")));
    views[id] = {};
    views[id].view = embed(id, chart, numbered);
  }
  Object.assign(views[id], { values, list });
  place.toggleAttribute("data-empty", !values.some((value) => value.count || value.started || value.seconds !== undefined));
  place.querySelector(".numbers div").replaceChildren(table(numbers, values, "table"));
  views[id].view.then((view) => view.data("values", numbered).resize().runAsync());
}
async function embed(id, chart, values) {
  const description = byId(id).querySelector("h3").textContent;
  const data = { name: "values", values };
  const spec = { config: charts.config, width: "container", height: 190, data, ...charts[id], description };
  // `ast`: expressions are interpreted, since the page allows no eval. A chart may be empty: no warnings.
  const { view } = await vegaEmbed(chart, spec, { actions: false, renderer: "svg", ast: true, mode: "vega-lite", logLevel: 1 });
  view.addEventListener("click", (_, item) => {
    const { values, list } = views[id];
    const value = values[item?.datum?.index];
    if (value && list) showList(titleOf(id, value), list(value));
  });
  return view;
}
const titleOf = (id, value) => `${byId(id).querySelector("h3").textContent}, ${value.title ?? value.label}`;

const BUCKETS = [[300, "5 min"], [900, "15 min"], [3600, "1 h"], [4 * 3600, "4 h"], [8 * 3600, "8 h"], [DAY, "24 h"], [Infinity, "later"]];

function drawCharts(now) {
  const days = [];
  for (let day = chosen.first; day <= chosen.last; day += 1) days.push({ number: day, day: day * DAY * 1000, label: dayWords(day) });
  const computed = days.filter((day) => dayRow(day.number).is_computed);
  const dayColumn = ["Day", (value) => value.label, true];
  const byDay = Map.groupBy(now.rows, (row) => row.day);
  const of = (value) => byDay.get(value.number) ?? [];

  draw("escalations", computed.map((day) => ({ ...day, count: of(day).length })),
    [dayColumn, ["Escalations", (value) => count(value.count), false, true]], of);

  const startsOf = Map.groupBy(data.starts.filter(hasChannel), (row) => row.day);
  const begunOn = (value, test) => data.conversations.filter((row) => row.day === value.number && hasChannel(row) && test(row));
  const starts = computed.map((day) => ({ ...day, ...measureStarts(startsOf.get(day.number) ?? []) }));
  draw("rate", starts.filter((day) => day.started).map((day) => ({ ...day, share: day.escalated / day.started, shown: percent(day.escalated / day.started) })),
    [dayColumn, ["Begun", (value) => count(value.started)], ["Escalated", (value) => count(value.escalated), false, true], ["Rate", (value) => value.shown]],
    (value) => begunOn(value, (row) => row.escalated));

  const parts = [["p90", 0.9], ["median", 0.5]];
  const answered = (value) => of(value).filter((row) => row.response !== null);
  draw("response", computed.flatMap((day) => parts.map(([part, share]) => {
    const seconds = quantile(answered(day).map((row) => row.response), share);
    return { ...day, part, seconds, shown: duration(seconds) };
  })).filter((value) => value.seconds !== null),
    [dayColumn, ["Part", (value) => value.part, true], ["Answered in", (value) => value.shown, false, true]], answered);

  const bucketOf = (row) => (row.response === null ? "not yet" : BUCKETS.find(([limit]) => row.response <= limit)[1]);
  const buckets = Map.groupBy(now.rows, bucketOf);
  const kind = (limit, at) => (data.target === null ? "answered" : limit <= data.target ? "in time" : (BUCKETS[at - 1]?.[0] ?? 0) >= data.target ? "late" : "answered");
  const distribution = [...BUCKETS.map(([limit, bucket], at) => ({ bucket, kind: kind(limit, at) })), { bucket: "not yet", kind: "none" }];
  draw("distribution", distribution.map((value) => ({ ...value, label: value.bucket, count: buckets.get(value.bucket)?.length ?? 0 })),
    [["Answered within", (value) => value.bucket, true], ["Escalations", (value) => count(value.count), false, true]],
    (value) => buckets.get(value.bucket) ?? []);

  draw("backlog", computed.map((day) => ({ ...day, count: openAt(endOf(day.number)).length })),
    [["End of", (value) => value.label, true], ["Open", (value) => count(value.count), false, true]], (value) => openAt(endOf(value.number)));

  const split = (day) => ({ automated: day.automated, pending: day.pending, person: day.person, other: day.started - day.automated - day.pending - day.person });
  draw("ai", starts.flatMap((day) => Object.entries(split(day)).map(([outcome, count], place) => ({ ...day, outcome, count, place, title: `${day.label}, ${outcome}` }))).filter((value) => value.count),
    [["Begun", (value) => value.label, true], ["Outcome", (value) => value.outcome, true], ["Conversations", (value) => count(value.count), false, true]],
    (value) => begunOn(value, outcomes[value.outcome]));
  drawHours(now);
}

const HOURS = { escalations: "Escalations", started: "Conversations", messages: "Messages" };
function drawHours(now) {
  const shown = chosen.hours;
  const source = { started: data.starts, messages: data.hours }[shown] ?? [];
  const rows = shown === "escalations" ? now.rows : source.filter((row) => within(row, chosen.first, chosen.last) && hasChannel(row));
  const cells = Map.groupBy(rows, (row) => weekdayOf(row.day) * 24 + row.hour);
  const values = Array.from({ length: 7 * 24 }, (_, index) => {
    const found = cells.get(index) ?? [];
    const label = `${index % 24}:00–${(index % 24) + 1}:00`;
    const weekday = WEEKDAYS[Math.floor(index / 24)];
    return { index, weekday, hour: index % 24, label, title: `${weekday} ${label}`, count: shown === "escalations" ? found.length : sum(found, shown) };
  });
  const inCell = (value) => (row) => weekdayOf(row.day) * 24 + row.hour === value.index;
  const lists = { escalations: (value) => cells.get(value.index) ?? [], started: (value) => begun(inCell(value))() };
  byId("hours").querySelector(".segments").replaceChildren(...Object.entries(HOURS).map(([name, label]) =>
    element("button", { type: "button", "aria-pressed": String(name === shown), onclick: () => { chosen.hours = name; drawHours(now); } }, label)));
  const columns = [["Day", (value) => value.weekday, true], ["Hour", (value) => value.label, true], [HOURS[shown], (value) => count(value.count), false, true]];
  draw("hours", values, columns, lists[shown]);
}

function drawTables(now) {
  const open = openAt(data.now);
  const group = (rows, key) => Map.groupBy(rows, (row) => row[key]);
  const columns = (label, show) => [
    [label, show, true],
    ["Escalations", (row) => opens(count(row.rows.length), row.rows, `Escalations, ${show(row)}`)],
    ["Median", (row) => duration(row.p50)],
    ["p90", (row) => duration(row.p90)],
    ...(data.target === null ? [] : [["In target", (row) => (row.inTime === null ? NONE : opens(percent(row.inTime), row.late, `Missed the target, ${show(row)}`))]]),
    ["Resolved", (row) => opens(count(row.resolved.length), row.resolved, `Resolved, ${show(row)}`)],
    ["Open", (row) => opens(count(row.open.length), row.open, `Open now, ${show(row)}`)],
  ];
  const lines = (key, values) => {
    const [rows, opened] = [group(now.rows, key), group(open, key)];
    return [...new Set([...rows.keys(), ...opened.keys(), ...values])]
      .map((value) => ({ value, ...measure(rows.get(value) ?? [], data.now), open: opened.get(value) ?? [] }))
      .sort((a, b) => b.rows.length - a.rows.length);
  };
  const starts = group(data.starts.filter((row) => within(row, chosen.first, chosen.last) && hasChannel(row)), "channel");
  const started = (row) => sum(starts.get(row.value) ?? [], "started");
  const channel = columns("Channel", (row) => row.value);
  byId("by-channel").replaceChildren(table([channel[0], ["Begun", (row) => count(started(row))], ...channel.slice(1)], lines("channel", starts.keys())));
  byId("by-agent").replaceChildren(table(columns("Agent", (row) => nameOf(row.value)), lines("agent", [])));

  const all = now.starts;
  const beside = [
    { who: "AI", number: all.involved, share: ratio(all.involved, all.started), p50: quantile(all.answers, 0.5), p90: quantile(all.answers, 0.9), rows: begun((row) => row.involved) },
    { who: "People", number: all.human, share: ratio(all.human, all.started), p50: now.p50, p90: now.p90, rows: begun((row) => row.human) },
  ];
  byId("beside").replaceChildren(table([
    ["Answered by", (row) => row.who, true],
    ["Conversations", (row) => opens(count(row.number), row.rows(), `Answered by ${row.who}`)],
    ["Share", (row) => percent(row.share)],
    ["First answer, median", (row) => duration(row.p50)],
    ["p90", (row) => duration(row.p90)],
  ], beside), element("p.lead", {}, "The AI’s first answer is counted from the customer’s message, people’s from the escalation."));
}

// Choosing

function redraw() {
  const { first, last } = chosen;
  const days = last - first + 1;
  const [now, then] = [figures(first, last, data.now), before()];
  const [from, to] = [first, last].map((day) => dateWords.format(day * DAY * 1000));
  byId("range-title").textContent = first === last ? to : `${from} – ${to}`;
  const missing = data.days.slice(first - FIRST, last - FIRST + 1).filter((row) => !row.is_computed).length;
  byId("range-note").textContent = [
    then ? `Compared with the ${days === 1 ? "day" : `${days} days`} before.` : `No comparison: the ${days === 1 ? "day" : `${days} days`} before ${days === 1 ? "is" : "are"} not in this file.`,
    missing ? `${missing} of ${plural(days, "day")} not computed yet, left out of the charts.` : "",
    chosen.agents.size ? "Escalation rate and AI figures are for all agents." : "",
  ].join(" ");
  byId("from").value = isoOf(first);
  byId("to").value = isoOf(last);
  for (const button of byId("ranges").children) {
    button.setAttribute("aria-pressed", String(first === startOf(Number(button.value)) && last === LAST));
  }
  drawWaiting();
  drawTiles(byId("tiles"), TILES, now, then);
  drawTiles(byId("ai-tiles"), AI_TILES, now, then);
  byId("tiles").append(openTile());
  drawCharts(now);
  drawTables(now);
  remember();
}
function openTile() {
  const open = openAt(data.now);
  return element("button.tile", { type: "button", id: "tile-open", onclick: () => showList("Open now", open) },
    element("span.label", {}, "Open now"), element("span.value", { "data-value": open.length }, count(open.length)), element("span.change", {}, "whenever escalated"));
}

const startOf = (days) => Math.max(FIRST, LAST - days + 1);
function choose(first, last) {
  chosen.first = Math.max(FIRST, Math.min(first, LAST));
  chosen.last = Math.max(chosen.first, Math.min(last, LAST));
  redraw();
}

/** A drop-down of check boxes; none checked means all. */
function choice(id, noun, options, picked) {
  const place = byId(id);
  const title = () => {
    const names = options.filter(([value]) => picked.has(value)).map(([, name]) => name);
    place.querySelector("summary").textContent = names.length ? names.join(", ") : `All ${noun}`;
  };
  const pick = (event) => {
    if (event.target.checked) picked.add(event.target.value);
    else picked.delete(event.target.value);
    title();
    redraw();
  };
  place.querySelector("div").replaceChildren(...options.map(([value, name]) =>
    element("label", {}, element("input", { type: "checkbox", value, checked: picked.has(value), onchange: pick }), name)));
  title();
}

// What is chosen stays in the address, for a bookmark.
function remember() {
  const query = new URLSearchParams();
  if (chosen.last === LAST) query.set("days", LAST - chosen.first + 1);
  else { query.set("from", isoOf(chosen.first)); query.set("to", isoOf(chosen.last)); }
  for (const name of ["channels", "agents"]) for (const value of chosen[name]) query.append(name, value);
  history.replaceState(null, "", `#${query}`);
}
function recall() {
  const query = new URLSearchParams(location.hash.slice(1));
  const rows = [...data.escalations, ...data.waiting];
  const channels = new Set([...rows, ...data.starts].map((row) => row.channel));
  const agents = new Set(rows.map((row) => row.agent));
  const named = [...agents].map((agent) => [String(agent), nameOf(agent)]).sort(([, a], [, b]) => a.localeCompare(b));
  for (const name of ["channels", "agents"]) chosen[name] = new Set(query.getAll(name));
  choice("channels", "channels", [...channels].sort().map((channel) => [channel, channel]), chosen.channels);
  choice("agents", "agents", named, chosen.agents);
  const [from, to] = ["from", "to"].map((name) => dayOf(query.get(name)));
  choose(from || startOf(Number(query.get("days")) || 30), to || LAST);
}

function begin() {
  const words = [
    `Chat ${data.chat}`,
    `as of ${clockWords.format((data.now + data.shift) * 1000)} (${data.timezone})`,
    data.target === null ? "no response target set" : `response target ${duration(data.target)}`,
    `quiet period ${data.quietHours} h`,
    data.businessHours ? `business hours ${data.businessHours}` : "no business hours set",
  ];
  byId("about").textContent = words.join(" · ");
  byId("distribution-lead").textContent = data.target === null ? "" : `The target is ${duration(data.target)}.`;
  byId("banner").hidden = !data.source;
  byId("banner").querySelector("span").textContent = `These records come from ${data.source}.`;
  byId("bounds").textContent = `This file covers ${data.first} to ${data.last}. Links are kept for the newest ${count(data.listed)} escalations and conversations; figures cover all.`;
  byId("ranges").replaceChildren(...RANGES.map(([days, label]) =>
    element("button", { type: "button", value: days, onclick: () => choose(startOf(days), LAST) }, label)));
  for (const id of ["from", "to"]) {
    Object.assign(byId(id), { min: data.first, max: data.last });
    byId(id).onchange = () => {
      const [first, last] = [dayOf(byId("from").value), dayOf(byId("to").value)];
      if (first && last) choose(Math.min(first, id === "to" ? last : first), Math.max(last, id === "from" ? first : last));
    };
  }
  byId("close").onclick = () => byId("list").close();
  byId("filters").onsubmit = (event) => event.preventDefault();
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".choice[open]")) if (!open.contains(event.target)) open.open = false;
  });
  const isDark = () => {
    const { colorScheme } = document.documentElement.style;
    return colorScheme ? colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const label = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
  byId("theme").onclick = () => {
    document.documentElement.style.colorScheme = isDark() ? "light" : "dark";
    label();
  };
  label();
  addEventListener("hashchange", recall);
  recall();
}
begin();
