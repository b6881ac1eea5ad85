// @ts-check
// Links that hold a script: in the fragment, which no server sees, deflated and in base64url.

const KEY = "script=";
const MAX_LINK = 24_000; // characters of the fragment; longer ones get cut on their way
const MAX_SCRIPT = 200_000; // bytes; a few characters of a fragment can stand for gigabytes

/** @param {string} script @returns {Promise<string>} the fragment, without its # */
export async function encode(script) {
  const bytes = await collect(stream(new TextEncoder().encode(script), CompressionStream), Infinity);
  let text = "";
  for (const byte of bytes) {
    text += String.fromCharCode(byte);
  }
  const fragment = KEY + btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (fragment.length > MAX_LINK) {
    throw new Error(
      `the script is too long for a link: ${fragment.length} characters compressed, of at most ${MAX_LINK}`,
    );
  }
  return fragment;
}

/**
 * @param {string} fragment without its #
 * @returns {Promise<string | null>} the script; null if the fragment is about something else
 */
export async function decode(fragment) {
  if (!fragment.startsWith(KEY)) {
    return null;
  }
  if (fragment.length > MAX_LINK) {
    throw new Error("this link is too long to hold a script");
  }
  try {
    const text = atob(fragment.slice(KEY.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    const script = await collect(stream(bytes, DecompressionStream), MAX_SCRIPT);
    return new TextDecoder("utf-8", { fatal: true }).decode(script);
  } catch {
    throw new Error("this link holds no readable script: it may have been cut");
  }
}

function stream(bytes, Transform) {
  return new Blob([bytes]).stream().pipeThrough(new Transform("deflate-raw"));
}

/** Read a stream to its end, or give it up where it is longer than it may be. */
async function collect(readable, most) {
  const pieces = [];
  let size = 0;
  for (const reader = readable.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new Error("too long");
    }
    pieces.push(value);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
