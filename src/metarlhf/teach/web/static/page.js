// The page: one question after another, and how it goes.

import { Problem, film, get, post, requestName, signIn, surely } from "./api.js";
import { curve } from "./curve.js";
import { Film, Picture, Player, jointView } from "./scene.js";

const $ = (name) => document.getElementById(name);
const show = (name, yes) => ($(name).hidden = !yes);
const say = (text) => ($("said").textContent = text);

let levels = 10;
let current = null; // the question that is shown
let since = 0; // when it was shown
let busy = false;
let latest = null; // how it goes
let shownNow = null;
let nextNow = null; // what it does now, of which there is no film yet
let fetching = false;

// Whether the agent is heard of: its own clock may be another.
let heardAt = performance.now();
let toldAt = null;

const player = new Player((step, steps) => {
  $("scrub").max = steps - 1;
  $("scrub").value = step;
  $("scrub").setAttribute("aria-valuetext", `step ${step + 1} of ${steps}`);
});
const nowPlayer = new Player();

function problem(text) {
  $("problem").textContent = text ?? "";
  show("problem", Boolean(text));
}

// A clip, drawn or filmed, in a figure.
function picture(figure, { clip, scene }, name, view) {
  const seen = document.createElement(scene.film ? "video" : "canvas");
  seen.setAttribute("role", "img");
  seen.setAttribute("aria-label", `${name}: ${scene.words}`);
  figure.prepend(seen);
  if (!scene.film) return new Picture(seen, scene, view);
  seen.muted = seen.playsInline = true;
  const wait = document.createElement("p");
  wait.className = "wait";
  wait.textContent = "The film is being made …";
  figure.prepend(wait);
  const made = new Film(seen, scene, (wanted) => film(clip, wanted));
  made.whenReady.then((ready) => {
    if (ready) wait.remove();
    else wait.textContent = made.problem ?? "There is no film of this: the simulator did not do the same again.";
  });
  return made;
}

function clipFigure(clip, name, key, view) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = name;
  const bad = document.createElement("button");
  bad.type = "button";
  bad.className = "small";
  bad.innerHTML = `<span>Bad moment</span> <kbd>${key.toUpperCase()}</kbd>`;
  bad.dataset.key = key;
  bad.title = "Call the moment that is shown bad";
  bad.addEventListener("click", () => correct(clip.clip, bad));
  caption.append(title, bad);
  figure.append(caption);
  const seen = picture(figure, clip, name, view);
  if (current.kind === "comparison") {
    figure.querySelector("canvas, video").addEventListener("click", () => answer({ choice: name.toLowerCase() }));
  }
  return [figure, seen];
}

function ask(question) {
  const before = current?.question;
  current = question;
  show("question", question !== null);
  if (question === null) {
    player.show([]);
    return void $("clips").replaceChildren();
  }
  if (question.question !== before) since = performance.now();
  const comparison = question.kind === "comparison";
  const names = comparison ? ["Left", "Right"] : ["Clip"];
  $("asked").textContent = comparison ? "Which do you like better?" : "How good is this?";
  show("comparison", comparison);
  show("rating", !comparison);
  $("clips").classList.toggle("one", !comparison);
  const scenes = question.clips.map((clip) => clip.scene);
  const view = scenes[0].film ? undefined : jointView(scenes);
  const made = question.clips.map((clip, i) => clipFigure(clip, names[i], BAD[i], view));
  $("clips").replaceChildren(...made.map(([figure]) => figure));
  const seen = made.map(([, picture]) => picture);
  player.show(seen);
  // Nobody judges what is not to be seen yet.
  visible(seen.every((one) => one.ready));
  Promise.all(seen.map((one) => one.whenReady)).then((ready) => {
    if (current !== question) return;
    visible(ready.every(Boolean));
    if (question.question !== before) since = performance.now();
  });
  const told = question.clips.map((clip, i) => `${names[i]}: ${clip.scene.words}`).join(" ");
  say(`${$("asked").textContent} ${told}`);
}

// Whether all clips can be seen: until then one can say that one can't tell, and nothing else.
let canSee = true;
function visible(yes) {
  canSee = yes;
  const judges = "#clips button, #comparison button:not([data-choice=skip]), #rating button:not([data-choice=skip])";
  for (const button of document.querySelectorAll(judges)) button.disabled = !yes;
}

