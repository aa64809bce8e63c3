// Inputs made from the control table, and kept as the daemon has them.

export class Controls {
  // `set` is called with a control's name and value, `learn` with the name of the control whose knob is to be
  // learned (null: none), `forget` with that of the one whose knob is to be forgotten.
  constructor(place, modes, { set, learn, forget }) {
    this.place = place;
    this.modes = modes;
    this.set = set;
    this.learn = learn;
    this.forget = forget;
    this.learners = new Map();
    this.known = { knobs: [], learning: null };
    this.inputs = new Map();
    this.later = new Map();        // what is shown when the user has let go
    this.touched = new Map();      // when the user last touched it: what comes from the daemon waits a little
  }

  build(rows) {
    this.rows = new Map(rows.map((row) => [row.name, row]));
    this.place.replaceChildren();
    this.modes.replaceChildren();
    this.learners.clear();
    for (const row of rows) {
      if (row.name === "mode") this.radios(row);
      else this.place.append(row.kind === "trigger" ? this.trigger(row) : this.one(row));
    }
    this.showKnobs(this.known);
    this.show(Object.fromEntries(rows.map((row) => [row.name, row.value])));
  }

  show(values) {
    for (const [name, value] of Object.entries(values)) {
      const row = this.rows?.get(name);
      if (!row || value === null || row.kind === "trigger") continue;
      const still = 600 - (performance.now() - (this.touched.get(name) ?? -1e9));
      if (still > 0) {
        clearTimeout(this.later.get(name));
        this.later.set(name, setTimeout(() => this.show({ [name]: value }), still));
        continue;
      }
      if (name === "mode") {
        for (const radio of this.modes.querySelectorAll("input")) radio.checked = radio.value === row.choices[value];
        continue;
      }
      const { input, output } = this.inputs.get(name);
      if (row.kind === "switch") input.checked = value === 1;
      else if (row.kind === "choice") input.value = row.choices[value];
      else { input.value = value; output.value = format(value); }
    }
  }

  radios(row) {
    for (const choice of row.choices) {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "mode", value: choice });
      input.addEventListener("change", () => this.change(row, choice));
      label.append(input, ` ${choice}`);
      this.modes.append(label);
    }
    this.modes.append(this.learner(row));
  }

  trigger(row) {
    const box = document.createElement("div"), name = document.createElement("span"), hint = document.createElement("small");
    box.className = "control";
    name.textContent = row.name;
    hint.textContent = row.what;
    box.append(name, hint, this.learner(row));
    return box;
  }

  // The knob that was learned for a control, with the buttons to learn another one and to forget it.
  learner(row) {
    const box = document.createElement("span"), said = document.createElement("output");
    const learn = document.createElement("button"), forget = document.createElement("button");
    const name = row.name.replaceAll("_", " ");
    box.className = "learner";
    Object.assign(learn, { type: "button", id: `learn-${row.name}` });
    Object.assign(forget, { type: "button", id: `forget-${row.name}`, textContent: "Forget", ariaLabel: `Forget the knob for ${name}` });
    learn.addEventListener("click", () => this.learn(this.known.learning === row.name ? null : row.name));
    forget.addEventListener("click", () => { learn.focus(); this.forget(row.name); });
    box.append(learn, said, forget);
    this.learners.set(row.name, { name, learn, said, forget });
    return box;
  }

  showKnobs(known) {
    this.known = known;
    const knobs = new Map(known.knobs.map((knob) => [knob.control, knob]));
    for (const [control, { name, learn, said, forget }] of this.learners) {
      const knob = knobs.get(control), learning = known.learning === control;
      learn.textContent = learning ? "Cancel" : "Learn";
      learn.ariaLabel = learning ? `Cancel learning a knob for ${name}` : `Learn a knob for ${name}`;
      said.value = learning ? "turn a knob …" : knob ? `controller ${knob.number}, channel ${knob.channel}` : "";
      forget.hidden = learning || !knob;
    }
  }

  one(row) {
    const box = document.createElement("div"), label = document.createElement("label");
    const output = document.createElement("output"), hint = document.createElement("small");
    const input = document.createElement(row.kind === "choice" ? "select" : "input");
    box.className = "control";
    input.id = `control-${row.name}`;
    label.htmlFor = output.htmlFor = input.id;
    label.textContent = row.name.replaceAll("_", " ");
    hint.textContent = row.what + (row.unit ? ` (${row.unit})` : "");
    hint.id = `${input.id}-what`;
    input.setAttribute("aria-describedby", hint.id);
    if (row.kind === "switch") {
      input.type = "checkbox";
      input.addEventListener("change", () => this.change(row, input.checked));
      box.append(label, input, hint, this.learner(row));
    } else if (row.kind === "choice") {
      for (const choice of row.choices) input.append(new Option(choice.replaceAll("_", " "), choice));
      input.addEventListener("change", () => this.change(row, input.value));
      box.append(label, output, input, hint, this.learner(row));
    } else {
      const whole = row.kind === "whole number";
      Object.assign(input, { type: "range", min: row.low, max: row.high, step: whole ? 1 : (row.high - row.low) / 200 });
      input.addEventListener("input", () => { output.value = format(Number(input.value)); this.change(row, Number(input.value)); });
      input.addEventListener("dblclick", () => { input.value = row.default; input.dispatchEvent(new Event("input")); });
      box.append(label, output, input, hint, this.learner(row));
    }
    this.inputs.set(row.name, { input, output });
    return box;
  }

  // Sends the latest value only, one request at a time.
  async change(row, value) {
    this.touched.set(row.name, performance.now());
    const before = row.waiting;
    row.waiting = { value };
    if (before !== undefined) return;
    while (row.waiting !== undefined) {
      const next = row.waiting.value;
      await this.set(row.name, next);
      if (row.waiting?.value === next) row.waiting = undefined;
    }
  }
}

function format(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
