// @ts-check
// The page of tab.py: hands each question to the library that it is for, and the answer back.
//
//   {do: "load", side, script}              start a library; {browser, versions, load_s}
//   {do: "open", side, case, key, op,       make a case ready; {first_s, launches, renderer} and what
//    sizes, group}                          tensorgl says besides, or {unsupported}: why the library cannot
//   {do: "time", side, key, n}              {seconds} that one of n calls took
//   {do: "check", side, key}                {arrays}: each {shape, dtype, data}, data in base64
//   {do: "close", side, key}                {}
//
// Any answer may be {error} instead. Each library has a worker with a WebGL context of its own, as
// jax-js draws to an OffscreenCanvas only and TensorFlow.js can; tensorgl's two sides share Pyodide.

/** @typedef {{ask: (question: any) => Promise<any>}} Library */

/** @type {Record<string, Library>} */
const libraries = {};

/** tensorgl: a script in Pyodide that reads questions as lines, and writes answers as lines. */
async function startPython(script) {
  const { TensorGL } = await import("../tensorgl.js");
  const tg = await TensorGL.start();
  const text = { stdout: "", stderr: "" };
  /** @type {(answer: any) => void} */
  let take;
  /** @type {(line: string) => void} */
  let give;
  let asked = new Promise((resolve) => (give = resolve));
  const answered = () => new Promise((resolve) => (take = resolve));
  const first = answered();
  let ended = "";
  const over = (why) => {
    ended = `Python ended: ${why}\n${text.stderr}`;
    take({ error: ended });
  };
  tg.run(script, {
    onInput: async () => {
      const line = await asked;
      asked = new Promise((resolve) => (give = resolve));
      return line;
    },
    onOutput: (more, stream) => {
      text[stream] += more;
      if (stream === "stdout" && more.endsWith("\n")) {
        take(JSON.parse(text.stdout));
        text.stdout = "";
      }
    },
  }).then(({ code }) => over(`exit code ${code}`), (error) => over(error.message));
  const ask = async (question) => {
    if (ended) {
      return { error: ended };
    }
    const answer = answered();
    give(`${JSON.stringify(question)}\n`);
    return answer;
  };
  const { versions, error } = await first;
  if (error) {
    throw new Error(error);
  }
  return { library: { ask }, versions };
}

/** A peer: peers/worker.js, which imports the library's own file. */
async function startPeer(side) {
  const worker = new Worker(new URL("peers/worker.js", import.meta.url), { type: "module" });
  const ask = (question) =>
    new Promise((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => resolve({ error: event.message ?? "the worker did not start" });
      worker.postMessage(question);
    });
  const { versions, error } = await ask({ do: "load", side });
  if (error) {
    throw new Error(error);
  }
  return { library: { ask }, versions };
}

async function load({ side, script }) {
  const before = performance.now();
  const { library, versions } = await (script ? startPython(script) : startPeer(side));
  for (const name of script ? ["webgl", "pyodide-numpy"] : [side]) {
    libraries[name] = library;
  }
  const load_s = (performance.now() - before) / 1000;
  return { browser: navigator.userAgent, versions, load_s };
}

const address = new URL(`/${location.hash.slice(1)}/socket`, location.href);
const socket = new WebSocket(address.href.replace("http", "ws"));

socket.onmessage = async ({ data }) => {
  const question = JSON.parse(data);
  let answer;
  try {
    answer = await (question.do === "load" ? load(question) : libraries[question.side].ask(question));
  } catch (error) {
    answer = { error: String(error?.message ?? error) };
  }
  socket.send(JSON.stringify(answer));
};
