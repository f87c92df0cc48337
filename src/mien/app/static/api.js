// What this server is asked, and its answers or the sentence of a refusal.

export const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

async function asked(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, { method: body === undefined ? "GET" : "POST", body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached; please try again in a moment.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error ?? `The server answered with the status ${answer.status}.`);
}

export const ask = async (path, body, signal) => (await asked(path, body, signal)).json();
export const download = async (path) => (await asked(path)).blob();

// The messages of an answer that comes in parts, a line of JSON each.
export async function* messages(path, body, signal) {
  const reader = (await asked(path, body, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Error("The connection to the server broke; please try again.");
    });
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const message = JSON.parse(line);
      if (message.error) throw new Error(message.error);
      yield message;
    }
    if (done) return;
  }
}

let known;
export const model = (fresh = false) => (known = fresh || !known ? ask("api/model") : known);
