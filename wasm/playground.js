// @ts-check
// The playground page: wires the editor, the gallery, Python in its worker, console, curve and panel.
import { Chart } from "./chart.js";
import { Console } from "./console.js";
import { createEditor } from "./editor.js";
import { Panel } from "./panel.js";
import { decode, encode } from "./share.js";
import { TensorGL } from "./tensorgl.js";

const STOP_MS = 1000; // how long a script has to react to an interrupt
const MOST_IMAGES = 24;
const DRAFT = "tensorgl.script";
const THEME = "tensorgl.theme";

/** @returns {any} */
const at = (id) => document.getElementById(id);
const run = at("run");
const stop = at("stop");
const narrow = matchMedia("(max-width: 800px)");

/** Storage is a convenience: where a browser forbids it, nothing is remembered. */
const memory = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // forbidden, or full
    }
  },
};

const chart = new Chart(at("chart"));
const log = new Console(at("console"), (line, kind) => kind !== "stderr" && chart.feed(line));
const panel = new Panel({ renderer: at("renderer"), load: at("load"), facts: at("facts") });
const editor = createEditor(at("editor"), { onRun: start, onChange: edited });

/** @type {{scripts: {name: string, title: string, source: string}[], data: Record<string, string>}} */
let gallery = { scripts: [], data: {} };
/** @type {TensorGL | null} */
let python = null; // null while it starts
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
    const started = await TensorGL.start({ env, onProgress });
    if (mine !== generation) {
      started.stop();
      return;
    }
    const found = await started.describe();
    if (mine !== generation) {
      return;
    }
    panel.device(found);
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
  running = true;
  buttons(true);
  log.clear();
  chart.clear();
  clearImages();
  panel.begin();
  say("Loading packages…");
  if (narrow.matches) {
    at("output").scrollIntoView();
  }
  const mine = generation;
  const begin = performance.now();
  const took = () => `${((performance.now() - begin) / 1000).toFixed(1)} s`;
  try {
    const { code } = await python.run(editor.text(), {
      data: gallery.data,
      onOutput: (text, stream) => log.write(text, stream),
      onImage: showImage,
      onInput: ask,
      onStats: (stats) => panel.stats(stats),
      onProgress: (stage, ms) => {
        panel.stage(stage, ms);
        if (stage === "packages" && !stopping) {
          say("Running…");
        }
        if (stage === "first step") {
          log.note(`first step after ${(ms / 1000).toFixed(2)} s`);
        }
      },
    });
    if (code === 130) {
      say(`Stopped after ${took()}`);
    } else {
      say(code ? `Exit code ${code} after ${took()}` : `Finished after ${took()}`, code !== 0);
    }
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
  const [off, on] = busy ? [run, stop] : [stop, run];
  on.disabled = false;
  if (document.activeElement === off) {
    on.focus();
  }
  off.disabled = true;
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

// -- pictures ----------------------------------------------------------------------------------------

function showImage({ png, title }) {
  const url = URL.createObjectURL(new Blob([png], { type: "image/png" }));
  const image = new Image();
  image.alt = title || "picture";
  image.onload = () => image.classList.toggle("small", image.naturalHeight < 120);
  image.src = url;
  const open = document.createElement("button");
  open.title = "Show large";
  open.append(image);
  open.onclick = () => {
    const large = at("viewer").querySelector("img");
    large.src = url;
    large.alt = image.alt;
    large.className = image.className;
    at("viewer").showModal();
  };
  const save = document.createElement("a");
  save.href = url;
  save.download = (title || "picture").split("/").at(-1).replace(/(\.png)?$/, ".png");
  save.textContent = title || "picture";
  save.title = "Save";
  const caption = document.createElement("figcaption");
  caption.append(save);
  const figure = document.createElement("figure");
  figure.append(open, caption);
  const strip = at("images");
  strip.hidden = false;
  strip.append(figure);
  if (strip.childElementCount > MOST_IMAGES) {
    dropImage(strip.firstElementChild);
  }
}

function dropImage(figure) {
  URL.revokeObjectURL(figure.querySelector("a").href);
  figure.remove();
}

function clearImages() {
  const strip = at("images");
  [...strip.children].forEach(dropImage);
  strip.hidden = true;
}

// -- scripts -----------------------------------------------------------------------------------------

/** Fill the gallery and show the script to begin with: a link's, the person's last one, or the first. */
async function open() {
  const choose = at("example");
  choose.add(new Option("your script", "", false, false));
  try {
    gallery = await (await fetch("examples.json")).json();
  } catch (error) {
    notice(`The examples could not be loaded: ${error.message}`);
  }
  for (const { name, title } of gallery.scripts) {
    choose.add(new Option(title, name));
  }
  if (!(await openLink())) {
    place(memory.get(DRAFT) || (gallery.scripts[0]?.source ?? ""));
  }
}

/** Show the script that the address holds, if it does. It runs only when the person says so. */
async function openLink() {
  try {
    const script = await decode(location.hash.slice(1));
    if (script === null) {
      return false;
    }
    place(script);
    notice("This script came with the link. Read it, then press Run.");
    return true;
  } catch (error) {
    notice(`${error.message[0].toUpperCase()}${error.message.slice(1)}.`);
    return false;
  }
}

/** Put a script into the editor and tell in the gallery which it is. */
function place(script) {
  editor.set(script);
  at("example").value = gallery.scripts.find(({ source }) => source === script)?.name ?? "";
}

let saving = 0;

/** The person has typed: the script is theirs, and is there again after a reload. */
function edited() {
  at("example").value = "";
  if (location.hash) {
    history.replaceState(null, "", location.pathname + location.search);
  }
  clearTimeout(saving);
  saving = setTimeout(() => memory.set(DRAFT, editor.text()), 300);
}

async function share() {
  try {
    history.replaceState(null, "", `#${await encode(editor.text())}`);
  } catch (error) {
    notice(`No link: ${error.message}.`);
    return;
  }
  try {
    await navigator.clipboard.writeText(location.href);
    notice("The link is copied. It holds the whole script; nothing was sent anywhere.");
  } catch {
    notice("The link is in the address bar. It holds the whole script; nothing was sent anywhere.");
  }
}

// -- the page ----------------------------------------------------------------------------------------

function theme(choice) {
  document.documentElement.dataset.theme = choice;
  chart.restyle();
}

run.onclick = start;
stop.onclick = interrupt;
at("share").onclick = share;
at("device").onchange = () => boot();
at("example").onchange = ({ target }) => {
  const found = gallery.scripts.find(({ name }) => name === target.value);
  if (found) {
    editor.set(found.source);
    memory.set(DRAFT, "");
    notice("");
    history.replaceState(null, "", location.pathname + location.search);
  }
};
at("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme;
  const now = dark === "light dark" ? matchMedia("(prefers-color-scheme: dark)").matches : dark === "dark";
  theme(now ? "light" : "dark");
  memory.set(THEME, now ? "light" : "dark");
};
matchMedia("(prefers-color-scheme: dark)").onchange = () => chart.restyle();
addEventListener("hashchange", openLink);
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
open();
boot();
