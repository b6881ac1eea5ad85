// @ts-check
// TensorFlow.js: the networks of bench/cases/models.py, and their training and inference.
import * as tf from "../npm/tfjs/tf.js";
import { fill, oneHot, tokens, weights } from "./inputs.js";

export const ADAM = [0.001, 0.9, 0.999, 1e-8]; // learning rate, betas and epsilon, as PyTorch's
const DECAY = 0.01; // of AdamW

/** A tensor's numbers. In a worker nothing else waits, so that this is right and quicker than data(), which
 * looks only now and then whether they are there. */
export const read = (tensor) => tensor.dataSync();

/** @type {{dispose: () => void}[]} */
let held = [];

/** Remember something that `holding` is to dispose of. */
export function hold(thing) {
  held.push(thing);
  return thing;
}

/** What a function gives, and a function that disposes of what it held. */
export function holding(make) {
  const mine = (held = []);
  const value = make();
  return [value, () => mine.forEach((thing) => thing.dispose())];
}

// -- layers: each makes its variables, and is a function of a tensor and whether it is training ------

/** A variable of PyTorch's numbers, with its dims in another order if one is given. */
function variable(values, shape, order = null, trainable = true) {
  return hold(
    tf.tidy(() => {
      const tensor = tf.tensor(values, shape);
      return tf.variable(order ? tf.transpose(tensor, order) : tensor, trainable);
    }),
  );
}

const zeros = (n, trainable = true) => variable(new Float32Array(n), [n], null, trainable);
const ones = (n, trainable = true) => variable(new Float32Array(n).fill(1), [n], null, trainable);

// Fused kernels are for inference: their gradients are computed for all operands, of the batch too, which
// nobody asked for, and with an activation there are none.

/** Rows times a weight plus bias. `picture`: [channels, side] of what was flattened, channels last. */
function dense({ weight }, inner, outer, { relu = false, picture = null } = {}) {
  const values = weight(outer, inner);
  const w = picture
    ? fromPicture(values, outer, ...picture)
    : variable(values, [outer, inner], [1, 0]);
  const bias = zeros(outer);
  return (a, training) => {
    if (!training) {
      return tf.fused.matMul({ a, b: w, bias, activation: relu ? "relu" : "linear" });
    }
    const y = tf.matMul(a, w).add(bias);
    return relu ? tf.relu(y) : y;
  };
}

function fromPicture(values, outer, channels, side) {
  const last = tf.tidy(() =>
    tf.transpose(tf.tensor(values, [outer, channels, side, side]), [2, 3, 1, 0])
      .reshape([side * side * channels, outer]),
  );
  const found = hold(tf.variable(last));
  last.dispose();
  return found;
}

function conv({ weight }, inner, outer, k, { stride = 1, pad = 0, bias = true, relu = false } = {}) {
  const filter = variable(weight(outer, inner, k, k), [outer, inner, k, k], [2, 3, 1, 0]);
  if (!bias) {
    return (x) => tf.conv2d(x, filter, stride, pad);
  }
  const b = zeros(outer);
  return (x, training) => {
    if (!training) {
      const activation = relu ? "relu" : "linear";
      return tf.fused.conv2d({ x, filter, strides: stride, pad, bias: b, activation });
    }
    const y = tf.conv2d(x, filter, stride, pad).add(b);
    return relu ? tf.relu(y) : y;
  };
}

const pool = (x) => tf.maxPool(x, 2, 2, "valid");
const flatten = (x) => tf.reshape(x, [x.shape[0], -1]);

/** Of the last dim of pictures; running statistics as in PyTorch, whose variance is the unbiased one. */
function batchNorm(channels) {
  const [scale, offset] = [ones(channels), zeros(channels)];
  const [runningMean, runningVariance] = [zeros(channels, false), ones(channels, false)];
  return (x, training) => {
    if (!training) {
      return tf.batchNorm(x, runningMean, runningVariance, offset, scale, 1e-5);
    }
    const { mean, variance } = tf.moments(x, [0, 1, 2]);
    const count = x.size / channels;
    runningMean.assign(runningMean.mul(0.9).add(mean.mul(0.1)));
    runningVariance.assign(
      runningVariance.mul(0.9).add(variance.mul((0.1 * count) / (count - 1))),
    );
    return tf.batchNorm(x, mean, variance, offset, scale, 1e-5);
  };
}

