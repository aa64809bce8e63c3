// Puts the page together: what comes from the daemon goes to the parts, what the user does goes to the daemon.

import { ask, follow, keepToken, takeToken } from "./api.js";
import { Controls } from "./controls.js";
import { showLatency, showPorts, showTakes } from "./panels.js";
import { Roll } from "./roll.js";

const at = (id) => document.getElementById(id);
const roll = new Roll(at("roll"), at("chord"));
const controls = new Controls(at("controls"), at("modes"), {
  set: (name, value) => act(() => ask("PUT", `/api/controls/${name}`, { value })),
  learn: (control) => act(() => ask("PUT", "/api/learning", { control })),
  forget: (name) => act(() => ask("DELETE", `/api/knobs/${name}`)),
});
let noteTimer;

function note(text) {
  at("note").textContent = text;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => { at("note").textContent = ""; }, 8000);
}

async function act(doing, done) {
  try {
    const answer = await doing();
    if (done) note(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    note(error.message);
    return undefined;
  }
}

async function takes() {
  const found = await act(() => ask("GET", "/api/takes"));
  if (found) showTakes(at("takes"), found.takes, { play, download, pianoRoll });
}

const takePath = (name, verb) => `/api/takes/${encodeURIComponent(name)}/${verb}`;
const play = (name) => act(() => ask("POST", takePath(name, "play")), `playing ${name}`);
const pianoRoll = (name) => act(() => ask("POST", takePath(name, "piano-roll")), "in the piano roll: Scripting menu > Plugin Bridge clip");

async function download(name) {
  await act(async () => {
    const headers = { Authorization: `Bearer ${sessionStorage.getItem("plugin-bridge-token")}` };
    const answer = await fetch(takePath(name, "midi"), { headers });
    if (!answer.ok) throw new Error("the take is not there any more");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${name}.mid`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

function connect(direction, pattern, wanted) {
  act(() => ask("PUT", "/api/connections", { direction, pattern, connect: wanted }), wanted ? `connected ${pattern}` : `disconnected ${pattern}`);
}

function panic() {
  act(() => ask("POST", "/api/panic"), "everything is off");
}

at("panic").addEventListener("click", panic);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") panic(); });
at("save").addEventListener("click", async () => { await act(() => ask("POST", "/api/takes"), ({ name }) => `saved ${name}`); takes(); });
at("stop").addEventListener("click", () => act(() => ask("POST", "/api/takes/stop")));
at("style-form").addEventListener("submit", (event) => {
  event.preventDefault();
  act(() => ask("PUT", "/api/style", { style: at("style").value }), ({ style }) => `in style ${style} from the next phrase on`);
});
at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(new FormData(event.target).get("token"));
  location.reload();
});

function showState(state) {
  const muted = state.mute ? ", muted" : "", tempo = state.host_tempo ? `, ${state.host_tempo.toFixed(1)} bpm` : "";
  at("state").textContent = `${state.duet} in style ${state.style}, ${state.mode}${muted}${tempo} · ${state.transport}`;
  const problems = [state.problem, ...state.problems].filter(Boolean);
  if (state.restart_needed.length) problems.push(`waits for a restart: ${state.restart_needed.join(", ")}`);
  at("problems").hidden = !problems.length;
  at("problems").textContent = problems.join(" · ");
  at("stop").disabled = !state.playing_take;
  if (document.activeElement !== at("style") && at("style").dataset.shown !== state.style) {
    at("style").value = at("style").dataset.shown = state.style;
  }
}

function onFrame(frame) {
  roll.take(frame);
  if (frame.state) showState(frame.state);
  if (frame.ports) showPorts(at("ports"), frame.ports, connect);
  if ("metrics" in frame) showLatency(at("histogram"), at("percentiles"), at("process"), frame.metrics);
  if (frame.values) controls.show(frame.values);
  if (frame.knobs) controls.showKnobs(frame.knobs);
}

async function onState(connected, unknown) {
  document.body.dataset.connected = connected;
  at("login").hidden = !unknown;
  if (!connected) {
    at("state").textContent = unknown ? "not allowed in" : "the daemon does not answer; trying again …";
    return;
  }
  roll.forget();
  const table = await act(() => ask("GET", "/api/controls"));
  if (table) controls.build(table.controls);
  const styles = await act(() => ask("GET", "/api/styles"));
  if (styles) at("styles").replaceChildren(...styles.styles.map((name) => new Option(name, name)));
  takes();
}

takeToken();
follow(onFrame, onState);
globalThis.pluginBridge = { roll };  // for tests: what has been drawn
