// Takes, ports and the histogram. Text from the daemon is only ever put in as text.

export function button(text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function line(text, ...buttons) {
  const item = document.createElement("li"), name = document.createElement("span");
  name.textContent = text;
  item.append(name, ...buttons);
  return item;
}

export function showTakes(list, takes, acts) {
  list.replaceChildren(...takes.map(({ name }) => line(
    name,
    button("Play", `Play ${name}`, () => acts.play(name)),
    button("Save", `Save the MIDI file of ${name}`, () => acts.download(name)),
    button("To piano roll", `Put ${name} into FL Studio's piano roll menu`, () => acts.pianoRoll(name)),
  )));
  if (!takes.length) list.append(line("none yet"));
}

export function showPorts(list, { ports, waiting }, connect) {
  const focused = document.activeElement?.getAttribute("aria-label");
  const what = (port) => `${port.direction === "input" ? "from" : "to"} ${port.name}`;
  const items = ports.map((port) => {
    if (port.own) return line(`${port.name} (ours) — ${port.connected ? "there" : "not there"}`);
    const held = port.patterns.length > 0;
    return line(
      `${what(port)} — ${port.connected ? "connected" : "not connected"}`,
      held
        ? button("Disconnect", `Disconnect ${what(port)}`, () => connect(port.direction, port.patterns[0], false))
        : button("Connect", `Connect ${what(port)}`, () => connect(port.direction, port.pattern, true)),
    );
  });
  items.push(...waiting.map(({ direction, pattern }) => line(
    `${direction === "input" ? "from" : "to"} ${pattern} — waits until it is there`,
    button("Forget", `Forget ${pattern}`, () => connect(direction, pattern, false)),
  )));
  list.replaceChildren(...items);
  for (const each of list.querySelectorAll("button")) if (focused && each.getAttribute("aria-label") === focused) each.focus();
}

export function showLatency(canvas, text, process, metrics) {
  const spread = metrics?.report.reaction_ms;
  text.textContent = spread?.n
    ? `p50 ${spread.p50.toFixed(1)} ms · p95 ${spread.p95.toFixed(1)} ms · p99 ${spread.p99.toFixed(1)} ms (${spread.n})`
    : "not measured yet";
  if (metrics) {
    const { memory_bytes: memory, cpu_seconds: cpu, threads } = metrics.process;
    process.textContent = [memory && `${(memory / 1e6).toFixed(0)} MB`, `${cpu.toFixed(1)} s of processor time`, `${threads} threads`].filter(Boolean).join(" · ");
  }
  const { edges_ms: edges, counts } = metrics?.reaction ?? { edges_ms: [], counts: [] };
  const scale = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, box.width * scale);
  canvas.height = Math.max(1, box.height * scale);
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  context.scale(scale, scale);
  const most = Math.max(1, ...counts), step = box.width / Math.max(counts.length, 1);
  context.font = "10px system-ui, sans-serif";
  counts.forEach((count, index) => {
    const height = (count / most) * (box.height - 16);
    context.fillStyle = style.getPropertyValue("--partner");
    context.fillRect(index * step + 1, box.height - 14 - height, Math.max(step - 2, 1), height);
    if (index % 4 === 0 && index < counts.length - 1) {
      context.fillStyle = style.getPropertyValue("--soft");
      context.fillText(`${edges[index]}`, index * step, box.height - 3);
    }
  });
}
