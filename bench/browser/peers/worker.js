// @ts-check
// The worker of one peer: answers the questions that page.js lists, by what tfjs.js or jax.js make of a
// case. Such a module exports
//
//   start()           loads the library; a promise of {versions}
//   build(op, sizes)  gives a workload, or {unsupported}: why the library cannot
//     run()           one call: starts its work and gives the result; or reads it, where the case does
//     read(result)    waits for one element of a result
//     free(result)    gives its memory back
//     check()         what one call computes, as {shape, values}; of training, the losses of three steps
//     close()         gives back all that the workload has

const WARM_S = 0.01; // of calls before a sample of a quick case, for threads to wake up

/** @type {any} */
let library;
const opened = new Map();

/** The contexts that the library made, to see whether they are lost and what they draw. */
const contexts = new Set();
const getContext = OffscreenCanvas.prototype.getContext;
OffscreenCanvas.prototype.getContext = function (kind, attributes) {
  // jax-js takes no context that a CPU draws to, which is slow but all that many machines have.
  const found = getContext.call(this, kind, { ...attributes, failIfMajorPerformanceCaveat: false });
  if (found && "drawArrays" in found) {
    contexts.add(found);
  }
  return found;
};

/** Draws that the library makes while an action lasts. */
function draws(action) {
  let count = 0;
  for (const gl of contexts) {
    for (const name of ["drawArrays", "drawElements"]) {
      const draw = Object.getPrototypeOf(gl)[name];
      gl[name] = (...given) => {
        count++;
        draw.apply(gl, given);
      };
    }
  }
  try {
    action();
  } finally {
    for (const gl of contexts) {
      delete gl.drawArrays;
      delete gl.drawElements;
    }
  }
  return count;
}

function renderer() {
  for (const gl of contexts) {
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    if (names) {
      return gl.getParameter(names.UNMASKED_RENDERER_WEBGL);
    }
  }
  return "";
}

/** Seconds of n calls, with an element of what the last one gave. A result lives until the next is there,
 * as in Python: a rasteriser skips work whose texture is drawn over before anybody has read it. */
function seconds(workload, n) {
  const before = performance.now();
  let result = workload.run();
  for (let k = 1; k < n; k++) {
    const last = result;
    result = workload.run();
    workload.free(last);
  }
  workload.read(result);
  const taken = (performance.now() - before) / 1000;
  workload.free(result);
  return taken;
}

const answers = {
  async load({ side }) {
    library = await import({ tfjs: "./tfjs.js", "jax-js": "./jax.js" }[side]);
    return library.start();
  },

  open({ key, op, sizes }) {
    const workload = library.build(op, sizes);
    const { unsupported } = workload;
    if (unsupported) {
      return { unsupported };
    }
    const first = seconds(workload, 1);
    workload.known = first;
    opened.set(key, workload);
    let result;
    const launches = draws(() => (result = workload.run()));
    workload.read(result);
    workload.free(result);
    return { first_s: first, launches, renderer: renderer() };
  },

  time({ key, n }) {
    const workload = opened.get(key);
    const end = performance.now() + 1000 * WARM_S;
    while (workload.known < WARM_S && performance.now() < end) {
      seconds(workload, 1);
    }
    workload.known = seconds(workload, n) / n;
    return { seconds: workload.known };
  },

  check({ key }) {
    return { arrays: opened.get(key).check().map(packed) };
  },

  close({ key }) {
    opened.get(key).close();
    opened.delete(key);
    return {};
  },
};

/** @param {{shape: number[], values: Float32Array | Int32Array}} array */
function packed({ shape, values }) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 0x6000) {
    // a multiple of three, so that the pieces' texts can be joined
    pieces.push(btoa(String.fromCharCode(...bytes.subarray(at, at + 0x6000))));
  }
  const dtype = values instanceof Int32Array ? "int32" : "float32";
  return { shape, dtype, data: pieces.join("") };
}

self.onmessage = async ({ data }) => {
  let answer;
  try {
    answer = await answers[data.do](data);
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  await new Promise((resolve) => setTimeout(resolve)); // that a context is lost is told between tasks
  if ([...contexts].some((gl) => gl.isContextLost())) {
    answer = { error: "the WebGL context was lost" }; // whatever else it said
  }
  self.postMessage(answer);
};
