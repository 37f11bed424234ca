// Shows one recorded photo after another. Sends each decision to the server, which writes the decision to the disk.
"use strict";

const MOST_CLASSES = 9;
const element = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;
const FIELDS = ["other", "lesion"];
const KEYS = {
  Enter: () => confirm(),
  x: () => decide(""),
  u: () => undo(),
  o: () => element("other").focus(),
  l: () => element("lesion").focus(),
};
let shown = null;
// While a decision is being sent, and until the next photo is visible, keys are ignored. The user pressed these keys
// when the earlier photo was visible.
let isBusy = true;

function make(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

// If there are more classes than number keys, the most probable classes are listed. Otherwise, all classes are listed,
// and each class always has the same key.
function listedClasses({ labels, photo }) {
  if (labels.length <= MOST_CLASSES) return labels;
  const share = (label) => photo.probabilities[label] ?? 0;
  return [...labels].sort((one, other) => share(other) - share(one)).slice(0, MOST_CLASSES);
}

function classButton(label, index, photo) {
  const share = photo.probabilities[label];
  const button = make("button", "", label === photo.label ? "answered" : "");
  button.type = "button";
  button.setAttribute("aria-keyshortcuts", index + 1);
  button.addEventListener("click", () => decide(label));
  button.append(make("kbd", index + 1), make("span", label), make("span", share === undefined ? "" : percent(share)));
  if (share !== undefined) {
    const bar = make("progress");
    bar.value = share;
    bar.setAttribute("aria-hidden", "true");
    button.append(bar);
  }
  const item = make("li");
  item.append(button);
  return item;
}

function showCounter({ decided, total, decisions }) {
  const counts = Object.entries(decisions).map(([name, count]) => `${count} ${name}`).join(", ");
  element("counter").textContent = `${decided} of ${total} reviewed: ${counts}`;
  element("progress").max = total;
  element("progress").value = decided;
}

function showAnswer(photo) {
  element("title").textContent = photo.label ? photo.headline : "no answer";
  element("notes").textContent = photo.alert ? `${photo.alert} alert` : "";
  element("confirm").disabled = !photo.label;
  element("confirmed").textContent = photo.label && `Confirm ${photo.label}`;
}

// Returns the URL of a photo. The name of a folder or file may contain characters such as # and ?.
const urlOf = (path) => `photos/${path.split("/").map(encodeURIComponent).join("/")}`;

async function showPhoto({ photo, following }) {
  const image = element("photo");
  image.src = urlOf(photo.path);
  image.alt = `Photo ${photo.path}`;
  const taken = photo.captured_at ? `taken ${new Date(photo.captured_at).toLocaleString()}` : "";
  element("caption").textContent = [photo.path, taken].filter(Boolean).join(", ");
  try {
    await image.decode();
  } catch {
    say("This photo cannot be shown. Discard it with x.");
  }
  if (following) new Image().src = urlOf(following);
}

function showEnd({ photo, groups, decisions, command }) {
  for (const id of ["figure", "panel"]) element(id).hidden = !photo;
  element("end").hidden = Boolean(photo);
  element("main").className = photo ? "reviewing" : "";
  const labelled = decisions.confirmed + decisions.corrected;
  element("end-groups").textContent =
    `Photos with a label: ${labelled}. Groups of these photos: ${groups}. All photos of a group go into the same split.`;
  element("command").textContent = command;
}

async function show(status) {
  shown = status;
  showCounter(status);
  showEnd(status);
  element("undo").disabled = element("undo-end").disabled = !status.last;
  if (status.photo) {
    showAnswer(status.photo);
    element("classes").replaceChildren(
      ...listedClasses(status).map((label, index) => classButton(label, index, status.photo)));
    element("labels").replaceChildren(...status.labels.map((label) => {
      const option = make("option");
      option.value = label;
      return option;
    }));
    element("other").value = "";
    element("lesion").value = status.lesion;
    await showPhoto(status);
  }
  element(status.photo ? "title" : "end-title").focus();
}

const say = (text) => { element("message").textContent = text; };

function setBusy(busy) {
  isBusy = busy;
  element("main").setAttribute("aria-busy", busy);
}

async function ask(path, options) {
  setBusy(true);
  try {
    const response = await fetch(path, options);
    const status = await response.json();
    if (!response.ok) throw new Error(status.error);
    say("");
    await show(status);
  } catch (error) {
    const isOffline = error instanceof TypeError;
    say(isOffline ? "No connection. Start dermedge review again. All decisions are on the disk." : error.message);
  } finally {
    setBusy(false);
  }
}

const send = (path, values) => ask(path, {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-Dermedge": "1" },
  body: JSON.stringify(values),
});

function decide(label) {
  if (isBusy || !shown?.photo) return;
  send("decide", { photo: shown.photo.path, label, lesion: element("lesion").value });
}

function confirm() {
  if (!shown?.photo) return;
  if (shown.photo.label) decide(shown.photo.label);
  else say("The model gave no answer for this photo. Choose a class, or discard it.");
}

function undo() {
  if (!isBusy && shown?.last) send("undo", {});
}

function chooseByNumber(key) {
  const button = element("classes").querySelectorAll("button")[Number(key) - 1];
  if (button) button.click();
}

function onKeyInField(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  const text = element("other").value.trim();
  if (event.key === "Escape") event.target.value = event.target.id === "lesion" ? shown?.lesion ?? "" : "";
  else if (event.target.id === "other" && text) return decide(text);
  element("title").focus();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (FIELDS.includes(event.target.id)) return onKeyInField(event);
  // if a button has the focus, Enter presses this button, as on every page
  const isPress = event.key === "Enter" && event.target.tagName === "BUTTON";
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (isPress ? event.repeat : event.repeat && (action || /^[1-9]$/.test(event.key))) return event.preventDefault();
  if (isPress || isBusy) return;
  if (action) {
    event.preventDefault();
    action();
  } else if (/^[1-9]$/.test(event.key)) {
    chooseByNumber(event.key);
  }
});

// Ignores the second click of a double click, because it would decide on the next photo, which nobody has looked at yet.
// Several quick clicks on Undo take back several decisions.
addEventListener("click", (event) => {
  if (event.detail > 1 && !event.target.closest("#undo, #undo-end")) event.stopPropagation();
}, true);

element("confirm").addEventListener("click", confirm);
element("discard").addEventListener("click", () => decide(""));
for (const id of ["undo", "undo-end"]) element(id).addEventListener("click", undo);
ask("status");
