// @ts-check
// jax-js: the networks of bench/cases/models.py, and their training and inference. A training step is one
// compiled function of parameters, running statistics and what the optimizer remembers.
//
// Long sums go in two steps: its kernels make each of a texel's four sums in one loop, and Mesa's llvmpipe
// ends the loops of a fragment after 65,535 iterations in all. Sums in gradients of convolutions cannot be
// helped: there jax-js is wrong on llvmpipe, and right on other renderers.
import { jit, lax, nn, numpy as np, tree, valueAndGrad } from "../npm/jax/index.js";
import { fill, oneHot, tokens, weights } from "./inputs.js";

export const made = (values, shape) => np.array(values, { shape });

/** An array with all its numbers, which is given up. */
export function given(array) {
  const { shape } = array;
  return { shape, values: array.dataSync() };
}

export const convolved = (stride, pad, groups = 1) => (x, w) =>
  lax.convGeneralDilated(x, w, [stride, stride], [[pad, pad], [pad, pad]], {
    featureGroupCount: groups,
  });
export const pooled = (k) => (x) =>
  lax.reduceWindow(x, (window) => np.max(window), [k, k], [k, k]);

// -- layers: functions of (at, x), where `at` is {params, stats, training} -----------------------------

const relu = (at, x) => nn.relu(x);
const gelu = (at, x) => nn.gelu(x, { approximate: false });
const pool = (at, x) => pooled(2)(x);
const flatten = (at, x) => x.reshape([x.shape[0], -1]);
const sequence = (...layers) => (at, x) => layers.reduce((y, layer) => layer(at, y), x);

/** What makes layers, and lists their `params` and running `stats` in the order of their making. */
function factory() {
  const { weight, embedding } = weights();
  const params = [];
  const stats = [];
  const add = (list, array) => list.push(array) - 1;
  const zeros = (...shape) => add(params, np.zeros(shape));
  const ones = (...shape) => add(params, np.ones(shape));
  return {
    params,
    stats,

    dense(inner, outer) {
      const [w, b] = [add(params, made(weight(outer, inner), [outer, inner])), zeros(outer)];
      return ({ params: p }, x) => np.matmul(x, np.transpose(p[w].ref)).add(p[b].ref);
    },

    conv(inner, outer, k, { stride = 1, pad = 0, bias = true } = {}) {
      const shape = [outer, inner, k, k];
      const w = add(params, made(weight(...shape), shape));
      const b = bias ? zeros(outer, 1, 1) : null;
      return ({ params: p }, x) => {
        const y = convolved(stride, pad)(x, p[w].ref);
        return b === null ? y : y.add(p[b].ref);
      };
    },

    /** Of channels; in training it replaces its running statistics, whose variance is the unbiased one. */
    batchNorm(channels) {
      const [scale, offset] = [ones(channels, 1, 1), zeros(channels, 1, 1)];
      const [m, v] = [add(stats, np.zeros([channels, 1, 1])), add(stats, np.ones([channels, 1, 1]))];
      return ({ params: p, stats: s, training }, x) => {
        const scaled = (centred, variance) =>
          centred.div(np.sqrt(variance.add(1e-5))).mul(p[scale].ref).add(p[offset].ref);
        if (!training) {
          return scaled(x.sub(s[m].ref), s[v].ref);
        }
        const mean = (y) => y.mean([2, 3]).mean(0).reshape([channels, 1, 1]);
        const count = x.size / channels;
        const middle = mean(x.ref);
        const centred = x.sub(middle.ref);
        const variance = mean(np.square(centred.ref));
        const kept = (old, now) =>
          old.mul(0.9).add(lax.stopGradient(now).mul(0.1));
        s[m] = kept(s[m], middle);
        s[v] = kept(s[v], variance.ref.mul(count / (count - 1)));
        return scaled(centred, variance);
      };
    },

    layerNorm(width) {
      const [scale, offset] = [ones(width), zeros(width)];
      return ({ params: p }, x) =>
        nn.standardize(x, -1, { epsilon: 1e-5 }).mul(p[scale].ref).add(p[offset].ref);
    },

    /** A product with one-hot rows in training: the gradient of `take` would scatter, which jax-js cannot
     * on WebGL. */
    embedding(vocabulary, width) {
      const table = add(params, made(embedding(vocabulary, width), [vocabulary, width]));
      return ({ params: p, training }, text) =>
        training
          ? np.matmul(nn.oneHot(text, vocabulary), p[table].ref)
          : np.take(p[table].ref, text, 0);
    },
  };
}

