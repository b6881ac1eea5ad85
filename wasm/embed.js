import { TensorGL } from "./tensorgl.js";
const source = `
import numpy, tensorgl as tg
x, y = tg.tensor(numpy.loadtxt("points.csv", delimiter=","), dtype=tg.float32, device="gl").T
line = tg.nn.Linear(1, 1, device="gl")
optimizer = tg.optim.Adam(line.parameters(), lr=0.1)
for step in range(201):
    optimizer.zero_grad()
    loss = (line(x[:, None])[:, 0] - y).square().mean()
    loss.backward()
    optimizer.step()
    if step % 40 == 0: print(f"step {step}: loss {loss.item():.4f}")`;
const started = TensorGL.start();
const [points, train, log] = ["points", "train", "log"].map((id) => document.getElementById(id));
train.onclick = async () => {
  const tg = await started;
  log.replaceChildren();
  await tg.run(source, { data: { "points.csv": points.value }, onOutput: (text) => log.append(text) });
};
