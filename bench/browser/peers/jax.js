// @ts-check
// jax-js: the cases on its WebGL backend, as its guide says is quickest: everything in jit, training steps
// whole, with what is not used again handed over instead of shared (`.ref` is for what is kept).
//
// It starts work when something is read, and none of what nobody reads; so each call reads an element.
// It does so by dataSync: data() looks only every five milliseconds whether it is done.
import { defaultDevice, init, jit, lax, nn, numpy as np, tree, valueAndGrad, vjp } from "../npm/jax/index.js";
import { fill, oneHot, operands, tokens, weights } from "./inputs.js";

const VERSION = "0.1.25"; // it does not tell; peers.json has it too
export const NAME = `jax-js ${VERSION}`;

export async function start() {
  if (!(await init("webgl")).includes("webgl")) {
    throw new Error("jax-js has no WebGL backend in this browser");
  }
  defaultDevice("webgl");
  return { versions: { "jax-js": VERSION } };
}

const made = (values, shape) => np.array(values, { shape });

/** The operands of a case: arrays of these shapes. */
function arrays(...shapes) {
  const operand = operands();
  return shapes.map((shape) => made(operand(...shape), shape));
}

/** An array with all its numbers, which is given up. */
function given(array) {
  const { shape } = array;
  return { shape, values: array.dataSync() };
}

/** Have an array computed, and all that its function gave with it. The first element would come with all
 * others: only the last is copied out. */
const touch = (array) => array.ref.slice(...array.shape.map(() => -1)).dataSync();

/** A workload whose call computes an array or several from inputs that are kept. */
function kernel(inputs, compute) {
  const compiled = jit(compute);
  const call = () => compiled(...inputs.map((input) => input.ref));
  return {
    call,
    run() {
      const result = call();
      touch(Array.isArray(result) ? result[0] : result);
      return result;
    },
    read() {},
    free: (result) => tree.dispose(result),
    check: () => [call()].flat().map(given),
    close() {
      tree.dispose(inputs);
      compiled.dispose();
    },
  };
}

/** The same, and everything is read. */
function reading(inputs, compute) {
  const { call, close } = kernel(inputs, compute);
  const run = () => given(call());
  return { run, read() {}, free() {}, check: () => [run()], close };
}

/** Steps from a state `at`, which `end` gives back; what is checked begins anew. */
const stepping = ({ at, begin, step, end, results, owned }) => ({
  run: () => step(at),
  read() {},
  free() {},
  check() {
    const fresh = begin();
    const arrays = results(fresh);
    end(fresh);
    return arrays;
  },
  close() {
    end(at);
    owned.forEach((each) => each.dispose());
  },
});

/** A function's result and its gradients for a given one of the result. */
const withGradients = (compute) => (...given) => {
  const g = given.pop();
  const [y, back] = vjp(compute, given);
  const grads = back(g);
  back.dispose();
  return [y, ...grads];
};

const convolved = (stride, pad, groups = 1) => (x, w) =>
  lax.convGeneralDilated(x, w, [stride, stride], [[pad, pad], [pad, pad]], {
    featureGroupCount: groups,
  });
const pooled = (k) => (x) => lax.reduceWindow(x, (window) => np.max(window), [k, k], [k, k]);

const convShapes = ({ n, c, h, w, o, k, groups }) => [[n, c, h, w], [o, c / groups, k, k]];
const convResult = ({ n, h, w, o, k, stride, padding }) => {
  const out = (side) => Math.floor((side + 2 * padding - k) / stride) + 1;
  return [n, o, out(h), out(w)];
};

const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8];

/** Adam's update of a parameter; `rates`: of the step, by Adam's corrections of both moments. */
function adam(p, g, m, v, rates) {
  const first = m.mul(BETA1).add(g.ref.mul(1 - BETA1));
  const second = v.mul(BETA2).add(np.square(g).mul(1 - BETA2));
  const root = np.sqrt(second.ref.mul(rates.ref.slice(1))).add(EPSILON);
  return [p.sub(first.ref.mul(rates.slice(0)).div(root)), first, second];
}

const zerosLike = (params) => params.map((p) => np.zeros(p.shape));

