// @ts-check
// What the tuner found for the GPUs of this browser: kept from visit to visit, given to each new Python.
import { memory } from "./memory.js";

const KEY = "tensorgl.tuning";
const SECONDS = 120;
const CASES = ["matmul-64x784x256", "matmul-256", "mlp-sgd", "cnn-sgd", "lenet-sgd", "conv-*"];

let unkept = ""; // what the browser would not keep

/** What was found so far; "" at first. */
export const known = () => unkept || memory.get(KEY) || "";

/**
 * Tune, for a while.
 *
 * @param {import("./tensorgl.js").TensorGL} tg
 * @param {import("./tensorgl.js").Handlers} handlers
 * @returns {Promise<{code: number, kept: boolean}>} kept: whether all that was found outlives the page
 */
export async function tune(tg, handlers) {
  let kept = true;
  const onTuned = (text) => {
    kept = memory.set(KEY, text);
    unkept = kept ? "" : text;
  };
  const { code } = await tg.tune({ seconds: SECONDS, cases: CASES, ...handlers, onTuned });
  return { code, kept };
}
