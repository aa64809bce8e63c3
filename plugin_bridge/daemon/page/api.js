// Asking the daemon. The token comes with the address, after the #, and is kept for this tab only: another
// program that takes the daemon's port later must not find it.

const KEY = "plugin-bridge-token";

export function takeToken() {
  const found = /(?:^#|&)token=([A-Za-z0-9_-]+)/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token.trim());
}

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

export async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refused(0, "the daemon does not answer");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found.error ?? `refused (${answer.status})`);
  return found;
}

// Calls `onFrame` for each frame, and `onState` with whether it is connected; connects again after a loss.
export function follow(onFrame, onState) {
  let wait = 250;
  const open = () => {
    const token = sessionStorage.getItem(KEY);
    if (!token) return onState(false, true);
    const socket = new WebSocket(`ws://${location.host}/api/live`, ["plugin-bridge", `token.${token}`]);
    let opened = false;
    socket.onopen = () => { opened = true; wait = 250; onState(true, false); };
    socket.onmessage = (message) => onFrame(JSON.parse(message.data));
    socket.onclose = async () => {
      onState(false, false);
      if (!opened) {
        // a socket does not say why it was refused: ask
        try { await ask("GET", "/api/state"); } catch (error) { if (error.status === 401) return onState(false, true); }
      }
      setTimeout(open, wait);
      wait = Math.min(wait * 2, 2000);
    };
  };
  open();
}
