// The page of all chats: key figures of each, and a link to its own page. The queries report_chats*.sql
// compute the figures, as page.js does for one chat.

const STALE = 3 * 3600; // seconds since the last sync; they run every hour
const NOTHING = { escalations: 0, p50: null, due: 0, in_time: 0, started: 0, escalated: 0, automated: 0, pending: 0 };
const rowOf = (rows, chat) => rows.find((row) => row.chat === chat) ?? NOTHING;

// Label, formatter, whether more is better (1) or worse (-1), and the value.
const FIGURES = [
  ["Escalations", count, 0, (f) => f.escalations],
  ["Escalation rate", percent, -1, (f) => ratio(f.escalated, f.started)],
  ["First response, median", duration, -1, (f) => f.p50],
  ["Within target", percent, 1, (f) => ratio(f.in_time, f.due)],
  ["Automated", percent, 1, (f) => ratio(f.automated, f.started - f.pending)],
];

const chats = data.chats.map((row) => ({
  ...row,
  waited: row.since === null ? null : data.now - row.since,
  now: rowOf(data.now_range, row.chat),
  then: row.is_comparable ? rowOf(data.before_range, row.chat) : null,
}));
chats.sort((a, b) => b.late - a.late || (b.waited ?? -1) - (a.waited ?? -1) || a.name.localeCompare(b.name));

const total = (name) => chats.reduce((sum, row) => sum + row[name], 0);
const longest = chats.reduce((most, row) => ((row.waited ?? -1) > (most?.waited ?? -1) ? row : most), null);
const compared = (as, good, of, { now, then }) => then && change(as, good, of(now), of(then));
const note = (kind, words) => element(`span.change${kind}`, {}, words);
const late = (number) => (number ? note(".late", `${count(number)} past the target`) : null);

function nameCell({ name, link, synced }) {
  const age = synced === null ? null : data.now - synced;
  const words = age === null ? "never synced" : `synced ${duration(age)} ago`;
  const shown = link ? element("a", { href: `${link}#from=${data.first}&to=${data.last}` }, name) : name;
  return element("span", {}, shown, note(age === null || age > STALE ? ".late" : "", words));
}
function waitingCell(row) {
  const wait = row.waited === null ? null : note("", `longest ${duration(row.waited)}`);
  return element("span", {}, count(row.waiting), wait, late(row.late));
}

function tile(label, value, below) {
  return element("div.tile", {}, element("span.label", {}, label), element("span.value", {}, value), below);
}
function drawTiles() {
  const all = {
    now: rowOf(data.now_range, null),
    then: chats.every((row) => row.is_comparable || !row.link) ? rowOf(data.before_range, null) : null,
  };
  byId("tiles").replaceChildren(
    tile("Waiting now", count(total("waiting")),
      longest?.waited ? note("", `longest ${duration(longest.waited)} in ${longest.name}`) : null),
    tile("Past the target", count(total("late")), note("", `in ${plural(chats.filter((row) => row.late).length, "chat")}`)),
    ...FIGURES.map(([label, as, good, of]) => tile(label, as(of(all.now)), compared(as, good, of, all))),
    tile("Open now", count(total("open")), null));
}
function drawChats() {
  const figure = ([label, as, good, of]) =>
    [label, (row) => element("span", {}, as(of(row.now)), compared(as, good, of, row))];
  byId("chats").replaceChildren(table([
    ["Chat", nameCell, true],
    ["Waiting now", waitingCell],
    ...FIGURES.map(figure),
    ["Open now", (row) => count(row.open)],
  ], chats));
}

byId("range-title").textContent = rangeWords(dayOf(data.first), dayOf(data.last));
byId("about").textContent = `${plural(chats.length, "chat")} · ${AS_OF}`;
drawTiles();
drawChats();
