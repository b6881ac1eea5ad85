// @ts-check
// The page that shows how a hub's run is getting on. Whatever comes from members goes in as text.
import uPlot from "./uplot.js"; // null where no site was built

const POLL_MS = 1000;
const LONGEST_MS = 10_000; // between attempts while the hub does not answer
const MOST_LOOKS = 4000; // twice as many as the hub keeps; then it is asked for all of its own
const MOST_SERIES = 6; // as many colours as hub.css has
const RATE_S = 20; // over which the rates of now are taken
const SPEED_S = 3; // and each of the curve's
const HEIGHT = 180;
const THEME = "tensorgl.theme";
const SHARE = /(^|[^a-z])(acc|accuracy|precision|recall|f1|auc)$/i; // of a metric's name

/**
 * @typedef {object} Look
 * @property {number} version rounds that were over
 * @property {number} time seconds since 1970
 * @property {number} samples of all rounds since the hub was started
 * @property {number} received bytes
 * @property {number} sent bytes
 * @property {Record<string, number>} metrics of the last round
 */

/**
 * @typedef {object} Member
 * @property {number} rank
 * @property {string} agent
 * @property {string} address
 * @property {boolean} connected
 * @property {number} silent_s
 * @property {number | null} samples_per_s
 * @property {[number, number] | null} share
 * @property {number} strikes
 * @property {Record<string, number>} metrics
 */

/** @returns {any} */
const at = (id) => document.getElementById(id);
const short = (value) => (value == null ? "–" : String(Number(value.toPrecision(4))));

/** A number with three digits, and K, M, G, … for thousands. @param {number} value */
function count(value) {
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), 4);
  return power ? `${(value / 1000 ** power).toPrecision(3)} ${"KMGT"[power - 1]}` : short(value);
}