function layerNorm(width) {
  const [scale, offset] = [ones(width), zeros(width)];
  return (x) => {
    const { mean, variance } = tf.moments(x, -1, true);
    return x.sub(mean).mul(tf.rsqrt(variance.add(1e-5))).mul(scale).add(offset);
  };
}

function embedding({ embedding: values }, vocabulary, width) {
  const table = variable(values(vocabulary, width), [vocabulary, width]);
  return (text) => tf.gather(table, text);
}

const gelu = (x) => x.mul(0.5).mul(tf.erf(x.mul(Math.SQRT1_2)).add(1));
const sequence = (...layers) => (x, training) => layers.reduce((y, layer) => layer(y, training), x);

// -- networks: an input, the count of rows and of classes of the result, and the function --------------

function pictures(batch, channels, side) {
  const shape = [batch, channels, side, side];
  return hold(tf.tidy(() => tf.transpose(tf.tensor(fill(shape, 1), shape), [0, 2, 3, 1])));
}

const VOCABULARY = 65;
const text = (batch, context) =>
  hold(tf.tensor(tokens(batch * context, VOCABULARY), [batch, context], "int32"));

const networks = {
  mlp(batch) {
    const from = weights();
    const net = sequence(
      dense(from, 784, 256, { relu: true }),
      dense(from, 256, 128, { relu: true }),
      dense(from, 128, 10),
    );
    return { x: hold(tf.tensor(fill([batch, 784], 1), [batch, 784])), rows: batch, count: 10, net };
  },

  cnn(batch) {
    const from = weights();
    const net = sequence(
      conv(from, 1, 16, 3, { pad: 1, relu: true }),
      pool,
      conv(from, 16, 32, 3, { pad: 1, relu: true }),
      pool,
      flatten,
      dense(from, 32 * 7 * 7, 10, { picture: [32, 7] }),
    );
    return { x: pictures(batch, 1, 28), rows: batch, count: 10, net };
  },

  lenet(batch) {
    const from = weights();
    const net = sequence(
      conv(from, 1, 6, 5, { pad: 2, relu: true }),
      pool,
      conv(from, 6, 16, 5, { relu: true }),
      pool,
      flatten,
      dense(from, 400, 120, { relu: true, picture: [16, 5] }),
      dense(from, 120, 84, { relu: true }),
      dense(from, 84, 10),
    );
    return { x: pictures(batch, 1, 28), rows: batch, count: 10, net };
  },

  resnet8(batch) {
    const from = weights();
    const block = (inner, outer) => {
      const stride = outer / inner;
      const conv1 = conv(from, inner, outer, 3, { stride, pad: 1, bias: false });
      const norm1 = batchNorm(outer);
      const conv2 = conv(from, outer, outer, 3, { pad: 1, bias: false });
      const norm2 = batchNorm(outer);
      const shortcut =
        stride > 1
          ? sequence(conv(from, inner, outer, 1, { stride, bias: false }), batchNorm(outer))
          : (x) => x;
      const first = sequence(conv1, norm1, tf.relu, conv2, norm2);
      return (x, training) => tf.relu(first(x, training).add(shortcut(x, training)));
    };
    const net = sequence(
      conv(from, 3, 16, 3, { pad: 1, bias: false }),
      batchNorm(16),
      tf.relu,
      block(16, 16),
      block(16, 32),
      block(32, 64),
      (x) => tf.mean(x, [1, 2]),
      dense(from, 64, 10),
    );
    return { x: pictures(batch, 3, 32), rows: batch, count: 10, net };
  },

  char_gpt(batch) {
    const [width, heads, context, depth] = [128, 4, 64, 4];
    const from = weights();
    const letters = embedding(from, VOCABULARY, width);
    const places = embedding(from, context, width);
    const here = hold(tf.range(0, context, 1, "int32"));
    const mask = hold(
      tf.tidy(() => tf.linalg.bandPart(tf.ones([context, context]), -1, 0).sub(1).mul(1e9)),
    );
    const block = () => {
      const [norm1, norm2] = [layerNorm(width), layerNorm(width)];
      const qkv = dense(from, width, 3 * width);
      const out = dense(from, width, width);
      const inner = sequence(dense(from, width, 4 * width), gelu, dense(from, 4 * width, width));
      const attend = (x, training) => {
        const [q, k, v] = tf.split(qkv(norm1(x), training), 3, -1).map((part) =>
          tf.transpose(part.reshape([batch, context, heads, width / heads]), [0, 2, 1, 3]),
        );
        const scores = tf.matMul(q, k, false, true).mul(1 / Math.sqrt(width / heads)).add(mask);
        const y = tf.matMul(tf.softmax(scores), v);
        return out(tf.transpose(y, [0, 2, 1, 3]).reshape([batch * context, width]), training);
      };
      return (x, training) => {
        const y = x.add(attend(x, training));
        return y.add(inner(norm2(y), training));
      };
    };
    const blocks = sequence(...Array.from({ length: depth }, block));
    const head = sequence(layerNorm(width), dense(from, width, VOCABULARY));
    const net = (x, training) => {
      const y = letters(x).add(places(here)).reshape([batch * context, width]);
      return head(blocks(y, training), training);
    };
    const rows = batch * context;
    return { x: text(batch, context), rows, count: VOCABULARY, net, shape: [batch, context, -1] };
  },

  lstm(batch) {
    const [width, context] = [128, 32];
    const from = weights();
    const letters = embedding(from, VOCABULARY, width);
    const gates = dense(from, width, 4 * width);
    const again = dense(from, width, 4 * width);
    const head = dense(from, width, VOCABULARY);
    const nothing = hold(tf.zeros([batch, width]));
    const net = (x, training) => {
      const inputs = gates(letters(x).reshape([batch * context, width]), training);
      const steps = tf.unstack(inputs.reshape([batch, context, 4 * width]), 1);
      let [h, c] = [nothing, nothing];
      const seen = steps.map((step) => {
        const [i, f, g, o] = tf.split(step.add(again(h, training)), 4, -1);
        c = tf.sigmoid(f).mul(c).add(tf.sigmoid(i).mul(tf.tanh(g)));
        h = tf.sigmoid(o).mul(tf.tanh(c));
        return h;
      });
      return head(tf.stack(seen, 1).reshape([batch * context, width]), training);
    };
    const rows = batch * context;
    return { x: text(batch, context), rows, count: VOCABULARY, net, shape: [batch, context, -1] };
  },
};

