"use strict";
// The animation of the flows; everything else on the page is plain HTML.
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function colour(i, count) {
  return `hsl(${(205 + (300 * i) / count) % 360} 70% 52%)`;
}

function start(box) {
  const flows = JSON.parse(box.querySelector("script").textContent);
  const find = (selector) => box.querySelector(selector);
  const [input, stage, rest, slider, play] =
    [".input", ".particles", ".rest", ".step", ".play"].map(find);
  let flow, lines, dots, gazes, particles, resting, chosen, position, timer;

  // Where a particle looks: the mean of the points by its attention.
  function gaze(row) {
    const total = Math.max(row.reduce((sum, share) => sum + share, 0), 1e-12);
    return [0, 1].map((axis) =>
      row.reduce((sum, share, j) => sum + share * flow.cloud[j][axis], 0) / total);
  }

  function paintAttention() {
    const rows = chosen === null ? flow.attention : [flow.attention[chosen]];
    const sums = flow.cloud.map((_, j) => rows.reduce((sum, row) => sum + row[j], 0));
    const largest = Math.max(...sums, 1e-12);
    dots.forEach((dot, j) => {
      const share = Math.sqrt(sums[j] / largest); // differences among the small ones show
      dot.setAttribute("opacity", (0.12 + 0.88 * share).toFixed(3));
      dot.style.fill = chosen === null ? "" : colour(chosen, particles.length);
    });
    lines.replaceChildren();
    if (chosen === null) return;
    const [x1, y1] = gaze(flow.attention[chosen]);
    flow.cloud.forEach(([x2, y2], j) => {
      const share = sums[j] / largest;
      if (share < 0.02) return; // too faint to be seen
      const look = { class: "look", x1, y1, x2, y2, opacity: (0.85 * share).toFixed(3) };
      element("line", { ...look, stroke: colour(chosen, particles.length) }, lines);
    });
  }

  function paintParticles() {
    const k = Math.floor(position);
    const next = Math.min(k + 1, flow.path.length - 1);
    const part = position - k;
    particles.forEach((particle, i) => {
      const [a, b] = [flow.path[k][i], flow.path[next][i]];
      particle.setAttribute("cx", a[0] + part * (b[0] - a[0]));
      particle.setAttribute("cy", a[1] + part * (b[1] - a[1]));
    });
    for (const row of [particles, resting, gazes]) {
      row.forEach((particle, i) => particle.classList.toggle("chosen", i === chosen));
    }
    slider.value = Math.round(position);
    const gap = flow.gaps[Math.round(position)];
    const where = gap > 0 ? `${gap.toExponential(1)} from the equilibrium` : "the equilibrium";
    find(".where").textContent = `${Math.round(position)} of ${flow.path.length - 1}: ${where}`;
  }

  function choose(i) {
    chosen = chosen === i ? null : i;
    paintAttention();
    paintParticles();
  }

  function show(number) {
    stop();
    flow = flows[number];
    chosen = null;
    position = 0;
    slider.max = flow.path.length - 1;
    for (const panel of [input, stage, rest]) panel.replaceChildren();
    lines = element("g", {}, input);
    dots = flow.cloud.map(([x, y, r]) => element("circle", { cx: x, cy: y, r }, input));
    const count = flow.path[0].length;
    for (let i = 0; i < count; i += 1) {
      const points = flow.path.map((places) => places[i].join(",")).join(" ");
      element("polyline", { class: "trail", points, stroke: colour(i, count) }, stage);
    }
    const draw = (panel, r) => ([cx, cy], i) => {
      const look = { class: "particle", r, fill: colour(i, count), cx, cy };
      const particle = element("circle", look, panel);
      particle.addEventListener("click", () => choose(i));
      element("title", {}, particle).textContent = `particle ${i + 1}`;
      return particle;
    };
    particles = flow.path[0].map(draw(stage, 2.6));
    resting = flow.rest.map(draw(rest, 2.6));
    gazes = flow.attention.map(gaze).map(draw(input, 1.8));
    box.querySelectorAll(".choices button").forEach((button, i) =>
      button.setAttribute("aria-pressed", i === number));
    find(".message").textContent =
      `Class ${flow.title}, answer ${flow.verdict}${flow.right ? "" : ", wrong"}. ${flow.message}`;
    paintAttention();
    paintParticles();
  }

  function stop() {
    cancelAnimationFrame(timer);
    timer = undefined;
    play.textContent = "Play";
  }

  function run() {
    const last = flow.path.length - 1;
    if (position >= last) position = 0;
    play.textContent = "Pause";
    let before;
    const frame = (now) => {
      // Half a second for an evaluation; the first frames are the way, the last ones the rest.
      position = Math.min(position + (before === undefined ? 0 : (now - before) / 500), last);
      before = now;
      paintParticles();
      if (position >= last) stop();
      else timer = requestAnimationFrame(frame);
    };
    timer = requestAnimationFrame(frame);
  }

  flows.forEach((each, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = each.title;
    button.addEventListener("click", () => show(i));
    find(".choices").append(button);
  });
  slider.addEventListener("input", () => {
    stop();
    position = Number(slider.value);
    paintParticles();
  });
  play.addEventListener("click", () => (timer === undefined ? run() : stop()));
  show(0);
}

document.querySelectorAll(".flow").forEach(start);