/** @param {number} value */
const bytes = (value) => `${count(value)}${value < 1000 ? " " : ""}B`;
const metrics = (values) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${short(value)}`)
    .join(", ");

// -- curves ------------------------------------------------------------------------------------------

/** A colour of the page's theme as a canvas wants it. */
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Curves over rounds. */
class Chart {
  /** @param {HTMLElement} element its parent is hidden while there is nothing */
  constructor(element) {
    this.element = element;
    this.names = "";
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(element);
  }

  /** Draw anew from nothing: the page has other colours. */
  restyle() {
    this.plot?.destroy();
    this.plot = undefined;
  }

  /** @param {number[]} x @param {Map<string, (number | null)[]>} series */
  draw(x, series) {
    const box = /** @type {HTMLElement} */ (this.element.parentElement);
    box.hidden = !uPlot || !series.size;
    if (box.hidden) {
      return;
    }
    const names = [...series.keys()].slice(0, MOST_SERIES);
    if (String(names) !== this.names) {
      this.names = String(names);
      this.restyle();
    }
    this.last = names.map((name) => series.get(name)?.findLast((value) => value !== null));
    const data = [x, ...names.map((name) => series.get(name))];
    if (this.plot) {
      this.plot.setData(data);
    } else {
      this.plot = new uPlot(this.options(names), data, this.element);
    }
    const told = names.map((name, k) => `${name} ${short(this.last?.[k])}`);
    this.element.setAttribute("aria-label", `After round ${x.at(-1)}: ${told.join(", ")}`);
  }

  size() {
    return { width: Math.max(this.element.clientWidth, 100), height: HEIGHT };
  }

  /** @param {string[]} names */
  options(names) {
    const lines = { stroke: colour("line"), width: 1 };
    const axis = { stroke: colour("dim"), font: "12px system-ui", grid: lines, ticks: lines };
    return {
      ...this.size(),
      scales: { x: { time: false } },
      axes: [
        { ...axis, incrs: [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6].map((e) => n * 10 ** e)).sort((a, b) => a - b) },
        { ...axis, size: 52, values: (_, ticks) => ticks.map((v) => (v >= 1000 ? count(v) : short(v))) },
      ],
      legend: { markers: { width: 2 } },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      series: [
        { label: "round", value: (plot, v) => String(v ?? plot.data[0].at(-1) ?? "") },
        ...names.map((name, k) => ({
          label: name,
          stroke: colour(`series-${k + 1}`),
          width: 1.75,
          spanGaps: true,
          points: { fill: colour("surface"), size: 5 },
          value: (_, v) => short(v ?? this.last?.[k]),
        })),
      ],
    };
  }
}

const charts = { others: new Chart(at("others")), shares: new Chart(at("shares")), speed: new Chart(at("speed")) };

// -- what the hub tells ------------------------------------------------------------------------------

/** @type {Look[]} */
let looks = [];

/** The round after which the hub is to tell how it went on. */
const known = () => (looks.length > MOST_LOOKS ? 0 : (looks.at(-1)?.version ?? 0));

/** @param {Look[]} history @param {number} since what it was asked for */
function remember(history, since) {
  if (since === 0) {
    looks = [];
  }
  looks.push(...history);
}

/** Each name's values at all looks. */
function series(names) {
  return new Map(names.map((name) => [name, looks.map((look) => look.metrics[name] ?? null)]));
}

function drawCurves() {
  const x = looks.map((look) => look.version);
  const isLoss = (name) => Number(/loss/i.test(name)); // these come first
  const names = [...new Set(looks.flatMap((look) => Object.keys(look.metrics)))].sort(
    (a, b) => isLoss(b) - isLoss(a) || (a < b ? -1 : 1),
  );
  const all = series(names);
  const isShare = (name) => SHARE.test(name) && all.get(name)?.every((v) => v === null || (v >= 0 && v <= 1));
  charts.shares.draw(x, series(names.filter((name) => isShare(name))));
  charts.others.draw(x, series(names.filter((name) => !isShare(name))));
  // Over some seconds, as samples of a round are there all at once.
  let first = 0;
  const speed = looks.map((look, k) => {
    while (first < k - 1 && look.time - looks[first].time > SPEED_S) {
      first++;
    }
    const { time, samples } = looks[first];
    // a hub that was started again counts anew
    return look.time > time && look.samples >= samples ? (look.samples - samples) / (look.time - time) : null;
  });
  charts.speed.draw(x, speed.some((v) => v !== null) ? new Map([["samples/s", speed]]) : new Map());
}

/** The look that rates of now are taken from: some seconds ago. @param {Look} now */
function before(now) {
  const recent = looks.find((look) => now.time - look.time < RATE_S);
  return recent && recent.samples <= now.samples && recent.sent <= now.sent ? recent : undefined;
}

/** @param {HTMLElement} body @param {[string, ...string[]][]} rows a heading and what is said of it */
function fill(body, rows) {
  body.replaceChildren(
    ...rows.map(([heading, ...cells]) => {
      const row = document.createElement("tr");
      const th = document.createElement("th");
      th.textContent = heading;
      row.append(th);
      for (const text of cells) {
        row.insertCell().textContent = text;
      }
      return row;
    }),
  );
}

/** Numbers by name, the most first. */
function tally(id, counts, none) {
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  fill(at(id), rows.length ? rows.map(([name, n]) => [name, n.toLocaleString("en")]) : [[none]]);
}

/** @param {Member[]} members */
function drawMembers(members) {
  at("members").replaceChildren(
    ...members.map((m) => {
      const row = document.createElement("tr");
      const cells = [
        String(m.rank),
        m.connected ? `${m.address || "yes"}${m.silent_s > 5 ? `, silent for ${count(Math.round(m.silent_s))} s` : ""}` : `lost ${count(Math.round(m.silent_s))} s ago`,
        m.samples_per_s === null ? "–" : count(m.samples_per_s),
        m.share ? (m.share[1] - m.share[0]).toLocaleString("en") : "–",
        String(m.strikes),
        m.agent || "–",
        metrics(m.metrics),
      ];
      cells.forEach((text, k) => {
        const cell = row.insertCell();
        cell.textContent = text;
        cell.className = [2, 3, 4].includes(k) ? "number" : k === 1 && !m.connected ? "lost" : "";
      });
      return row;
    }),
  );
}

/** Show what /v1/status told that was asked for what is new since a round. */
function show(told, since) {
  const now = /** @type {Look} */ (told);
  const set = (id, text) => (at(id).textContent = text);
  remember(told.history, since);
  set("run", told.run);
  document.title = `Round ${told.version} · tensorgl hub`;
  set("version", told.version.toLocaleString("en"));
  const missing = ["model", "optimizer"].filter((part) => !told.defined.includes(part));
  set("round", told.round !== null ? `round ${told.round} is open` : missing.length ? "nothing to train yet" : "waits for members");
  set("world", String(told.world));
  const connected = told.members.filter((m) => m.connected).length;
  set("connected", `${connected} connected`);
  const then = before(now);
  const s = then && now.time - then.time;
  const rate = (name) => (then && s ? (now[name] - then[name]) / s : 0);
  set("samples-rate", count(rate("samples")));
  set("samples", `${count(now.samples)} since the start`);
  set("rounds-rate", short(rate("version")));
  set("seconds", rate("version") ? `${short(1 / rate("version"))} s each` : "");
  for (const name of ["received", "sent"]) {
    set(`${name}-rate`, `${bytes(rate(name))}/s`);
    set(name, `${bytes(now[name])} in all`);
  }
  drawCurves();
  at("said-box").hidden = Boolean(uPlot) || !Object.keys(now.metrics).length;
  fill(at("said"), Object.entries(now.metrics).map(([name, value]) => [name, short(value)]));
  const silent = now.version > 0 && !looks.some((look) => Object.keys(look.metrics).length);
  at("notice").hidden = Boolean(uPlot) && !silent;
  set("notice", uPlot ? "No curves of losses: no member has sent metrics." : 'No curves: pip install "tensorgl[browser]" where the hub runs, and start `tensorgl serve` there once.');
  drawMembers(told.members);
  tally("contributions", told.contributions, "none yet");
  tally("refused", told.refused, "none");
  tally("dropped", told.dropped, "none");
  fill(at("facts"), [
    ["Address", told.url],
    ["Defined", told.defined.join(", ") || "nothing yet"],
    ["Contributions", told.up],
    ["Updates", told.down],
    ["Rule", told.rule],
    ["Parameters", told.hash.slice(0, 12) || "–"],
    ["tensorgl", told.tensorgl],
  ]);
}

// -- the page ----------------------------------------------------------------------------------------

const token = () => new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
let timer = 0;
let pause = POLL_MS;

function say(text, failed) {
  at("state").textContent = text;
  at("state").classList.toggle("failed", failed);
}

/** Have the person give a token. */
function ask(why) {
  at("ask").hidden = false;
  at("main").hidden = true;
  say(why, Boolean(token()));
}

async function poll() {
  clearTimeout(timer);
  if (!token()) {
    ask("A token is needed");
    return;
  }
  const since = known();
  try {
    const answer = await fetch(`v1/status?since=${since}`, { headers: { Authorization: `Bearer ${token()}` } });
    if (answer.status === 401 || answer.status === 403) {
      ask((await answer.text()).trim());
      return;
    }
    if (!answer.ok) {
      throw new Error(`status ${answer.status}`);
    }
    show(await answer.json(), since);
    at("ask").hidden = true;
    at("main").hidden = false;
    say("Live", false);
    pause = POLL_MS;
  } catch {
    pause = Math.min(2 * pause, LONGEST_MS);
    say("The hub does not answer; trying again", true);
  }
  if (!document.hidden) {
    timer = setTimeout(poll, pause);
  }
}

function theme(choice) {
  document.documentElement.dataset.theme = choice;
  redraw();
}

function redraw() {
  Object.values(charts).forEach((chart) => chart.restyle());
  drawCurves();
}

at("ask").onsubmit = (event) => {
  event.preventDefault();
  location.hash = `token=${encodeURIComponent(at("token").value.trim())}`;
};
addEventListener("hashchange", poll);
document.addEventListener("visibilitychange", () => !document.hidden && poll());
at("theme").onclick = () => {
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  const now = scheme === "light dark" ? matchMedia("(prefers-color-scheme: dark)").matches : scheme === "dark";
  theme(now ? "light" : "dark");
  try {
    localStorage.setItem(THEME, now ? "light" : "dark");
  } catch {
    // it is not remembered
  }
};
matchMedia("(prefers-color-scheme: dark)").onchange = redraw;
try {
  const kept = localStorage.getItem(THEME);
  if (kept) {
    theme(kept);
  }
} catch {
  // nothing is remembered
}
poll();
