// Inputs made from the control table, and kept as the daemon has them.

export class Controls {
  constructor(place, modes, set) {
    this.place = place;
    this.modes = modes;
    this.set = set;
    this.inputs = new Map();
    this.later = new Map();        // what is shown when the user has let go
    this.touched = new Map();      // when the user last touched it: what comes from the daemon waits a little
  }

  build(rows) {
    this.rows = new Map(rows.map((row) => [row.name, row]));
    this.place.replaceChildren();
    this.modes.replaceChildren();
    for (const row of rows) {
      if (row.kind === "trigger") continue;
      if (row.name === "mode") this.radios(row);
      else this.place.append(this.one(row));
    }
    this.show(Object.fromEntries(rows.map((row) => [row.name, row.value])));
  }

  show(values) {
    for (const [name, value] of Object.entries(values)) {
      const row = this.rows?.get(name);
      if (!row || value === null) continue;
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
      box.append(label, input, hint);
    } else if (row.kind === "choice") {
      for (const choice of row.choices) input.append(new Option(choice.replaceAll("_", " "), choice));
      input.addEventListener("change", () => this.change(row, input.value));
      box.append(label, output, input, hint);
    } else {
      const whole = row.kind === "whole number";
      Object.assign(input, { type: "range", min: row.low, max: row.high, step: whole ? 1 : (row.high - row.low) / 200 });
      input.addEventListener("input", () => { output.value = format(Number(input.value)); this.change(row, Number(input.value)); });
      input.addEventListener("dblclick", () => { input.value = row.default; input.dispatchEvent(new Event("input")); });
      box.append(label, output, input, hint);
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