/** By name: from parameters, gradients and what is remembered to the next parameters and the same. */
const optimizers = {
  sgd: (params, grads, state) => [params.map((p, k) => p.sub(grads[k].mul(0.01))), state],
  adam(params, grads, { m, v, rates }) {
    const next = params.map((p, k) => adam(p, grads[k], m[k], v[k], rates.ref));
    rates.dispose();
    const [all, first, second] = [0, 1, 2].map((part) => next.map((parts) => parts[part]));
    return [all, { m: first, v: second }];
  },
};

/** What an optimizer remembers at first, */
const moments = {
  sgd: () => ({}),
  adam: (params) => ({ m: zerosLike(params), v: zerosLike(params) }),
};

/** and that with the rates of step t. */
const rated = {
  sgd: (state) => state,
  adam(state, t) {
    return { ...state, rates: np.array([0.001 / (1 - BETA1 ** t), 1 / (1 - BETA2 ** t)]) };
  },
};

const cases = {
  small_add: ({ n }) => kernel(arrays([n], [n]), (a, b) => a.add(b)),
  matmul: ({ m, k, n }) => kernel(arrays([m, k], [k, n]), (a, b) => np.matmul(a, b)),
  chain: ({ n }) =>
    kernel(arrays([n]), (x) => np.exp(nn.relu(x.ref.mul(2).add(1))).sub(3).mul(x)),
  broadcast: ({ rows, cols }) =>
    kernel(arrays([rows, cols], [rows, 1], [cols]), (x, scale, bias) => x.mul(scale).add(bias)),
  transpose: ({ rows, cols }) => kernel(arrays([rows, cols]), (x) => np.transpose(x)),
  sum: ({ rows, cols }) => kernel(arrays([rows, cols]), (x) => np.sum(x, -1)),
  softmax: ({ rows, cols }) => kernel(arrays([rows, cols]), (x) => nn.softmax(x, -1)),
  layer_norm: ({ rows, cols }) =>
    kernel(arrays([rows, cols], [cols], [cols]), (x, weight, bias) =>
      nn.standardize(x, -1, { epsilon: 1e-5 }).mul(weight).add(bias),
    ),
  conv: (sizes) =>
    kernel(arrays(...convShapes(sizes)), convolved(sizes.stride, sizes.padding, sizes.groups)),
  conv_grads: (sizes) =>
    kernel(
      arrays(...convShapes(sizes), convResult(sizes)),
      withGradients(convolved(sizes.stride, sizes.padding, sizes.groups)),
    ),
  pool: ({ n, c, h, w, k }) => kernel(arrays([n, c, h, w]), pooled(k)),
  pool_grad: ({ n, c, h, w, k }) =>
    kernel(
      arrays([n, c, h, w], [n, c, Math.floor(h / k), Math.floor(w / k)]),
      withGradients(pooled(k)),
    ),

  embedding({ vocab, dim, n }) {
    const text = np.array(tokens(n, vocab));
    return kernel([...arrays([vocab, dim]), text], (table, at) => np.take(table, at, 0));
  },

  // No embedding_grad: its WebGL backend cannot scatter.

  attention({ b, heads, t, d }) {
    const shape = [b, heads, t, d];
    const swapped = arrays(shape, shape, shape).map((x) => np.swapaxes(x, 1, 2));
    const workload = kernel(swapped, (q, k, v) => nn.dotProductAttention(q, k, v));
    return { ...workload, check: () => [given(np.swapaxes(workload.call(), 1, 2))] };
  },

  adam({ tensors, size }) {
    const update = jit(optimizers.adam);
    const begin = () => {
      const operand = operands();
      const next = () => made(operand(size), [size]);
      const all = Array.from({ length: 2 * tensors }, next);
      const params = all.slice(0, tensors);
      return { params, grads: all.slice(tensors), state: moments.adam(params), t: 0 };
    };
    const step = (at) => {
      const state = rated.adam(at.state, ++at.t);
      [at.params, at.state] = update(at.params, tree.ref(at.grads), state);
      touch(at.params[0]);
    };
    const end = ({ params, grads, state }) => tree.dispose([params, grads, state]);
    const results = (fresh) => {
      step(fresh);
      step(fresh);
      return [fresh.params[0], fresh.params[tensors - 1]].map((p) => given(p.ref));
    };
    return stepping({ at: begin(), begin, step, end, results, owned: [update] });
  },

  readback: ({ n }) => reading(arrays([n]), (x) => x.mul(2)),
  start_up: () => reading([], () => np.matmul(np.ones([8, 8]), np.ones([8, 8]))),
  train,
  first_step: train,
  infer({ model, batch }) {
    const { x, params, net } = networks[model]?.(batch) ?? {};
    return net && reading([x, ...params], (input, ...rest) => net(rest, input));
  },
};

