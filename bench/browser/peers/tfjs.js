// @ts-check
// TensorFlow.js: the cases on its WebGL backend, as its guides say is quickest: packed textures (the
// default), production mode, fused kernels, everything in tidy, nothing read but what a case reads.
// Pictures lie as it likes them best, channels last; `check` gives them as PyTorch has them.
import * as tf from "../npm/tfjs/tf.js";
import { operands, tokens } from "./inputs.js";
import { ADAM, hold, holding, infer, read, train } from "./tfjs_models.js";

export async function start() {
  tf.enableProdMode();
  if (!(await tf.setBackend("webgl"))) {
    throw new Error("TensorFlow.js has no WebGL backend in this browser");
  }
  await tf.ready();
  return { versions: { tfjs: tf.version.tfjs } };
}

const LAST = [0, 2, 3, 1]; // from channels first to last
const FIRST = [0, 3, 1, 2]; // and back
const FILTER = [2, 3, 1, 0]; // from (out, in, height, width) to (height, width, in, out)
const UNFILTER = [3, 2, 0, 1];
const DEPTHWISE = [2, 3, 0, 1]; // (channels, 1, height, width) to (height, width, channels, 1)
const UNDEPTHWISE = [2, 3, 0, 1];

/** A tensor of operands, on the GPU in another order of dims if one is given. */
function made(values, shape, order = null) {
  return hold(
    tf.tidy(() => {
      const tensor = tf.tensor(values, shape);
      return order ? tf.transpose(tensor, order) : tensor;
    }),
  );
}

/** A workload whose call computes a tensor or several; `orders`: of dims, for PyTorch's shapes. */
function kernel(compute, orders = []) {
  return {
    run: () => tf.tidy(compute),
    read(result) {
      const tensor = Array.isArray(result) ? result.at(-1) : result;
      const { rank } = tensor;
      const one = tf.slice(tensor, Array(rank).fill(0), Array(rank).fill(1));
      read(one);
      one.dispose();
    },
    free: (result) => tf.dispose(result),
    check() {
      const results = tf.tidy(() =>
        [compute()].flat().map((result, k) => (orders[k] ? tf.transpose(result, orders[k]) : result)),
      );
      const arrays = results.map(given);
      tf.dispose(results);
      return arrays;
    },
  };
}

const given = (tensor) => ({ shape: tensor.shape, values: read(tensor) });

/** A workload that reads what it computes. */
function reading(compute) {
  const run = () => {
    const result = tf.tidy(compute);
    const values = given(result);
    result.dispose();
    return values;
  };
  return { run, read() {}, free() {}, check: () => [run()] };
}

/** The convolution of a case, as a function of input and filter; `unsupported` for groups of several. */
function convolution({ n, c, h, w, o, k, stride, padding, groups }) {
  const depthwise = groups === c && c === o;
  if (groups !== 1 && !depthwise) {
    return { unsupported: "it convolves in groups of one channel only" };
  }
  const operand = operands();
  const x = made(operand(n, c, h, w), [n, c, h, w], LAST);
  const shape = [o, c / groups, k, k];
  const filter = made(operand(...shape), shape, depthwise ? DEPTHWISE : FILTER);
  const conv = depthwise ? tf.depthwiseConv2d : tf.conv2d;
  const out = (side) => Math.floor((side + 2 * padding - k) / stride) + 1;
  const result = [n, o, out(h), out(w)];
  return {
    x,
    filter,
    forward: (a, b) => conv(a, b, stride, padding),
    upstream: () => made(operand(...result), result, LAST),
    back: depthwise ? UNDEPTHWISE : UNFILTER,
  };
}

function pooling({ n, c, h, w, k }) {
  const operand = operands();
  const result = [n, c, Math.floor(h / k), Math.floor(w / k)];
  return {
    x: made(operand(n, c, h, w), [n, c, h, w], LAST),
    forward: (x) => tf.maxPool(x, k, k, "valid"),
    upstream: () => made(operand(...result), result, LAST),
  };
}

