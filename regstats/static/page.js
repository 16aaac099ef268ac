// Draws the charts, shows events as they come, copies what is there to be copied. Everything else works without it.
"use strict";

const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: [["toImage"]] };
const POLL_MS = 2000;
const MOST_EVENTS = 15;
const dark = matchMedia("(prefers-color-scheme: dark)");

// Charts: one figure for each look, so that a change of the theme, or a printer, finds the other.

const figures = new Map();
const ask = (path) => fetch(new URL(path, location.origin)); // a page opened as name:password@host has them in its base

async function figureOf(place, isDark) {
  const url = place.dataset.chart + (place.dataset.chart.includes("?") ? "&" : "?") + (isDark ? "dark=1" : "dark=0");
  if (!figures.has(url)) {
    const answer = await ask(url);
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.detail);
    figures.set(url, content);
  }
  return figures.get(url);
}

function paint(place, figure) {
  const layout = structuredClone(figure.layout);
  place.style.height = `${layout.height}px`; // else it would shrink to the height of an empty place
  return Plotly.react(place, structuredClone(figure.data), layout, CONFIG);
}

async function draw(place) {
  try {
    let isDark, figure;
    do { // the theme may change meanwhile
      isDark = dark.matches;
      figure = await figureOf(place, isDark);
    } while (isDark !== dark.matches);
    if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
    await paint(place, figure);
    place.dataset.drawn = "";
    if (isDark) figureOf(place, false).catch(() => {}); // for a printer
  } catch (error) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = `This chart could not be drawn. ${error.message}`;
    place.replaceChildren(note);
  }
}

const places = [...document.querySelectorAll("[data-chart]")];
const nearby = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (isIntersecting) {
      nearby.unobserve(target);
      draw(target);
    }
  }
}, { rootMargin: "1500px" });
places.forEach((place) => nearby.observe(place));

const drawn = () => places.filter((place) => "drawn" in place.dataset);
dark.addEventListener("change", () => drawn().forEach(draw));

function repaintAll(isDark) {
  for (const place of drawn()) {
    const ready = figures.get(`${place.dataset.chart}${place.dataset.chart.includes("?") ? "&" : "?"}dark=${Number(isDark)}`);
    if (ready) paint(place, ready);
  }
}
addEventListener("beforeprint", () => dark.matches && repaintAll(false));
addEventListener("afterprint", () => dark.matches && repaintAll(true));

// Recent events: asked for again and again, as long as somebody looks.

const recent = document.querySelector("[data-recent]");

function cell(row, text, link) {
  const inner = document.createElement("bdi");
  inner.textContent = text;
  const place = row.insertCell();
  if (text.length > 24) place.title = text;
  if (link === undefined) {
    place.append(inner);
  } else {
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.append(inner);
    place.append(anchor);
  }
}

function rowOf(event) {
  const row = document.createElement("tr");
  row.dataset.id = event.id;
  row.className = "new";
  cell(row, event.time.slice(0, 19).replace("T", " "));
  cell(row, event.action);
  cell(row, event.reference, event.link);
  for (const text of [event.actor, event.client, event.address]) cell(row, text);
  return row;
}

function show(events) {
  const body = recent.tBodies[0];
  const known = new Set([...body.rows].map((row) => row.dataset.id));
  const fresh = events.filter((event) => !known.has(event.id));
  body.prepend(...fresh.map(rowOf));
  while (body.rows.length > MOST_EVENTS) body.lastElementChild.remove();
  if (fresh.length) document.querySelector("[data-nothing]")?.remove();
}

async function poll(sign) {
  if (!document.hidden) {
    try {
      const answer = await ask(recent.dataset.recent);
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.json());
      sign.textContent = "live";
      sign.classList.remove("lost");
    } catch {
      sign.textContent = "not reached";
      sign.classList.add("lost");
    }
    sign.hidden = false;
  }
  setTimeout(poll, POLL_MS, sign);
}
if (recent) poll(document.querySelector("[data-live]"));

// Pickers: what is empty, or as it is anyway, does not go into the address.

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    const pressed = event.submitter?.name;
    for (const field of form.elements) {
      if (field.name && field.tagName !== "BUTTON" && (!field.value || field.name === pressed)) field.disabled = true;
      if (field.name === "until" && pressed === "since") field.disabled = true;
    }
  });
}
addEventListener("pageshow", () => document.querySelectorAll("form :disabled").forEach((field) => { field.disabled = false; }));

// Things to copy.

for (const code of document.querySelectorAll("[data-absolute]")) {
  code.textContent = code.textContent.replace("](/", `](${location.origin}/`);
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // a page that is not https has no clipboard
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await copy(button.previousElementSibling.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