// -- networks: {x, rows, count, params, stats, net}: an input, the rows and classes of the result, and a
// function of (at, x); `shape`: of the result, if it is not (rows, count) --------------------------------

const VOCABULARY = 65;

const pictures = (...shape) => ({ x: made(fill(shape, 1), shape), rows: shape[0], count: 10 });

const text = (batch, context) => ({
  x: np.array(tokens(batch * context, VOCABULARY)).reshape([batch, context]),
  rows: batch * context,
  count: VOCABULARY,
  shape: [batch, context, VOCABULARY],
});

const networks = {
  mlp(batch) {
    const { dense, ...rest } = factory();
    const net = sequence(dense(784, 256), relu, dense(256, 128), relu, dense(128, 10));
    return { ...pictures(batch, 784), ...rest, net };
  },

  cnn(batch) {
    const { conv, dense, ...rest } = factory();
    const net = sequence(
      conv(1, 16, 3, { pad: 1 }),
      relu,
      pool,
      conv(16, 32, 3, { pad: 1 }),
      relu,
      pool,
      flatten,
      dense(32 * 7 * 7, 10),
    );
    return { ...pictures(batch, 1, 28, 28), ...rest, net };
  },

  lenet(batch) {
    const { conv, dense, ...rest } = factory();
    const net = sequence(
      conv(1, 6, 5, { pad: 2 }),
      relu,
      pool,
      conv(6, 16, 5),
      relu,
      pool,
      flatten,
      dense(400, 120),
      relu,
      dense(120, 84),
      relu,
      dense(84, 10),
    );
    return { ...pictures(batch, 1, 28, 28), ...rest, net };
  },

  resnet8(batch) {
    const { conv, batchNorm, dense, ...rest } = factory();
    const normed = (inner, outer, k, stride, pad) =>
      sequence(conv(inner, outer, k, { stride, pad, bias: false }), batchNorm(outer));
    const block = (inner, outer) => {
      const stride = outer / inner;
      const first = normed(inner, outer, 3, stride, 1);
      const second = normed(outer, outer, 3, 1, 1);
      const shortcut = stride > 1 ? normed(inner, outer, 1, stride, 0) : (at, x) => x;
      return (at, x) => nn.relu(second(at, nn.relu(first(at, x.ref))).add(shortcut(at, x)));
    };
    const net = sequence(
      normed(3, 16, 3, 1, 1),
      relu,
      block(16, 16),
      block(16, 32),
      block(32, 64),
      (at, x) => x.mean([2, 3]),
      dense(64, 10),
    );
    return { ...pictures(batch, 3, 32, 32), ...rest, net };
  },

  char_gpt(batch) {
    const [width, heads, context, depth] = [128, 4, 64, 4];
    const { embedding, layerNorm, dense, ...rest } = factory();
    const letters = embedding(VOCABULARY, width);
    const places = embedding(context, width);
    const attention = () => {
      const [qkv, out] = [dense(width, 3 * width), dense(width, width)];
      return (at, x) => {
        const split = qkv(at, x).reshape([batch, context, 3, heads, width / heads]);
        const parts = np.split(split, 3, 2).map((p) => p.reshape([batch, context, heads, -1]));
        const y = nn.dotProductAttention(...parts, { isCausal: true });
        return out(at, y.reshape([batch * context, width]));
      };
    };
    const plus = (inner) => (at, x) => x.ref.add(inner(at, x));
    const block = () => {
      const [norm1, norm2, attend] = [layerNorm(width), layerNorm(width), attention()];
      const mlp = sequence(dense(width, 4 * width), gelu, dense(4 * width, width));
      return sequence(plus(sequence(norm1, attend)), plus(sequence(norm2, mlp)));
    };
    const blocks = sequence(...Array.from({ length: depth }, block));
    const head = sequence(layerNorm(width), dense(width, VOCABULARY));
    const net = (at, x) => {
      const y = letters(at, x).add(places(at, np.arange(context)));
      return head(at, blocks(at, y.reshape([batch * context, width])));
    };
    return { ...text(batch, context), ...rest, net };
  },

  lstm(batch) {
    const [width, context] = [128, 32];
    const { embedding, dense, ...rest } = factory();
    const letters = embedding(VOCABULARY, width);
    const [gates, again] = [dense(width, 4 * width), dense(width, 4 * width)];
    const head = dense(width, VOCABULARY);
    const net = (at, x) => {
      const inputs = gates(at, letters(at, x).reshape([batch * context, width]));
      const steps = np.split(inputs.reshape([batch, context, 4 * width]), context, 1);
      let [h, c] = [np.zeros([batch, width]), np.zeros([batch, width])];
      const seen = steps.map((step) => {
        const sum = step.reshape([batch, 4 * width]).add(again(at, h));
        const [i, f, g, o] = np.split(sum, 4, 1);
        c = nn.sigmoid(f).mul(c).add(nn.sigmoid(i).mul(np.tanh(g)));
        h = nn.sigmoid(o).mul(np.tanh(c.ref));
        return h.ref;
      });
      return head(at, np.stack(seen, 1).reshape([batch * context, width]));
    };
    return { ...text(batch, context), ...rest, net };
  },
};