const optimizers = {
  sgd: () => tf.train.sgd(0.01),
  adam: () => tf.train.adam(...ADAM),
  adamw: () => tf.train.adam(...ADAM),
};

/** A function that makes a step on one batch and gives its loss as a tensor. */
function trainer({ model, optimizer, batch }) {
  const before = new Set(held);
  const { x, rows, count, net } = networks[model](batch);
  const trained = held.filter((t) => !before.has(t) && t instanceof tf.Variable && t.trainable);
  const targets = hold(tf.tensor(oneHot(rows, count), [rows, count]));
  const update = hold(optimizers[optimizer]());
  const loss = () => tf.losses.softmaxCrossEntropy(targets, net(x, true));
  if (optimizer !== "adamw") {
    return () => update.minimize(loss, true, trained);
  }
  const rest = 1 - 0.001 * DECAY;
  return () =>
    tf.tidy(() => {
      const { value, grads } = update.computeGradients(loss, trained);
      for (const variable of trained) {
        variable.assign(variable.mul(rest));
      }
      update.applyGradients(grads);
      return value;
    });
}

/** The workload of training steps. */
export function train(sizes) {
  const stepped = (step) => {
    const loss = step();
    const [value] = read(loss);
    loss.dispose();
    return value;
  };
  const step = trainer(sizes);
  return {
    run: () => stepped(step),
    read() {},
    free() {},
    check() {
      const [fresh, release] = holding(() => trainer(sizes));
      const losses = [stepped(fresh), stepped(fresh), stepped(fresh)];
      release();
      return [{ shape: [3], values: Float32Array.from(losses) }];
    },
  };
}

/** A function that gives a network's result. */
export function infer({ model, batch }) {
  const { x, net, shape } = networks[model](batch);
  return () => {
    const y = net(x, false);
    return shape ? y.reshape(shape) : y;
  };
}
