// The page of one chat. It computes every figure in the browser from the rows in the page; the queries
// report_*.sql define the rows.

const { charts } = data;

// Days are numbers since 1970 of the local calendar, so that the browser's time zone plays no part.
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

// What is chosen

const chosen = { first: 0, last: 0, channels: new Set(), agents: new Set(), hours: "escalations" };
const today = dayOf(isoOf((data.now + data.shift) / DAY));
const ALL = LAST - FIRST + 1;
const RANGES = [[1, LAST === today ? "Today" : "Last day"], [7, "7 days"], [30, "30 days"]];
while (RANGES.length && RANGES.at(-1)[0] >= ALL) RANGES.pop();
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

const STARTS = ["started", "escalated", "human", "person", "involved", "automated", "pending", "known", "repeated"];

/** Of the conversations that began in these rows of `starts`: counts, and percentiles of the AI's answers. */
function measureStarts(rows) {
  const totals = Object.fromEntries(STARTS.map((name) => [name, sum(rows, name)]));
  const repeated = ([seconds, times]) => Array(times).fill(Number(seconds));
  return { ...totals, answers: rows.flatMap((row) => row.answers.flatMap(repeated)) };
}

/** The chosen channels and agents, as they stood at `by`; conversations of the last day up to `hour`. */
function figures(first, last, by, hour = 23) {
  const rows = data.escalations.filter((row) => within(row, first, last) && row.at <= by && isChosen(row));
  const isBegun = (row) => within(row, first, last) && (row.day < last || row.hour <= hour) && hasChannel(row);
  const startRows = data.starts.filter(isBegun);
  return { ...measure(rows, by), startRows, starts: measureStarts(startRows) };
}

function openAt(at) {
  const isOpen = (row) => row.at < at && (row.duration === null || row.at + row.duration >= at);
  return data.escalations.filter((row) => isOpen(row) && isChosen(row));
}
const endOf = (day) => Math.min(dayRow(day).ends_at, data.now);
const begun = (test) => () =>
  data.conversations.filter((row) => within(row, chosen.first, chosen.last) && hasChannel(row) && test(row));
const outcomes = {
  automated: (row) => row.automated,
  pending: (row) => row.pending,
  person: (row) => row.escalated || row.human,
  other: (row) => !(row.automated || row.pending || row.escalated || row.human),
};

// A tile: id, label, formatter, whether more is better (1) or worse (-1), the value of `figures`,
// the rows behind it, and for their list a title and what it is sorted by.
const TILES = [
  ["started", "Conversations started", count, 0, (f) => f.starts.started, begun(() => true)],
  ["escalations", "Escalations", count, 0, (f) => f.rows.length, (f) => f.rows],
  ["rate", "Escalation rate", percent, -1, (f) => ratio(f.starts.escalated, f.starts.started),
    begun((row) => row.escalated), "Started in the range and escalated"],
  ["p50", "First response, median", duration, -1, (f) => f.p50, (f) => f.answered, "Answered", "response"],
  ["p90", "First response, p90", duration, -1, (f) => f.p90, (f) => f.answered, "Answered", "response"],
  ["target", "Within target", percent, 1, (f) => f.inTime, (f) => f.late, "Missed the target"],
  ["unanswered", "Not answered", count, -1, (f) => f.unanswered.length, (f) => f.unanswered],
  ["resolved", "Resolved", percent, 1, (f) => ratio(f.resolved.length, f.rows.length), (f) => f.resolved],
  ["resolution", "Resolution, median", duration, -1, (f) => f.resolution, (f) => f.resolved, "Resolved", "resolution"],
  ["open", "Open now", count, null, () => openAt(data.now).length, () => openAt(data.now)],
];
const AI_TILES = [
  ["involved", "AI involved", percent, 0, (f) => ratio(f.starts.involved, f.starts.started),
    begun((row) => row.involved)],
  ["automated", "Automated", percent, 1, (f) => ratio(f.starts.automated, f.starts.started - f.starts.pending),
    begun(outcomes.automated)],
  ["pending", "Pending", count, 0, (f) => f.starts.pending, begun(outcomes.pending)],
  ["repeated", "Came back within 7 days", percent, -1, (f) => ratio(f.starts.repeated, f.starts.known),
    begun((row) => row.repeated)],
  ["answer", "AI answer, median", duration, -1, (f) => quantile(f.starts.answers, 0.5),
    begun((row) => row.answer !== null), "Answered by the AI", "answer"],
];

/** The same, but only the first `limit` rows until more are asked for. */
function longTable(place, columns, rows, limit) {
  const show = (limit) => {
    place.replaceChildren(table(columns, rows.slice(0, limit)));
    if (rows.length <= limit) return;
    const step = Math.min(rows.length - limit, 200);
    const words = `Show ${count(step)} more of ${count(rows.length)}`;
    place.append(element("button.more", { type: "button", onclick: () => show(limit + step) }, words));
  };
  show(limit);
}

