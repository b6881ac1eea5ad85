// @ts-check
// Numbers that are the same in every language; bench/cases/inputs.py has the same functions.

const product = (shape) => shape.reduce((a, b) => a * b, 1);

/** Numbers from -1 to 1; element i (row-major) depends on i and the seed alone. */
export function fill(shape, seed) {
  const values = new Float32Array(product(shape));
  const offset = (seed * 974711 + 12345) % 2 ** 32;
  for (let i = 0; i < values.length; i++) {
    let h = (Math.imul(i, 2654435761) + offset) >>> 0;
    h ^= h >>> 15;
    h = Math.imul(h, 2246822519);
    h ^= h >>> 13;
    values[i] = ((h >>> 0) / 2 ** 32) * 2 - 1;
  }
  return values;
}

/** The targets of n samples, of `count` classes. */
export const classes = (n, count) => Int32Array.from({ length: n }, (_, i) => (i * 7 + 3) % count);

/** The targets as rows with a single one. */
export function oneHot(n, count) {
  const values = new Float32Array(n * count);
  classes(n, count).forEach((target, i) => {
    values[i * count + target] = 1;
  });
  return values;
}

/** A text of n tokens. */
export const tokens = (n, vocabulary) =>
  Int32Array.from({ length: n }, (_, i) => (i * 31 + 7) % vocabulary);

/** A function that gives the next operand of a shape: seeds 1, 2, 3 … */
export function operands() {
  let seed = 0;
  return (...shape) => fill(shape, ++seed);
}

/** Functions that give a network's weights in the order of its layers, in PyTorch's shapes. */
export function weights() {
  let seed = 100;
  const scaled = (shape, scale) => fill(shape, seed++).map((value) => value * scale);
  return {
    weight: (...shape) => scaled(shape, Math.sqrt(1 / product(shape.slice(1)))),
    embedding: (...shape) => scaled(shape, 0.02),
  };
}
