// @ts-check
// The device panel: what draws, what it can, what it holds, how fast it goes, and how long the start took.

const bytes = (count) => (count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`);
const whole = (count) => Math.round(count).toLocaleString("en");
const seconds = (ms) => `${(ms / 1000).toFixed(ms < 95 ? 2 : 1)} s`;
const LIVE = ["GPU memory", "Python memory", "Launches", "Launches a step", "Launches a second"];
const STAGES = { pyodide: "Pyodide", numpy: "numpy", tensorgl: "tensorgl" };

export class Panel {
  /** @param {Record<"renderer" | "load" | "facts", HTMLElement>} elements */
  constructor({ renderer, load, facts }) {
    this.renderer = renderer;
    this.load = load;
    this.facts = facts;
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    this.restart();
  }

  /** Python begins anew: nothing is known. */
  restart() {
    this.rows.clear();
    this.facts.replaceChildren();
    for (const name of ["Start", ...LIVE]) {
      this.set(name, "–");
    }
    this.renderer.textContent = "Device";
    this.load.textContent = "";
    /** @type {Map<string, number>} */
    this.timeline = new Map();
    this.begin();
  }

  /** A script begins. */
  begin() {
    this.before = undefined;
    this.load.textContent = "";
    this.set("Launches a step", "–");
    this.set("Launches a second", "–");
  }

  set(name, value) {
    let row = this.rows.get(name);
    if (!row) {
      const label = document.createElement("dt");
      label.textContent = name;
      row = document.createElement("dd");
      this.facts.append(label, row);
      this.rows.set(name, row);
    }
    row.textContent = value;
  }

  /** @param {import("./tensorgl.js").Device} device */
  device(device) {
    const kind = device.software ? "software, draws with the CPU" : "hardware";
    this.renderer.textContent = device.renderer ? shorter(device.renderer) : "No WebGL2: device cpu only";
    this.set("Renderer", device.renderer ? `${device.renderer} (${kind})` : device.reason);
    this.set("New tensors", `on ${device.default}`);
    if (device.renderer) {
      this.set("Accelerator", device.reason);
    }
    for (const [name, value] of Object.entries(device.limits)) {
      this.set(name.replace(/^max_/, "").replaceAll("_", " "), `at most ${whole(value)}`);
    }
  }

  /** A stage of starting is over. */
  stage(name, ms) {
    this.timeline.set(STAGES[name] ?? name, ms);
    this.set("Start", this.times());
  }

  times() {
    return [...this.timeline].map(([stage, ms]) => `${stage} ${seconds(ms)}`).join(", ");
  }

  /** @param {import("./tensorgl.js").Stats} stats */
  stats(stats) {
    const now = performance.now();
    this.set("GPU memory", `${bytes(stats.live)} in tensors, ${bytes(stats.pooled)} kept for others`);
    this.set("Python memory", bytes(stats.python));
    this.set("Launches", whole(stats.launches));
    const before = this.before;
    if (before && now - before.now > 200) {
      const launches = stats.launches - before.launches;
      const calls = stats.calls - before.calls;
      if (calls) {
        this.set("Launches a step", whole(launches / calls));
        this.set("Launches a second", whole((1000 * launches) / (now - before.now)));
        this.load.textContent =
          `· ${bytes(stats.live)} · ${whole(launches / calls)} launches a step` +
          ` · ${whole((1000 * calls) / (now - before.now))} steps/s`;
      }
    }
    this.before = { ...stats, now };
  }
}

/** What stands in the middle of ANGLE's long names: the GPU. */
function shorter(renderer) {
  const inside = /^ANGLE \((.*)\)$/.exec(renderer)?.[1] ?? renderer;
  const parts = inside.split(", ");
  return (parts[1] ?? parts[0]).slice(0, 60);
}