function conversation({ id, link }) {
  const isSafe = /^https?:\/\//i.test(link ?? "");
  return isSafe ? element("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, `#${id}`) : `#${id}`;
}
function opens(shown, rows, title) {
  const label = `${title}: ${shown}, list`;
  return element("button", { type: "button", onclick: () => showList(title, rows), "aria-label": label }, shown);
}

// The list behind a figure

function state(row) {
  if (row.resolution !== null) return "resolved";
  if (row.duration !== null) return "ended";
  return row.response !== null ? "open, answered" : "open, not answered";
}
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
    !isEscalation && isCut(chosen.first) ? `Only the newest ${count(data.listed)} of all are listed.` : "",
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
    ? `${plural(rows.length, "customer")}; the longest has waited ${duration(waited(rows[0]))}.` +
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
    ["For", (row) => (row.is_next ? "a later answer" : "the first answer"), true],
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
  // As it was then: one range before now, by the calendar.
  const by = data.now - (dayRow(chosen.last).ends_at - dayRow(chosen.first - 1).ends_at);
  const hour = chosen.last === today ? Math.floor(((data.now + data.shift) % DAY) / 3600) : 23;
  return figures(first, chosen.first - 1, by, hour);
}
function isComputed(first, last) {
  return data.days.slice(first - FIRST, last - FIRST + 1).every((row) => row.is_computed);
}

