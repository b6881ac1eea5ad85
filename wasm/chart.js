// @ts-check
// The loss curve: finds values such as "loss 0.53" in printed lines and draws them with uPlot.
import uPlot from "./vendor/uplot.js";

const WORDS =
  "loss|acc|accuracy|error|err|reward|return|score|perplexity|ppl|mse|mae|rmse|nll|kl|elbo|reconstruction|divergence";
const VALUE = new RegExp(
  String.raw`\b((?:[a-z]\w*[_/.-]|(?:train|training|test|val|valid|validation|eval) )?(?:${WORDS}))` +
    String.raw`\s*[:=]?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?![\w.])`,
  "gi",
);
const MOST_SERIES = 6; // as many colours as playground.css has
const MOST_POINTS = 4000; // then every second goes
const HEIGHT = 190;

/** @param {string} line @returns {[string, number][]} the values that a line tells, by name */
export function values(line) {
  return [...line.matchAll(VALUE)].map(([, name, number]) => [name.toLowerCase(), Number(number)]);
}

/** A colour of the page's theme as a canvas wants it. */
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const isShare = (name) => /acc(uracy)?$/.test(name);
const short = (value) => (value == null ? "" : String(Number(value.toPrecision(4))));

export class Chart {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(element);
    this.clear();
  }

  clear() {
    this.lines = 0; // that told values
    /** @type {Map<string, (number | null)[]>} */
    this.series = new Map();
    /** @type {number[]} */
    this.x = [];
    this.restyle();
    this.element.hidden = true;
  }

  /** Draw anew from nothing: there is another series, or the page has other colours. */
  restyle() {
    this.plot?.destroy();
    this.plot = undefined;
    this.redraw();
  }

  /** @param {string} line */
  feed(line) {
    const found = values(line);
    if (!found.length) {
      return;
    }
    this.x.push(++this.lines);
    for (const [name] of found) {
      if (!this.series.has(name) && this.series.size < MOST_SERIES) {
        this.series.set(name, new Array(this.x.length - 1).fill(null));
        this.plot?.destroy();
        this.plot = undefined;
      }
    }
    const told = new Map(found);
    for (const [name, values] of this.series) {
      values.push(told.get(name) ?? null);
    }
    if (this.x.length > MOST_POINTS) {
      const half = (values) => values.filter((_, k) => k % 2);
      this.x = half(this.x);
      this.series = new Map([...this.series].map(([name, values]) => [name, half(values)]));
    }
    this.redraw();
  }

  redraw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      if (this.series.size) {
        this.draw();
      }
    });
  }

  draw() {
    this.element.hidden = false;
    const data = [this.x, ...this.series.values()];
    if (this.plot) {
      this.plot.setData(data);
    } else {
      this.plot = new uPlot(this.options(), data, this.element);
    }
    const last = [...this.series].map(([name, values]) => `${name} ${short(this.latest(values))}`);
    this.element.setAttribute("aria-label", `After ${this.lines} lines: ${last.join(", ")}`);
  }

  latest(values) {
    return values.findLast((value) => value !== null);
  }

  size() {
    return { width: Math.max(this.element.clientWidth - 16, 100), height: HEIGHT };
  }

  options() {
    const lines = { stroke: colour("line"), width: 1 };
    const axis = { stroke: colour("dim"), font: "12px system-ui", grid: lines, ticks: lines };
    const shares = [...this.series.keys()].some(isShare);
    const others = [...this.series.keys()].some((name) => !isShare(name));
    /** @type {object[]} */
    const axes = [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6] }];
    if (others) {
      axes.push({ ...axis, scale: "value", size: 56 });
    }
    if (shares) {
      axes.push({ ...axis, scale: "share", size: 56, ...(others && { side: 1, grid: { show: false } }) });
    }
    return {
      ...this.size(),
      scales: { x: { time: false } },
      axes,
      legend: { markers: { width: 2 } },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      series: [
        { label: "line", value: (_, v) => short(v ?? this.lines) },
        ...[...this.series.keys()].map((name, k) => ({
          label: name,
          scale: isShare(name) ? "share" : "value",
          stroke: colour(`series-${k + 1}`),
          width: 1.75,
          spanGaps: true,
          points: { fill: colour("surface") },
          value: (_, v) => short(v ?? this.latest(this.series.get(name) ?? [])),
        })),
      ],
    };
  }
}