async function answer(value) {
  if (busy || current === null || (!canSee && value.choice !== "skip")) return;
  busy = true;
  const given = {
    question: current.question,
    request: requestName(),
    seconds: (performance.now() - since) / 1000,
    ...value,
  };
  const index = { left: 0, right: 1 }[value.choice];
  if (index !== undefined) $("clips").children[index]?.classList.add("chosen");
  try {
    const { next } = await surely("/api/answers", given, ({ message }) => problem(message));
    problem();
    $("undo").disabled = false;
    ask(next);
    waitingWords();
  } catch (refused) {
    if (refused.status === 401) return askToken(refused.message);
    problem(refused.message);
    await fetchNext();
  } finally {
    busy = false;
  }
}

async function undo() {
  if (busy || latest?.doing === "done") return;
  busy = true;
  try {
    const { undone, next } = await surely("/api/undo", { request: requestName() }, ({ message }) => problem(message));
    problem();
    $("undo").disabled = undone === null;
    ask(next);
    say(undone === null ? "There is nothing to take back." : "Taken back. The question again.");
    waitingWords();
  } catch (refused) {
    problem(refused.message);
  } finally {
    busy = false;
  }
}

async function correct(clip, button) {
  const { scene } = current.clips.find((one) => one.clip === clip);
  const step = Math.min(player.step, (scene.steps ?? scene.frames.length) - 1);
  try {
    await surely("/api/corrections", { clip, step, request: requestName() }, ({ message }) => problem(message));
    problem();
    button.querySelector("span").textContent = `Step ${step + 1} noted`;
    say(`Step ${step + 1} is noted as bad.`);
  } catch (refused) {
    problem(refused.message);
  }
}

async function fetchNext() {
  if (fetching) return;
  fetching = true;
  try {
    const { next } = await post("/api/next");
    problem();
    ask(next);
  } catch (refused) {
    if (!(refused instanceof Problem)) throw refused;
    problem(refused.message);
  } finally {
    fetching = false;
    waitingWords();
  }
}

function waitingWords() {
  if (latest === null) return;
  const over = latest.doing === "done";
  const stale = performance.now() - heardAt > 60_000 && !over;
  const words = over
    ? "All is learned."
    : latest.doing === undefined
      ? "It gets ready, which takes up to a minute."
    : stale
      ? "The agent was stopped. Your answers are kept for when it goes on."
      : current !== null
        ? latest.doing === "waiting" ? "It waits for you." : "It practises while you look."
        : "You wait for it: it looks for something to ask.";
  if ($("state").textContent !== words) $("state").textContent = words;
  show("over", over);
  show("nothing", current === null && !over);
  $("why").textContent = "There is nothing to answer at this moment. The next question comes by itself.";
  show("again", !over);
  if (over) {
    if (current !== null) ask(null);
    $("asked").textContent = "It has learned from all your answers";
    $("outcome").textContent = `${latest.answers} answers, ${latest.steps.toLocaleString("en")} steps of practice.`;
    show("report", Boolean(latest.report));
  }
}

async function heard(status) {
  if (status.at !== toldAt) heardAt = performance.now();
  toldAt = status.at;
  latest = status;
  const given = status.given ?? 0;
  const labels = status.labels ?? 0;
  $("given").textContent = given;
  $("left").textContent = labels ? Math.max(0, labels - given) : "…";
  $("spent").max = Math.max(1, labels);
  $("spent").value = given;
  $("people").textContent = status.people > 1 ? `, ${status.mine} of them by you; ${status.people} people answer` : "";
  $("undo").disabled = status.undoable === 0;
  if (status.curve?.length) $("curve").replaceChildren(curve(status.curve));
  const agreement = status.agreement === null || status.agreement === undefined
    ? "" : ` People agree to ${status.agreement.toFixed(2)} (Krippendorff’s alpha).`;
  // After fewer it would be chance that speaks.
  if (status.foreseen !== null && status.foreseen !== undefined && status.answers >= 5) {
    $("foreseen").textContent =
      `Of the newest answers it had foreseen ${Math.round(100 * status.foreseen)} %; guessing gives 50 %.${agreement}`;
  }
  if (status.now && status.now !== shownNow) showNow(status.now);
  if (current === null && status.open > 0 && status.doing !== "done") await fetchNext();
  waitingWords();
}

