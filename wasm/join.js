// @ts-check
// The page on which a browser joins a hub's run: it asks its person, and runs the run's script.
import { Chart } from "./chart.js";
import { Console } from "./console.js";
import { TensorGL } from "./tensorgl.js";

const STOP_MS = 2000; // how long a script has to say goodbye
const SCRIPT = "/home/pyodide/script.py";

/** Runs the script, which its import lets the tab find the packages of, and tells of contributions. */
const MEMBER = `
import runpy, sys
import js
from pyodide.ffi import to_js
from tensorgl.distributed.client import Client
if False:
    import script

def tell(client, outcome):
    version = client.view.version if client.view else 0
    message = {"type": "contributed", "outcome": outcome, "version": version, "world": client.world}
    js.postMessage(to_js(message, dict_converter=js.Object.fromEntries))

Client.watch = tell
sys.argv = ["${SCRIPT}"]
runpy.run_path("${SCRIPT}", run_name="__main__")
`;

/** @returns {any} */
const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const chart = new Chart(at("chart"));
const log = new Console(at("console"), (line, kind) => {
  if (kind !== "stderr") {
    chart.feed(line);
    at("chart-box").hidden = !chart.series.size;
  }
});

/** @type {{run: string, name: string, about: string, source: string} | undefined} */
let script;
/** @type {TensorGL | undefined} */
let python;
/** @type {"ready" | "running" | "stopping" | "left"} */
let state = "ready";
let leaving = false;
let generation = 0; // of Python: what an older one says no longer matters
let counted = 0;
let others = 0; // contributions that did not count
let seconds = 0; // of earlier times
let since = 0; // when it began to run

function say(text, failed = false) {
  at("state").textContent = text;
  at("state").classList.toggle("failed", failed);
}

/** @param {"ready" | "running" | "stopping" | "left"} now */
function become(now) {
  if (now === "running") {
    since = performance.now();
  } else if (state === "running") {
    seconds += (performance.now() - since) / 1000;
  }
  state = now;
  const again = seconds ? "Go on" : "Take part";
  at("start").textContent = { running: "Pause", stopping: "Pausing…" }[now] ?? again;
  at("start").disabled = now === "stopping" || now === "left";
  at("leave").disabled = now !== "running";
  at("device").disabled = now !== "ready";
}

async function load() {
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await fetch("/v1/script", { headers });
  if (!answer.ok) {
    throw new Error((await answer.text()).trim());
  }
  script = await answer.json();
  at("run").textContent = at("name").textContent = script?.run;
  at("script").textContent = script?.name;
  at("about").textContent = script?.about;
  at("source").textContent = script?.source;
  say("Ready");
  become("ready");
}

async function start() {
  const mine = ++generation;
  become("running");
  log.clear();
  say("Python is loading…");
  let ended = "The script has ended: thank you";
  let failed = false;
  try {
    /** @type {Record<string, string>} */
    const env = { MPLBACKEND: "agg", TENSORGL_HUB: location.origin.replace("http", "ws"), TENSORGL_TOKEN: token };
    if (at("device").value) {
      env.TENSORGL_DEVICE = at("device").value;
    }
    const started = await TensorGL.start({
      env,
      onProgress: (stage) => mine === generation && say(`Python is loading: ${stage}`),
    });
    if (mine !== generation) {
      started.stop();
      return;
    }
    python = started;
    started.worker.addEventListener("message", ({ data }) => mine === generation && contributed(data));
    at("renderer").textContent = (await started.describe()).renderer || "processor only";
    say("Taking part");
    const { code } = await started.run(MEMBER, {
      path: "/home/pyodide/member.py",
      data: { "script.py": script?.source ?? "" },
      onOutput: (text, stream) => log.write(text, stream),
    });
    failed = code !== 0 && code !== 130;
    ended = code === 130 ? "Paused" : failed ? `The script ended with exit code ${code}` : ended;
  } catch (/** @type {any} */ error) {
    failed = true;
    ended = `Python ended: ${error.message}`;
  }
  if (mine === generation) {
    end(ended, failed);
  }
}

/** Python is over, and the hub sees the connection close. */
function end(text, failed = false) {
  generation++;
  const old = python;
  python = undefined;
  old?.stop();
  become(leaving ? "left" : "ready");
  say(leaving ? "You have left: thank you" : text, failed);
}

/** Have the script say goodbye, so that nobody waits for it, and end Python. */
function pause() {
  const old = python;
  if (!old?.interruptBuffer) {
    end("Paused"); // while it was loading, or the page has no way to interrupt it
    return;
  }
  become("stopping");
  say("Pausing…");
  setTimeout(() => old === python && end("Paused"), STOP_MS);
  old.interrupt();
}

function leave() {
  leaving = true;
  pause();
}

/** @param {{type: string, outcome: string, version: number, world: number}} message */
function contributed({ type, outcome, version, world }) {
  if (type !== "contributed") {
    return;
  }
  const counts = outcome === "counted" || outcome === "carried";
  counted += Number(counts);
  others += Number(!counts);
  at("counted").textContent = counted.toLocaleString("en");
  at("others").textContent = others ? `and ${others.toLocaleString("en")} that came too late` : "";
  at("round").textContent = version.toLocaleString("en");
  at("world").textContent = world === 1 ? "you are its only member" : `${world} members`;
}

function tick() {
  const now = Math.floor(seconds + (state === "running" ? (performance.now() - since) / 1000 : 0));
  at("time").textContent = `${Math.floor(now / 60)}:${String(now % 60).padStart(2, "0")}`;
}

at("start").onclick = () => (state === "running" ? pause() : start());
at("leave").onclick = leave;
addEventListener("pagehide", () => python?.stop());
matchMedia("(prefers-color-scheme: dark)").onchange = () => chart.restyle();
setInterval(tick, 500);
load().catch((error) => say(`You cannot take part: ${error.message}`, true));
