// @ts-check
// The playground page: wires the editor, the gallery, Python in its worker, console, curve and panel.
import { Chart } from "./chart.js";
import { Console } from "./console.js";
import { createEditor } from "./editor.js";
import { memory } from "./memory.js";
import { Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Scripts } from "./scripts.js";
import { TensorGL } from "./tensorgl.js";
import { known, tune } from "./tuning.js";

const STOP_MS = 1000; // how long a script has to react to an interrupt
const THEME = "tensorgl.theme";

/** @returns {any} */
const at = (id) => document.getElementById(id);
const run = at("run");
const stop = at("stop");
const tuner = at("tune");
const narrow = matchMedia("(max-width: 800px)");

const chart = new Chart(at("chart"));
const log = new Console(at("console"), (line, kind) => kind !== "stderr" && chart.feed(line));
const panel = new Panel({ renderer: at("renderer"), load: at("load"), facts: at("facts") });
const pictures = new Pictures(at("images"), at("viewer"));
const editor = createEditor(at("editor"), { onRun: start, onChange: () => scripts.edited() });
const scripts = new Scripts(editor, at("example"), notice);

/** @type {TensorGL | null} */
let python = null; // null while it starts
let gpu = false; // whether Python has device gl
let wanted = false; // the person pressed run before Python was ready
let running = false;
let stopping = 0; // the timer that ends patience with a script
let generation = 0; // of the worker: what an older one says no longer matters

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("failed", failed);
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = !text;
}

// -- Python ------------------------------------------------------------------------------------------