async function showNow(clip) {
  shownNow = clip;
  try {
    const { scene } = await get(`/api/clips/${clip}`);
    const figure = document.createElement("figure");
    nextNow?.close();
    const seen = (nextNow = picture(figure, { clip, scene }, "What it does now"));
    // What it did before stays until there is a film of this.
    if (!scene.film || !$("now").querySelector("figure")) $("now").replaceChildren(figure);
    else if (!(await seen.whenReady) || shownNow !== clip) return void seen.close();
    else $("now").replaceChildren(figure);
    nextNow = null; // the player closes it
    nowPlayer.show([seen]);
  } catch {
    shownNow = null;
  }
}

function follow() {
  const source = new EventSource("/api/events");
  source.addEventListener("message", (event) => {
    problem();
    heard(JSON.parse(event.data));
  });
  source.addEventListener("error", async () => {
    $("state").textContent = "The server does not answer. This goes on by itself when it does.";
    if (source.readyState === EventSource.CLOSED) {
      // Signed out, or the server said no: sign in again and listen anew.
      source.close();
      await new Promise((done) => setTimeout(done, 1000));
      begin();
    }
  });
}

function askToken(words) {
  show("token", true);
  show("question", false);
  $("state").textContent = words;
}

async function begin(token) {
  try {
    ({ levels } = await signIn(token));
  } catch (refused) {
    if (refused.status === 401) {
      askToken(token ? refused.message : "Sign in with the token that you were given.");
      return;
    }
    $("state").textContent = refused.message;
    setTimeout(begin, 1000, token);
    return;
  }
  show("token", false);
  history.replaceState(null, "", "/");
  await fetchNext();
  follow();
}

function ratingButtons() {
  const buttons = Array.from({ length: levels }, (_, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = i + 1;
    button.setAttribute("aria-label", `Mark ${i + 1} of ${levels}`);
    button.addEventListener("click", () => answer({ mark: i + 1 }));
    return button;
  });
  const skip = document.createElement("button");
  skip.type = "button";
  skip.textContent = "Can’t tell";
  skip.dataset.choice = "skip";
  skip.addEventListener("click", () => answer({ choice: "skip" }));
  $("rating").replaceChildren(...buttons, skip);
}

const KEYS = {
  ArrowLeft: "left", ArrowRight: "right", e: "equal", ArrowUp: "equal", s: "skip", ArrowDown: "skip",
};

// A question stays with somebody for two minutes: for longer while they are there.
const HOLD = 50_000, THERE = 180_000;
let seen = performance.now();
for (const sign of ["pointermove", "pointerdown", "keydown"]) {
  document.addEventListener(sign, () => (seen = performance.now()), { passive: true });
}
setInterval(() => {
  const there = !document.hidden && performance.now() - seen < THERE;
  if (current !== null && !busy && there) post("/api/next").catch(() => {});
}, HOLD);

// A key for each clip's moment.
const BAD = ["b", "n"];

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !$("keys").checked) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "u") undo();
  else if (BAD.includes(key)) $("clips").querySelector(`button[data-key=${key}]`)?.click();
  else if (key === " " && !event.target.closest("button")) pause();
  else if (current?.kind === "comparison" && KEYS[key]) answer({ choice: KEYS[key] });
  else if (current?.kind === "rating" && key === "s") answer({ choice: "skip" });
  else if (current?.kind === "rating" && /^[0-9]$/.test(key)) answer({ mark: Number(key) || 10 });
  else return;
  event.preventDefault();
});

function pause() {
  player.paused = !player.paused;
  $("pause").textContent = player.paused ? "Play" : "Pause";
  $("pause").setAttribute("aria-pressed", String(player.paused));
}

$("pause").addEventListener("click", pause);
$("pause").textContent = player.paused ? "Play" : "Pause";
$("scrub").addEventListener("input", () => {
  if (!player.paused) pause();
  player.seek(Number($("scrub").value));
});
$("speed").addEventListener("change", () => (player.speed = Number($("speed").value)));
$("undo").addEventListener("click", undo);
$("comparison").addEventListener("click", (event) => {
  const choice = event.target.closest("button")?.dataset.choice;
  if (choice) answer({ choice });
});
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  begin(new FormData(event.target).get("token").trim());
});

setInterval(waitingWords, 5000); // a silence says something, too
ratingButtons();
// An invitation's token is behind the #, which no server and no log is told.
begin(new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined);
