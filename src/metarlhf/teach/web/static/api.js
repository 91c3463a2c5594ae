// Talking to the server. What changes something says the word that the session was given.

let csrf = "";

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { "content-type": "application/json", "x-csrf-token": csrf },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "The server does not answer. This goes on by itself when it does.");
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, said.error ?? `The server refused (${response.status}).`);
  return said;
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);

// A film as an address of this page's own, waited for while it is made and `wanted` says so; null
// where there is none.
export async function film(clip, wanted) {
  while (wanted()) {
    const response = await fetch(`/api/clips/${clip}/film`).catch(() => null);
    if (response?.status === 200) return URL.createObjectURL(await response.blob());
    if (response?.status === 404 || response?.status === 401) return null;
    await new Promise((done) => setTimeout(done, response?.status === 202 ? 400 : 1000));
  }
  return null;
}

export async function signIn(token) {
  const session = await post("/api/session", { token: token ?? null });
  csrf = session.csrf;
  return session;
}

// What is asked again until it is heard: the request has a name, so that it counts once.
export async function surely(path, body, waiting) {
  for (let pause = 250; ; pause = Math.min(2 * pause, 4000)) {
    try {
      return await post(path, body);
    } catch (problem) {
      if (problem.status === 401 || problem.status === 403) {
        await signIn(); // which may say that nobody is let in any more
      } else if (problem.status !== 0 && problem.status !== 429 && problem.status < 500) {
        throw problem;
      }
      waiting(problem);
      await new Promise((done) => setTimeout(done, pause));
    }
  }
}

export const requestName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