function drawTiles(place, tiles, now, then) {
  const shown = tiles.filter(([id]) => id !== "target" || data.target !== null);
  place.replaceChildren(...shown.map(([id, label, as, good, of, list, title = label, sort]) => {
    const value = of(now);
    const onclick = () => showList(title, list(now), sort);
    return element("button.tile", { type: "button", id: `tile-${id}`, disabled: value === null, onclick },
      element("span.label", {}, label),
      element("span.value", { "data-value": value ?? "" }, as(value)),
      good === null ? element("span.change", {}, "from any day") : then && change(as, good, value, of(then)));
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
  const isSomething = (value) => value.count || value.started || value.seconds !== undefined;
  place.toggleAttribute("data-empty", !values.some(isSomething));
  place.querySelector(".numbers div").replaceChildren(table(numbers, values, "table"));
  views[id].view.then((view) => view.data("values", numbered).resize().runAsync());
}
async function embed(id, chart, values) {
  const description = byId(id).querySelector("h3").textContent;
  const data = { name: "values", values };
  const spec = { config: charts.config, width: "container", height: 190, data, ...charts[id], description };
  // Otherwise the bar of a single day would be as wide as the chart.
  if (spec.mark.type === "bar") spec.mark.width = { expr: "min(60, 0.75 * bandwidth('x'))" };
  // `ast`: expressions are interpreted, since the page allows no eval. A chart may be empty: no warnings.
  const options = { actions: false, renderer: "svg", ast: true, mode: "vega-lite", logLevel: 1 };
  const { view } = await vegaEmbed(chart, spec, options);
  view.addEventListener("click", (_, item) => {
    const { values, list } = views[id];
    const value = values[item?.datum?.index];
    if (value && list) showList(titleOf(id, value), list(value));
  });
  return view;
}
const titleOf = (id, value) => `${byId(id).querySelector("h3").textContent}, ${value.title ?? value.label}`;

// Columns of the numbers under a chart.
const text = (name, field = "label") => [name, (value) => value[field], true];
const drawn = (name, show = (value) => count(value.count)) => [name, show, false, true];

function drawCharts(now) {
  const days = [];
  for (let day = chosen.first; day <= chosen.last; day += 1) {
    if (dayRow(day).is_computed) days.push({ number: day, day: day * DAY * 1000, label: dayWords(day) });
  }
  const byDay = Map.groupBy(now.rows, (row) => row.day);
  const of = (value) => byDay.get(value.number) ?? [];
  draw("escalations", days.map((day) => ({ ...day, count: of(day).length })),
    [text("Day"), drawn("Escalations")], of);
  drawResponses(days, of);
  drawDistribution(now);
  const openOn = (value) => openAt(endOf(value.number));
  draw("backlog", days.map((day) => ({ ...day, count: openOn(day).length })),
    [text("End of"), drawn("Open")], openOn);
  drawStarts(days, now);
  drawHours(now);
}

function drawResponses(days, of) {
  const answered = (value) => of(value).filter((row) => row.response !== null);
  const values = days.flatMap((day) => {
    const responses = answered(day).map((row) => row.response);
    return [["p90", 0.9], ["median", 0.5]].map(([part, share]) => {
      const seconds = quantile(responses, share);
      return { ...day, part, seconds, shown: duration(seconds) };
    });
  });
  draw("response", values.filter((value) => value.seconds !== null),
    [text("Day"), text("Part", "part"), drawn("Answered in", (value) => value.shown)], answered);
}

const BUCKETS = [
  [300, "5 min"], [900, "15 min"], [3600, "1 h"], [4 * 3600, "4 h"], [8 * 3600, "8 h"], [DAY, "24 h"],
  [Infinity, "later"],
];
function drawDistribution(now) {
  const bucketOf = ({ response }) => (response === null ? "not yet" : BUCKETS.find(([to]) => response <= to)[1]);
  const kind = (from, to) => {
    if (data.target === null || (from < data.target && data.target < to)) return "answered";
    return to <= data.target ? "in time" : "late";
  };
  const buckets = BUCKETS.map(([to, label], at) => ({ label, kind: kind(BUCKETS[at - 1]?.[0] ?? 0, to) }));
  buckets.push({ label: "not yet", kind: "none" });
  const rows = Map.groupBy(now.rows, bucketOf);
  const list = (value) => rows.get(value.label) ?? [];
  draw("distribution", buckets.map((value) => ({ ...value, count: list(value).length })),
    [text("Answered within"), drawn("Escalations")], list);
}

/** What is counted by the day on which conversations began. */
function drawStarts(days, now) {
  const rows = Map.groupBy(now.startRows, (row) => row.day);
  const starts = days.map((day) => {
    const { answers, ...totals } = measureStarts(rows.get(day.number) ?? []);
    return { ...day, ...totals };
  });
  const list = (value, test) => begun((row) => row.day === value.number && test(row))();
  const rates = starts.filter((day) => day.started).map((day) => {
    const share = day.escalated / day.started;
    return { ...day, share, shown: percent(share) };
  });
  draw("rate", rates,
    [text("Day"), ["Started", (value) => count(value.started)], drawn("Escalated", (value) => count(value.escalated)),
      ["Rate", (value) => value.shown]],
    (value) => list(value, (row) => row.escalated));
  const split = starts.flatMap((day) => {
    const other = day.started - day.automated - day.pending - day.person;
    const parts = Object.entries({ automated: day.automated, pending: day.pending, person: day.person, other });
    return parts.map(([outcome, count], place) => ({ ...day, outcome, count, place, title: `${day.label}, ${outcome}` }));
  });
  draw("ai", split.filter((value) => value.count),
    [text("Day"), text("Outcome", "outcome"), drawn("Conversations")],
    (value) => list(value, outcomes[value.outcome]));
}

const HOURS = { escalations: "Escalations", started: "Conversations", messages: "Messages" };
function drawHours(now) {
  const shown = chosen.hours;
  const messages = data.hours.filter((row) => within(row, chosen.first, chosen.last) && hasChannel(row));
  const rows = { escalations: now.rows, started: now.startRows, messages }[shown];
  const cellOf = (row) => weekdayOf(row.day) * 24 + row.hour;
  const cells = Map.groupBy(rows, cellOf);
  const values = Array.from({ length: 7 * 24 }, (_, cell) => {
    const found = cells.get(cell) ?? [];
    const [weekday, hour] = [WEEKDAYS[Math.floor(cell / 24)], cell % 24];
    const label = `${hour}:00–${hour + 1}:00`;
    const number = shown === "escalations" ? found.length : sum(found, shown);
    return { cell, weekday, hour, label, title: `${weekday} ${label}`, count: number };
  });
  const lists = {
    escalations: ({ cell }) => cells.get(cell) ?? [],
    started: ({ cell }) => begun((row) => cellOf(row) === cell)(),
  };
  const show = (name) => () => {
    chosen.hours = name;
    drawHours(now);
  };
  byId("hours").querySelector(".segments").replaceChildren(...Object.entries(HOURS).map(([name, label]) =>
    element("button", { type: "button", "aria-pressed": String(name === shown), onclick: show(name) }, label)));
  const columns = [text("Day", "weekday"), text("Hour"), drawn(HOURS[shown])];
  draw("hours", values, columns, lists[shown]);
}

const inTarget = (show) => (row) =>
  row.inTime === null ? NONE : opens(percent(row.inTime), row.late, `Missed the target, ${show(row)}`);

function drawTables(now) {
  const open = openAt(data.now);
  const group = (rows, key) => Map.groupBy(rows, (row) => row[key]);
  const columns = (label, show) => [
    [label, show, true],
    ["Escalations", (row) => opens(count(row.rows.length), row.rows, `Escalations, ${show(row)}`)],
    ["Median", (row) => duration(row.p50)],
    ["p90", (row) => duration(row.p90)],
    ...(data.target === null ? [] : [["Within target", inTarget(show)]]),
    ["Resolved", (row) => opens(count(row.resolved.length), row.resolved, `Resolved, ${show(row)}`)],
    ["Open", (row) => opens(count(row.open.length), row.open, `Open now, ${show(row)}`)],
  ];
  const lines = (key, values) => {
    const [rows, opened] = [group(now.rows, key), group(open, key)];
    return [...new Set([...rows.keys(), ...opened.keys(), ...values])]
      .map((value) => ({ value, ...measure(rows.get(value) ?? [], data.now), open: opened.get(value) ?? [] }))
      .sort((a, b) => b.rows.length - a.rows.length);
  };
  const starts = group(now.startRows, "channel");
  const [channel, ...others] = columns("Channel", (row) => row.value);
  const started = ["Started", (row) => count(sum(starts.get(row.value) ?? [], "started"))];
  byId("by-channel").replaceChildren(table([channel, started, ...others], lines("channel", starts.keys())));
  byId("by-agent").replaceChildren(table(columns("Agent", (row) => nameOf(row.value)), lines("agent", [])));
}

function drawBeside({ starts, p50, p90 }) {
  const [ai50, ai90] = [0.5, 0.9].map((share) => quantile(starts.answers, share));
  const lines = [
    { who: "the AI", number: starts.involved, p50: ai50, p90: ai90, list: begun((row) => row.involved) },
    { who: "people", number: starts.human, p50, p90, list: begun((row) => row.human) },
  ];
  byId("beside").replaceChildren(table([
    ["Answered by", (row) => row.who, true],
    ["Conversations", (row) => opens(count(row.number), row.list(), `Answered by ${row.who}`)],
    ["Share", (row) => percent(ratio(row.number, starts.started))],
    ["First answer, median", (row) => duration(row.p50)],
    ["p90", (row) => duration(row.p90)],
  ], lines));
}

// Choosing

function redraw() {
  const { first, last } = chosen;
  const days = last - first + 1;
  const range = days === 1 ? "day" : `${days} days`;
  const [now, then] = [figures(first, last, data.now), before()];
  byId("range-title").textContent = rangeWords(first, last);
  const missing = data.days.slice(first - FIRST, last - FIRST + 1).filter((row) => !row.is_computed).length;
  byId("range-note").textContent = [
    then
      ? `Compared with the ${range} before.`
      : `No comparison: this file does not contain all of the ${range} before.`,
    missing ? `${missing} of ${plural(days, "day")} not computed yet and left out of the charts.` : "",
    chosen.agents.size ? "The escalation rate and AI figures cover all agents." : "",
  ].join(" ");
  byId("from").value = isoOf(first);
  byId("to").value = isoOf(last);
  for (const button of byId("ranges").children) {
    button.setAttribute("aria-pressed", String(first === startOf(Number(button.value)) && last === LAST));
  }
  drawWaiting();
  drawTiles(byId("tiles"), TILES, now, then);
  drawTiles(byId("ai-tiles"), AI_TILES, now, then);
  drawCharts(now);
  drawTables(now);
  drawBeside(now);
  remember();
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
  place.querySelector("div").replaceChildren(...options.map(([value, name]) => {
    const box = { type: "checkbox", value, checked: picked.has(value), onchange: pick };
    return element("label", {}, element("input", box), name);
  }));
  title();
}

// The choice stays in the address, so that it can be bookmarked.
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
    AS_OF,
    data.target === null ? "no response target set" : `response target ${duration(data.target)}`,
    `quiet period ${data.quietHours} h`,
    data.businessHours ? `business hours ${data.businessHours}` : "no business hours set",
  ];
  byId("about").textContent = words.join(" · ");
  byId("distribution-lead").textContent = data.target === null ? "" : `The target is ${duration(data.target)}.`;
  byId("bounds").textContent = `This file covers ${data.first} to ${data.last}. Figures cover everything; lists` +
    ` and links cover only the newest ${count(data.listed)} escalations and conversations.`;
  byId("ranges").replaceChildren(...RANGES.map(([days, label]) =>
    element("button", { type: "button", value: days, onclick: () => choose(startOf(days), LAST) }, label)));
  for (const id of ["from", "to"]) {
    Object.assign(byId(id), { min: data.first, max: data.last });
    byId(id).onchange = () => {
      const [first, last] = [dayOf(byId("from").value), dayOf(byId("to").value)];
      // Changing one beyond the other moves both.
      if (first && last) choose(id === "to" ? Math.min(first, last) : first, id === "from" ? Math.max(first, last) : last);
    };
  }
  byId("close").onclick = () => byId("list").close();
  byId("filters").onsubmit = (event) => event.preventDefault();
  document.addEventListener("click", (event) => {
    for (const choice of document.querySelectorAll(".choice[open]")) {
      if (!choice.contains(event.target)) choice.open = false;
    }
  });
  addEventListener("hashchange", recall);
  recall();
}
begin();