// -- optimizers ------------------------------------------------------------------------------------------

const [RATE, BETA1, BETA2, EPSILON] = [0.001, 0.9, 0.999, 1e-8];
const DECAY = 0.01; // of AdamW

/** Adam's update of a parameter; `rates`: of the step, by Adam's corrections of both moments. */
function adam(p, g, m, v, rates) {
  const first = m.mul(BETA1).add(g.ref.mul(1 - BETA1));
  const second = v.mul(BETA2).add(np.square(g).mul(1 - BETA2));
  const root = np.sqrt(second.ref.mul(rates.ref.slice(1))).add(EPSILON);
  return [p.sub(first.ref.mul(rates.slice(0)).div(root)), first, second];
}

const zerosLike = (params) => params.map((p) => np.zeros(p.shape));

/** By name: from parameters, gradients and what is remembered to the next parameters and the same. */
export const optimizers = {
  sgd: (params, grads, state) => [params.map((p, k) => p.sub(grads[k].mul(0.01))), state],
  adam(params, grads, { m, v, rates }) {
    const next = params.map((p, k) => adam(p, grads[k], m[k], v[k], rates.ref));
    rates.dispose();
    const [all, first, second] = [0, 1, 2].map((part) => next.map((parts) => parts[part]));
    return [all, { m: first, v: second }];
  },
  adamw: (params, grads, state) =>
    optimizers.adam(params.map((p) => p.mul(1 - RATE * DECAY)), grads, state),
};

/** What an optimizer remembers at first, */
export const moments = (optimizer, params) =>
  optimizer === "sgd" ? {} : { m: zerosLike(params), v: zerosLike(params) };

/** and that with the rates of step t. */
export const rated = (optimizer, state, t) =>
  optimizer === "sgd"
    ? state
    : { ...state, rates: np.array([RATE / (1 - BETA1 ** t), 1 / (1 - BETA2 ** t)]) };

// -- workloads -------------------------------------------------------------------------------------------

/** Steps from a state `at`, which `end` gives back; what is checked begins anew. */
export const stepping = ({ at, begin, step, end, results, owned }) => ({
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

/** The workload of training steps, each of which is one compiled function. */
export function train({ model, optimizer, batch }) {
  const begin = () => {
    const network = networks[model](batch);
    return { ...network, state: moments(optimizer, network.params), t: 0 };
  };
  const at = begin();
  const { net, rows, count } = at;
  const target = made(oneHot(rows, count), [rows, count]);
  const lossOf = (params, given, x, y) => {
    const stats = [...given]; // of which the layers put others into their places
    const output = net({ params, stats, training: true }, x);
    return [nn.logSoftmax(output).mul(y).sum(-1).mean().mul(-1), stats];
  };
  const update = jit((params, stats, state, x, y) => {
    const gradient = valueAndGrad(lossOf, { hasAux: true });
    const [[loss, after], grads] = gradient(tree.ref(params), stats, x, y);
    return [loss, after, ...optimizers[optimizer](params, grads, state)];
  });
  const step = (from) => {
    const state = rated(optimizer, from.state, ++from.t);
    let loss;
    [loss, from.stats, from.params, from.state] = update(
      from.params, from.stats, state, from.x.ref, target.ref,
    );
    return loss.dataSync()[0];
  };
  const end = ({ x, params, stats, state }) => tree.dispose([x, params, stats, state]);
  const results = (fresh) => {
    const losses = [step(fresh), step(fresh), step(fresh)];
    return [{ shape: [3], values: Float32Array.from(losses) }];
  };
  return stepping({ at, begin, step, end, results, owned: [target, update] });
}

/** A network as a list of arrays, and the function of them that gives its result. */
export function infer({ model, batch }) {
  const { x, params, stats, net, shape } = networks[model](batch);
  const compute = (input, ...given) => {
    const at = { params: given.slice(0, params.length), stats: given.slice(params.length) };
    const y = net({ ...at, training: false }, input);
    return shape ? y.reshape(shape) : y;
  };
  return [[x, ...params, ...stats], compute];
}
