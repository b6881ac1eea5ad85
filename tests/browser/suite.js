// @ts-check
// The page in whose worker the suite runs. It tells the tests' server what the worker prints.
import { TensorGL } from "/tensorgl.js";

let text = "";
let sent = Promise.resolve();

/** Send what there is; each piece after the one before it. */
function send() {
  const body = text;
  text = "";
  if (body) {
    sent = sent.then(async () => {
      await fetch("/suite/output", { method: "POST", body });
    });
  }
  return sent;
}

setInterval(send, 200);
try {
  const { script, argument, env } = await (await fetch("/suite/spec.json")).json();
  const tg = await TensorGL.start({ env });
  const { code } = await tg.run(script, {
    args: [argument],
    onOutput: (more) => (text += more),
  });
  text += `\x1e${JSON.stringify({ code })}\n`;
} catch (error) {
  text += `\x1e${JSON.stringify({ error: String(error?.stack ?? error) })}\n`;
}
await send();