/** Start Python, or end it and start it anew. */
async function boot() {
  const mine = ++generation;
  python?.stop();
  python = null;
  gpu = false;
  tuner.disabled = true;
  panel.restart();
  at("progress").hidden = false;
  say("Python is loading…");
  const begin = performance.now();
  const device = at("device").value;
  /** @type {Record<string, string>} */
  const env = { MPLBACKEND: "module://tensorgl.wasm.plots" };
  if (device) {
    env.TENSORGL_DEVICE = device;
  }
  try {
    const onProgress = (stage, ms) => {
      if (mine === generation) {
        panel.stage(stage, ms);
        say(`Python is loading: ${panel.times()}`);
      }
    };
    const started = await TensorGL.start({ env, onProgress, tuning: known() });
    if (mine !== generation) {
      started.stop();
      return;
    }
    const found = await started.describe();
    if (mine !== generation) {
      return;
    }
    panel.device(found);
    gpu = Boolean(found.renderer);
    tuner.disabled = !gpu;
    python = started;
    say(`Ready in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
    log.note(`Python is ready: ${panel.times()}`);
  } catch (error) {
    if (mine === generation) {
      say(`Python could not start: ${error.message}`, true);
    }
    return;
  } finally {
    if (mine === generation) {
      at("progress").hidden = true;
    }
  }
  if (wanted) {
    start();
  }
}

/** Run the script that is in the editor. */
async function start() {
  if (running) {
    return;
  }
  notice("");
  if (!python) {
    wanted = true;
    stop.disabled = false;
    say("The script runs as soon as Python is ready…");
    return;
  }
  wanted = false;
  await work("Loading packages…", (tg, on) =>
    tg.run(editor.text(), {
      ...on,
      data: scripts.data,
      onProgress: (stage, ms) => {
        panel.stage(stage, ms);
        if (stage === "packages" && !stopping) {
          say("Running…");
        }
        if (stage === "first step") {
          log.note(`first step after ${(ms / 1000).toFixed(2)} s`);
        }
      },
    }),
  );
}

/** Find the fastest kernels for this GPU. */
async function startTuner() {
  notice("");
  await work("Tuning…", (tg, on) =>
    tune(tg, {
      ...on,
      onOutput: (text, stream) => log.write(text, stream === "stdout" ? "table" : stream),
      onTrying: (text) => !stopping && say(`Tuning: ${text}`),
    }),
  );
}

/**
 * Have Python do something, and show what comes of it.
 *
 * @param {string} status
 * @param {(tg: any, on: import("./tensorgl.js").Handlers) => Promise<{code: number, kept?: boolean}>} task
 */
async function work(status, task) {
  running = true;
  buttons(true);
  log.clear();
  chart.clear();
  pictures.clear();
  panel.begin();
  say(status);
  if (narrow.matches) {
    at("output").scrollIntoView();
  }
  const mine = generation;
  const begin = performance.now();
  try {
    const { code, kept = true } = await task(python, {
      onOutput: (text, stream) => log.write(text, stream),
      onImage: (image) => pictures.show(image),
      onInput: ask,
      onStats: (stats) => panel.stats(stats),
    });
    const stopped = code === 130;
    const end = stopped ? "Stopped" : code ? `Exit code ${code}` : "Finished";
    const lost = kept ? "" : ", but this browser keeps nothing for the page: a reload forgets it";
    say(`${end} after ${((performance.now() - begin) / 1000).toFixed(1)} s${lost}`, code !== 0 && !stopped);
  } catch (error) {
    if (mine === generation) {
      log.note(`Python ended: ${error.message}`);
      generation++; // nothing more is expected of that worker
      python = null;
      queueMicrotask(boot);
    }
  } finally {
    clearInterval(stopping);
    stopping = 0;
    running = false;
    at("input").hidden = true;
    buttons(false);
  }
}

/** Interrupt the script; one that does not react in time loses its Python. */
function interrupt() {
  if (!running) {
    wanted = false;
    stop.disabled = true;
    say("Python is loading…");
    return;
  }
  const restart = (why) => {
    log.note(`${why}, so Python starts anew`);
    boot();
  };
  if (!python?.interruptBuffer) {
    restart("This page is served without the headers that let a script be interrupted");
    return;
  }
  say("Stopping…");
  clearInterval(stopping);
  const begin = performance.now();
  python.interrupt();
  // Python drops an interrupt that comes while an object is being deleted.
  stopping = setInterval(() => {
    if (performance.now() - begin > STOP_MS) {
      restart("The script did not react");
    } else {
      python?.interrupt();
    }
  }, STOP_MS / 4);
}

/** Show which button can be pressed; the keyboard's focus goes along. */
function buttons(busy) {
  const [off, on] = busy ? [[run, tuner], stop] : [[stop], run];
  on.disabled = false;
  if (off.includes(document.activeElement)) {
    on.focus();
  }
  run.disabled = busy;
  stop.disabled = !busy;
  tuner.disabled = busy || !gpu;
}

/** Ask the person for a line of input. @returns {Promise<string>} */
function ask() {
  at("input").hidden = false;
  at("line").focus();
  return new Promise((resolve) => {
    at("input").onsubmit = (event) => {
      event.preventDefault();
      const line = `${at("line").value}\n`;
      log.write(line, "typed");
      at("line").value = "";
      at("input").hidden = true;
      resolve(line);
    };
  });
}

// -- the page ----------------------------------------------------------------------------------------

function theme(choice) {
  document.documentElement.dataset.theme = choice;
  chart.restyle();
}

run.onclick = start;
stop.onclick = interrupt;
tuner.onclick = startTuner;
at("share").onclick = () => scripts.share();
at("device").onchange = () => boot();
at("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme;
  const now = dark === "light dark" ? matchMedia("(prefers-color-scheme: dark)").matches : dark === "dark";
  theme(now ? "light" : "dark");
  memory.set(THEME, now ? "light" : "dark");
};
matchMedia("(prefers-color-scheme: dark)").onchange = () => chart.restyle();
addEventListener("hashchange", () => scripts.openLink());
document.addEventListener("keydown", (event) => {
  // In the editor its own keys come first.
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) {
    event.preventDefault();
    start();
  }
});
if (memory.get(THEME)) {
  theme(memory.get(THEME));
}
scripts.open();
boot();
