// @ts-check
// jax-js: the cases on its WebGL backend, as its guide says is quickest: everything in jit, training steps
// whole, with what is not used again handed over instead of shared (`.ref` is for what is kept).
//
// It starts work when something is read, and none of what nobody reads; so each call reads an element.
// It does so by dataSync: data() looks only every five milliseconds whether it is done.
import { defaultDevice, init, jit, nn, numpy as np, tree, vjp } from "../npm/jax/index.js";
import { operands, tokens } from "./inputs.js";
import {
  convolved, given, infer, made, moments, optimizers, pooled, rated, stepping, train,
} from "./jax_models.js";

const VERSION = "0.1.25"; // it does not tell; peers.json has it too

export async function start() {
  if (!(await init("webgl")).includes("webgl")) {
    throw new Error("jax-js has no WebGL backend in this browser");
  }
  defaultDevice("webgl");
  return { versions: { "jax-js": VERSION } };
}

/** The operands of a case: arrays of these shapes. */
function arrays(...shapes) {
  const operand = operands();
  return shapes.map((shape) => made(operand(...shape), shape));
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
      touch(Array.isArray(result) ? result.at(-1) : result);
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

/** A function's result and its gradients for a given one of the result. */
const withGradients = (compute) => (...inputs) => {
  const g = inputs.pop();
  const [y, back] = vjp(compute, inputs);
  const grads = back(g);
  back.dispose();
  return [y, ...grads];
};

const convShapes = ({ n, c, h, w, o, k, groups }) => [[n, c, h, w], [o, c / groups, k, k]];
const convResult = ({ n, h, w, o, k, stride, padding }) => {
  const out = (side) => Math.floor((side + 2 * padding - k) / stride) + 1;
  return [n, o, out(h), out(w)];
};

const cases = {
  small_add: ({ n }) => kernel(arrays([n], [n]), (a, b) => a.add(b)),
  matmul: ({ m, k, n }) => kernel(arrays([m, k], [k, n]), (a, b) => np.matmul(a, b)),
  copy: ({ n }) => kernel(arrays([n]), (x) => x.add(1)),
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

  embedding_grad: () => ({ unsupported: "its WebGL backend cannot scatter" }),

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
      return { params, grads: all.slice(tensors), state: moments("adam", params), t: 0 };
    };
    const step = (at) => {
      const state = rated("adam", at.state, ++at.t);
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
  infer: (sizes) => reading(...infer(sizes)),
};

/** What worker.js asks for. */
export const build = (op, sizes) => cases[op](sizes);