// -- networks: the parameters as a list, and a function of such a list and an input --------------------

/** A network of layers {params, apply}. */
function sequence(...layers) {
  return {
    params: layers.flatMap((layer) => layer.params),
    net(params, x) {
      let at = 0;
      for (const layer of layers) {
        const end = at + layer.params.length;
        x = layer.apply(x, ...params.slice(at, end));
        at = end;
      }
      return x;
    },
  };
}

const dense = ({ weight }, inner, outer) => ({
  params: [made(weight(outer, inner), [outer, inner]), np.zeros([outer])],
  apply: (x, w, b) => np.matmul(x, np.transpose(w)).add(b),
});
const conv = ({ weight }, inner, outer, k, pad) => ({
  params: [made(weight(outer, inner, k, k), [outer, inner, k, k]), np.zeros([outer, 1, 1])],
  apply: (x, w, b) => convolved(1, pad)(x, w).add(b),
});
const relu = { params: [], apply: (x) => nn.relu(x) };
const pool = { params: [], apply: pooled(2) };
const flatten = { params: [], apply: (x) => x.reshape([x.shape[0], -1]) };

const networks = {
  mlp(batch) {
    const from = weights();
    const layers = [dense(from, 784, 256), relu, dense(from, 256, 128), relu, dense(from, 128, 10)];
    return { x: made(fill([batch, 784], 1), [batch, 784]), ...sequence(...layers) };
  },

  cnn(batch) {
    const from = weights();
    const first = [conv(from, 1, 16, 3, 1), relu, pool];
    const second = [conv(from, 16, 32, 3, 1), relu, pool];
    const head = [flatten, dense(from, 32 * 7 * 7, 10)];
    return { x: pictures(batch), ...sequence(...first, ...second, ...head) };
  },

  lenet(batch) {
    const from = weights();
    const first = [conv(from, 1, 6, 5, 2), relu, pool];
    const second = [conv(from, 6, 16, 5, 0), relu, pool];
    const third = [flatten, dense(from, 400, 120), relu];
    const head = [dense(from, 120, 84), relu, dense(from, 84, 10)];
    return { x: pictures(batch), ...sequence(...first, ...second, ...third, ...head) };
  },
};

const pictures = (batch) => made(fill([batch, 1, 28, 28], 1), [batch, 1, 28, 28]);

/** The workload of training steps, each of which is one compiled function. */
function train({ model, optimizer, batch }) {
  if (!(model in networks && optimizer in optimizers)) {
    return null;
  }
  const target = made(oneHot(batch, 10), [batch, 10]);
  const begin = () => {
    const network = networks[model](batch);
    return { ...network, state: moments[optimizer](network.params), t: 0 };
  };
  const at = begin();
  const lossOf = (params, x, y) => nn.logSoftmax(at.net(params, x)).mul(y).sum().mul(-1 / batch);
  const update = jit((params, state, x, y) => {
    const [loss, grads] = valueAndGrad(lossOf)(tree.ref(params), x, y);
    return [loss, ...optimizers[optimizer](params, grads, state)];
  });
  const step = (from) => {
    const state = rated[optimizer](from.state, ++from.t);
    let loss;
    [loss, from.params, from.state] = update(from.params, state, from.x.ref, target.ref);
    return loss.dataSync()[0];
  };
  const end = ({ x, params, state }) => tree.dispose([x, params, state]);
  const results = (fresh) => {
    const losses = [step(fresh), step(fresh), step(fresh)];
    return [{ shape: [3], values: Float32Array.from(losses) }];
  };
  return stepping({ at, begin, step, end, results, owned: [target, update] });
}

/** What worker.js asks for. */
export const build = (op, sizes) => cases[op]?.(sizes) ?? null;
