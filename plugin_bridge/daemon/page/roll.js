// The piano roll: what both parts played in the last seconds and what the partner plans, past on the left, now
// at a line, the plan on its right. Drawn for every frame of the screen while the page is seen.

const PAST = 8, AHEAD = 2, LOWEST = 21, HIGHEST = 108;

export class Roll {
  constructor(canvas, chordOutput) {
    this.canvas = canvas;
    this.chordOutput = chordOutput;
    this.notes = [];               // {part, pitch, velocity, from, to}: to is null while it sounds
    this.sounding = [new Map(), new Map()];
    this.plan = []; this.chords = []; this.beats = []; this.ahead = [];
    this.offset = null;            // the daemon's clock minus this page's, seconds
    this.range = [48, 84];
    this.drawn = 0;
    const watch = new ResizeObserver(() => this.resize());
    watch.observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.colours = null; });
    const loop = () => { this.draw(); requestAnimationFrame(loop); };
    requestAnimationFrame(loop);
  }

  forget() {
    this.notes = []; this.sounding = [new Map(), new Map()];
    this.plan = []; this.chords = []; this.beats = []; this.ahead = []; this.offset = null;
  }

  // What has come from the daemon. Its clock is followed by the least delayed frame, slowly let go.
  take(frame) {
    const here = performance.now() / 1000, offset = frame.time - here;
    this.offset = this.offset === null || offset > this.offset ? offset : this.offset - 0.0002;
    for (const [time, kind, part, pitch, velocity] of frame.events ?? []) {
      const held = this.sounding[part];
      if (kind === "on") {
        if (held.has(pitch)) held.get(pitch).to = time;
        const note = { part, pitch, velocity, from: time, to: null };
        held.set(pitch, note);
        this.notes.push(note);
      } else if (kind === "off" && held.has(pitch)) {
        held.get(pitch).to = time;
        held.delete(pitch);
      }
    }
    if (frame.plan) this.plan = spans(frame.plan);
    if (frame.chords) this.chords.push(...frame.chords);
    if (frame.beats) this.beats.push(...frame.beats);
    this.ahead = frame.ahead ?? [];
    const oldest = frame.time - PAST - 1;
    while (this.notes.length && this.notes[0].to !== null && this.notes[0].to < oldest) this.notes.shift();
    if (this.notes.length > 3000) this.notes.splice(0, this.notes.length - 3000);
    while (this.beats.length && this.beats[0][0] < oldest) this.beats.shift();
    while (this.chords.length > 1 && this.chords[1][0] < oldest) this.chords.shift();
  }

  resize() {
    const scale = devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * scale));
    this.canvas.height = Math.max(1, Math.round(box.height * scale));
    this.scale = scale;
  }

  draw() {
    const { canvas } = this, context = canvas.getContext("2d");
    if (!this.scale) this.resize();
    if (!this.colours) {
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(`--${name}`).trim();
      this.colours = Object.fromEntries(["card", "key", "line", "soft", "text", "player", "partner"].map((n) => [n, colour(n)]));
    }
    const { colours, scale } = this, width = canvas.width / scale, height = canvas.height / scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = colours.card;
    context.fillRect(0, 0, width, height);
    const now = this.offset === null ? 0 : performance.now() / 1000 + this.offset;
    const top = 22, x = (time) => ((time - now + PAST) / (PAST + AHEAD)) * width;
    this.follow();
    const [low, high] = this.range, row = (height - top) / (high - low + 1), y = (pitch) => top + (high - pitch) * row;
    context.fillStyle = colours.key;
    for (let pitch = low; pitch <= high; pitch++) if ([1, 3, 6, 8, 10].includes(pitch % 12)) context.fillRect(0, y(pitch), width, row);
    for (const [time, bar] of [...this.beats, ...this.ahead]) {
      context.fillStyle = bar === 1 ? colours.soft : colours.line;
      context.fillRect(Math.round(x(time)), bar === 1 ? 0 : top, 1, height);
    }
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    let last = "";
    for (const [index, [time, name]] of this.chords.entries()) {
      if (time <= now) last = name;
      const next = this.chords[index + 1]?.[0] ?? Infinity;
      if (next < now - PAST) continue;
      context.fillStyle = colours.text;
      context.globalAlpha = time <= now ? 1 : 0.5;
      context.fillText(name || "·", Math.max(x(time), 0) + 4, 11);
    }
    context.globalAlpha = 1;
    if (this.chordOutput.value !== last) this.chordOutput.value = last;
    const rect = (from, to, pitch, colour, alpha) => {
      context.globalAlpha = alpha;
      context.fillStyle = colour;
      context.fillRect(x(from), y(pitch) + 0.5, Math.max(x(to) - x(from), 2), Math.max(row - 1, 1.5));
    };
    for (const note of this.plan) if (note.to > now) rect(Math.max(note.from, now), note.to, note.pitch, colours.partner, 0.4);
    for (const note of this.notes) {
      const colour = note.part === 0 ? colours.player : colours.partner;
      rect(note.from, note.to ?? now, note.pitch, colour, 0.45 + 0.55 * (note.velocity / 127));
    }
    context.globalAlpha = 1;
    context.fillStyle = colours.text;
    context.fillRect(Math.round(x(now)), 0, 1.5, height);
    this.drawn += 1;
  }

  // The pitches that are shown: those that were played lately, moved to gently.
  follow() {
    let low = 60, high = 72;
    for (const note of [...this.notes, ...this.plan]) { low = Math.min(low, note.pitch); high = Math.max(high, note.pitch); }
    const wanted = [Math.max(LOWEST, low - 3), Math.min(HIGHEST, high + 3)];
    this.range = [Math.min(wanted[0], this.range[0] + 1), Math.max(wanted[1], this.range[1] - 1)].map(Math.round);
  }
}

function spans(rows) {
  const open = new Map(), found = [];
  for (const [time, kind, part, pitch, velocity] of rows) {
    if (kind === "on") {
      const note = { part, pitch, velocity, from: time, to: time + 0.3 };
      open.set(pitch, note);
      found.push(note);
    } else if (kind === "off" && open.has(pitch)) open.get(pitch).to = time;
  }
  return found;
}