const cases = {
  small_add({ n }) {
    const operand = operands();
    const [a, b] = [made(operand(n), [n]), made(operand(n), [n])];
    return kernel(() => tf.add(a, b));
  },

  matmul({ m, k, n }) {
    const operand = operands();
    const [a, b] = [made(operand(m, k), [m, k]), made(operand(k, n), [k, n])];
    return kernel(() => tf.matMul(a, b));
  },

  copy({ n }) {
    const x = made(operands()(n), [n]);
    return kernel(() => x.add(1));
  },

  chain({ n }) {
    const x = made(operands()(n), [n]);
    return kernel(() => x.mul(2).add(1).relu().exp().sub(3).mul(x));
  },

  broadcast({ rows, cols }) {
    const operand = operands();
    const x = made(operand(rows, cols), [rows, cols]);
    const [scale, bias] = [made(operand(rows, 1), [rows, 1]), made(operand(cols), [cols])];
    return kernel(() => x.mul(scale).add(bias));
  },

  transpose({ rows, cols }) {
    const x = made(operands()(rows, cols), [rows, cols]);
    return kernel(() => tf.transpose(x));
  },

  sum({ rows, cols }) {
    const x = made(operands()(rows, cols), [rows, cols]);
    return kernel(() => tf.sum(x, -1));
  },

  softmax({ rows, cols }) {
    const x = made(operands()(rows, cols), [rows, cols]);
    return kernel(() => tf.softmax(x, -1));
  },

  layer_norm({ rows, cols }) {
    const operand = operands();
    const x = made(operand(rows, cols), [rows, cols]);
    const [weight, bias] = [made(operand(cols), [cols]), made(operand(cols), [cols])];
    return kernel(() => {
      const { mean, variance } = tf.moments(x, -1, true);
      return tf.batchNorm2d(x, mean, variance, bias.reshape([1, cols]), weight.reshape([1, cols]), 1e-5);
    });
  },

  conv(sizes) {
    const made = convolution(sizes);
    return made.unsupported ? made : kernel(() => made.forward(made.x, made.filter), [FIRST]);
  },

  conv_grads(sizes) {
    const made = convolution(sizes);
    if (made.unsupported) {
      return made;
    }
    const [both, g] = [tf.valueAndGrads(made.forward), made.upstream()];
    return kernel(() => {
      const { value, grads } = both([made.x, made.filter], g);
      return [value, ...grads];
    }, [FIRST, FIRST, made.back]);
  },

  pool(sizes) {
    const { x, forward } = pooling(sizes);
    return kernel(() => forward(x), [FIRST]);
  },

  pool_grad(sizes) {
    const { x, forward, upstream } = pooling(sizes);
    const [both, g] = [tf.valueAndGrad(forward), upstream()];
    return kernel(() => {
      const { value, grad } = both(x, g);
      return [value, grad];
    }, [FIRST, FIRST]);
  },

  embedding({ vocab, dim, n }) {
    const table = made(operands()(vocab, dim), [vocab, dim]);
    const text = tf.tensor1d(tokens(n, vocab), "int32");
    return kernel(() => tf.gather(table, text));
  },

  embedding_grad({ vocab, dim, n }) {
    const operand = operands();
    const table = made(operand(vocab, dim), [vocab, dim]);
    const g = made(operand(n, dim), [n, dim]);
    const text = tf.tensor1d(tokens(n, vocab), "int32");
    const both = tf.valueAndGrad((t) => tf.gather(t, text));
    return kernel(() => {
      const { value, grad } = both(table, g);
      return [value, grad];
    });
  },

  attention({ b, heads, t, d }) {
    const operand = operands();
    const shape = [b, heads, t, d];
    const [q, k, v] = [0, 1, 2].map(() => made(operand(...shape), shape));
    return kernel(() =>
      tf.matMul(tf.softmax(tf.matMul(q, k, false, true).mul(1 / Math.sqrt(d))), v),
    );
  },

  adam({ tensors, size }) {
    const started = () => {
      const operand = operands();
      const all = Array.from({ length: tensors }, () =>
        hold(tf.variable(made(operand(size), [size]))),
      );
      const grads = all.map(({ name }) => ({ name, tensor: made(operand(size), [size]) }));
      const update = hold(tf.train.adam(...ADAM));
      return { first: all[0], last: all[tensors - 1], step: () => update.applyGradients(grads) };
    };
    const { last, step } = started();
    return {
      ...kernel(() => last),
      run() {
        step();
        return last;
      },
      free() {},
      check() {
        const [fresh, release] = holding(started);
        fresh.step();
        fresh.step();
        const arrays = [given(fresh.first), given(fresh.last)];
        release();
        return arrays;
      },
    };
  },

  readback({ n }) {
    const x = made(operands()(n), [n]);
    return reading(() => x.mul(2));
  },

  start_up: () => reading(() => tf.matMul(tf.ones([8, 8]), tf.ones([8, 8]))),
  infer: (sizes) => reading(infer(sizes)),
  train,
  first_step: train,
};

/** What worker.js asks for. */
export function build(op, sizes) {
  const [workload, close] = holding(() => cases[op](sizes));
  return { ...workload, close };
}
