"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("atlas-data").textContent);
  const names = Object.keys(data.activations);
  const found = new Map(data.pairs.map((pair) => [JSON.stringify([pair.source, pair.target]), pair]));
  const pairOf = (source, target) => found.get(JSON.stringify([source, target]));
  const encode = (name) => encodeURIComponent(name);
  const address = (...ends) => "#" + ends.map(encode).join("/");

  // Text reaches the page as text nodes and attributes only, never as markup.
  function add(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children.flat().filter((child) => child !== null && child !== ""));
    return node;
  }
  const h = (tag, attributes = {}, ...children) =>
    add(document.createElement(tag), attributes, children);
  const s = (tag, attributes = {}, ...children) =>
    add(document.createElementNS(byId("graph").namespaceURI, tag), attributes, children);

  const level = (text) => (text ? h("span", { class: "level" }, text) : "");
  const mark = (verdict) =>
    h("span", { class: "mark " + verdict.replace(" ", "-") }, verdict || "no verdict");
  const link = (source, target, text) => h("a", { href: address(source, target) }, text);

  function table(caption, heads, rows) {
    const kind = (i) => (heads[i].startsWith("#") ? { class: "number" } : {});
    const head = heads.map((text, i) => h("th", { scope: "col", ...kind(i) }, text.replace("#", "")));
    const body = rows.map((row) => h("tr", {}, row.map((cell, i) => h("td", kind(i), cell))));
    return h("table", {}, caption ? h("caption", {}, caption) : "",
      h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
  }

  // ---------------------------------------------------------------- plots

  function ticks(low, high, log) {
    if (log) {
      const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
      const whole = powers.filter((k) => k >= low && k <= high), every = Math.ceil(whole.length / 6);
      if (whole.length > 2) return whole.filter((_, i) => i % every === 0);
      return powers.flatMap((k) => [1, 2, 5].map((m) => k + Math.log10(m))).filter((x) => x >= low && x <= high);
    }
    const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * unit).find((size) => size >= raw);
    const count = Math.floor(high / step) - Math.ceil(low / step) + 1;
    return Array.from({ length: count }, (_, i) => (Math.ceil(low / step) + i) * step);
  }

  /** Curves are lists of points by the name of their class; places are ticks [x, text] of one's own. */
  function plot({ label, curves = {}, stems = [], dots = [], log = false, across, up, places = null }) {
    const scale = (v) => (log ? Math.log10(v) : v);
    const usable = ([x, y]) => Math.abs(scale(x)) < 1e100 && Math.abs(scale(y)) < 1e100;
    const scaled = (list) => list.filter(usable).map(([x, y, kind]) => [scale(x), scale(y), kind || ""]);
    const lines = Object.entries(curves).map(([kind, list]) => [kind, scaled(list)]).filter(([, list]) => list.length);
    const [sticks, points] = [stems, dots].map(scaled);
    const all = [...lines.flatMap(([, list]) => list), ...sticks, ...points];
    if (!all.length) return "";
    const extent = (values, zero) => {
      let low = Math.min(...values), high = Math.max(...values);
      if (zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
      const room = (high - low || Math.abs(high) || 1) * 0.06;
      return [low - room, high + room];
    };
    const [x0, x1] = extent(all.map((p) => p[0]), false), [y0, y1] = extent(all.map((p) => p[1]), !log);
    const X = (x) => +(52 + ((x - x0) / (x1 - x0)) * 358).toFixed(1);
    const Y = (y) => +(150 - ((y - y0) / (y1 - y0)) * 140).toFixed(1);
    const text = (v) => String(+(log ? 10 ** v : v).toPrecision(log ? 1 : 4));
    const picture = s("svg", { class: "plot", viewBox: "0 0 420 190", role: "img", "aria-label": label },
      s("path", { class: "axis", d: "M52 10V150H410" }),
      (places || ticks(x0, x1, log).map((x) => [x, text(x)])).map(([x, name]) => [s("path", { class: "axis", d: `M${X(x)} 150v4` }),
        s("text", { x: X(x), y: 166, "text-anchor": "middle" }, name)]).flat(),
      ticks(y0, y1, log).map((y) => [s("path", { class: "axis", d: `M52 ${Y(y)}h-4` }),
        s("text", { x: 45, y: Y(y) + 4, "text-anchor": "end" }, text(y))]).flat(),
      log ? "" : s("path", { class: "axis", d: `M52 ${Y(0)}H410` }),
      s("text", { x: 410, y: 184, "text-anchor": "end" }, across),
      s("text", { x: 56, y: 12 }, up));
    for (const [kind, line] of lines) {
      const d = "M" + line.map(([x, y]) => `${X(x)} ${Y(y)}`).join("L");
      picture.append(s("path", { class: ("curve " + kind).trim(), d }));
    }
    for (const [x, y, kind] of sticks) {
      picture.append(s("path", { class: ("stem " + kind).trim(), d: `M${X(x)} ${Y(0)}V${Y(y)}` }),
        s("circle", { class: kind, cx: X(x), cy: Y(y), r: 3.2 }));
    }
    for (const [x, y] of points) picture.append(s("circle", { cx: X(x), cy: Y(y), r: 3.2 }));
    return picture;
  }

  // ---------------------------------------------------------------- one pair

  const steps = (edges, texts, quality) => edges.map((edge, i) => [
    link(edge.source, edge.target, `${edge.source} → ${edge.target}`), texts[i] || "not given",
    level(edge.level || quality), [edge.rule || "", edge.theorem ? h("div", { class: "quiet" }, edge.theorem) : ""],
  ]);

  function routeOf(pair) {
    const heads = ["edge", "#constant", "level", "rule"], parts = [];
    const route = pair.route || [], direct = pair.direct;
    if (route.length) {
      const rows = steps(route, pair.shown.route, pair.level);
      if (route.length > 1) {
        rows.push([h("b", {}, "product"), h("b", {}, pair.shown.product), level(pair.level), pair.theorem || ""]);
      }
      parts.push(table("", heads, rows));
    }
    if (direct && route.length !== 1) {
      parts.push(table("Direct edge", heads, steps([direct], [pair.shown.direct], pair.level)));
    } else if (route.length) {
      parts.push(h("p", { class: "quiet" }, route.length === 1
        ? "The route is the direct edge." : "No rule joins the two directly."));
    }
    return parts.length ? [h("h3", {}, "Route"), ...parts] : [];
  }

  function kernelOf(pair) {
    const edges = (pair.route || []).filter((edge) => edge.formula), parts = [];
    for (const edge of edges) {
      parts.push(h("p", {}, edges.length > 1 ? h("span", { class: "quiet" }, `${edge.source} → ${edge.target}: `) : "",
        h("code", {}, edge.formula)));
    }
    if (!edges.length && pair.formula) parts.push(h("p", {}, h("code", {}, pair.formula)));
    const density = pair.density;
    if (density) {
      const curve = (density.points || []).map((x, i) => [x, density.values[i]]);
      const stems = density.atoms || [];
      parts.push(h("figure", {},
        plot({ label: `Density of the kernel from ${pair.source} to ${pair.target}`, curves: { line: curve }, stems, across: "t", up: "D(t)" }),
        h("figcaption", {}, "The kernel's density D", stems.length ? "; stems are atoms, at the height of their mass. " : ". ",
          level(density.level || "float"))));
      if (stems.length) parts.push(table("Atoms", ["#t", "#mass"], stems.map((atom) => atom.map(String))));
    }
    return parts.length ? [h("h3", {}, "Kernel"), ...parts] : [];
  }

  // ---------------------------------------------------------------- sharp constants

  const swatch = (kind, text) => [h("span", { class: "swatch " + kind }), h("span", { class: "key" }, text)];

  /** The share of right particles at t: the changes at places left of it. */
  const share = (steps, t) => steps.reduce((sum, [place, change]) => (place < t ? sum + change : sum), 0);

  /** The density cut in two by the share, with a vertical line at each step. */
  function cut(density, steps, label, up) {
    const at = (t) => {
      const i = Math.max(1, density.points.findIndex((x) => x >= t));
      const [a, b] = [density.points[i - 1], density.points[i]];
      return density.values[i - 1] + ((t - a) / (b - a)) * (density.values[i] - density.values[i - 1]);
    };
    const [first, last] = [density.points[0], density.points[density.points.length - 1]];
    const parts = (t, value, part) => [[t, part * value], [t, (1 - part) * value]];
    const rows = density.points.map((t, i) => parts(t, density.values[i], share(steps, t)));
    for (const [t] of steps.filter(([place]) => place > first && place < last)) {
      rows.push(parts(t, at(t), share(steps, t)), parts(t, at(t), share(steps, t + 1e-9 * (1 + Math.abs(t)))));
    }
    rows.sort((a, b) => a[0][0] - b[0][0]);
    const stems = density.atoms.flatMap(([t, mass]) => [["right", share(steps, t)], ["left", 1 - share(steps, t)]]
      .filter(([, part]) => part > 1e-6).sort((a, b) => b[1] - a[1]).map(([kind, part]) => [t, part * mass, kind]));
    const curves = density.values.some((v) => v) ? { left: rows.map((row) => row[1]), right: rows.map((row) => row[0]) } : {};
    return plot({ label, curves, stems, across: "kink t", up });
  }

  function sharpOf(pair) {
    const sharp = pair.sharp;
    if (!sharp) return [];
    const { ratio, functional, reach, steps } = sharp, density = sharp.density || pair.density, number = (v) => (v < 1e5 ? String(+v.toPrecision(4)) : v.toExponential(3));
    const parts = [h("h3", {}, "Sharp constant")], ends = `from ${pair.source} to ${pair.target}`;
    if (ratio.x) {
      const curve = (name) => ratio.x.map((x, i) => [x, ratio[name][i]]);
      const where = reach === null ? "in the limit ρ → ∞" : reach ? `${reach < 1e5 ? "" : "far out, "}at ρ = ${number(reach)}` : "at ρ = 0";
      const places = [0, 0.5, 1, 2, 4, 10].map((rho) => [rho / (1 + rho), String(rho)]);
      parts.push(h("figure", {}, plot({ label: `Norm over weight against reach, ${ends}`,
        curves: { paper: curve("taylor"), lower: curve("lower"), upper: curve("upper") },
        dots: [[sharp.at, sharp.value]], places: [...places, [1, "∞"]], across: "reach ρ, on the scale ρ/(1 + ρ)", up: "norm over weight" }),
        h("figcaption", {}, swatch("upper", "at most"), swatch("lower", "at least"), swatch("paper", "the paper's kernel"),
          h("br"), `The norm of σ(wx + b) over its weight at w = ρ, b = 0 lies between the curves; no other w, b with w + |b| = ρ exceeds it (Theorem One reach). The dot: the constant, found ${where}. `,
          level(sharp.level))));
    }
    if (density && steps.length) {
      const title = reach ? `at ρ = ${number(reach)}` : "for all large ρ";
      parts.push(h("figure", {},
        cut(density, steps, `Shares of the density, ${ends}`, `this proof, ${title}`),
        cut(density, [[-1e-9, 1]], `Shares of the density in the paper, ${ends}`, "the paper: Taylor kernel at 0"),
        h("figcaption", {}, swatch("right", "right particles, λ D/s!"), swatch("left", "left ones, (1 − λ) D/s!"),
          h("br"), "How the density is shared between particles that are 0 left of their kink t, and those that are 0 right of it", density.atoms.length ? "; stems are atoms. " : ". ", level(sharp.level))));
    }
    if (functional) {
      const u = (t) => t / (1 + Math.abs(t)), sign = (e) => [[-1, e], [-0.5, e], [-0.5, 2 * e], [0.5, 2 * e], [0.5, e], [1, e]];
      const places = [-3, -1, -1 / 3, 0, 1 / 3, 1, 3].map((t) => [u(t), Number.isInteger(t) ? String(t) : t < 0 ? "-1/3" : "1/3"]);
      parts.push(h("figure", {}, plot({ label: `The functional of the lower bound, ${ends}`,
        curves: { "bound above": sign(1), "bound below": sign(-1), right: functional[0].map((x, i) => [x, functional[1][i]]) },
        places: [[-1, "-∞"], ...places, [1, "∞"]], across: "t/ρ, on the scale t/(1 + |t|)", up: "Q/V" }),
        h("figcaption", {}, swatch("right", "Q/V"), swatch("bound", "its bounds"),
          h("br"), "Q stays within 2 V inside [−ρ, ρ] and within V outside, which proves the excess over the density part (Theorem Dual moments). ",
          level(sharp.level))));
    }
    return parts;
  }

  function witnessOf(pair) {
    const witness = pair.witness;
    if (!witness) return [];
    const facts = Object.entries(witness).filter(([key, value]) => key !== "ratios" && value !== null && typeof value !== "object");
    const parts = [h("h3", {}, "Witness"), h("dl", {},
      facts.map(([key, value]) => [h("dt", {}, key.replace("_", " ")), h("dd", {}, String(value))]).flat())];
    if (pair.shown.ratios.length) {
      parts.push(table("Norm over weight of a particle of the source", ["#parameter", "#ratio at least", "level"],
        pair.shown.ratios.map((row) => [...row, level(witness.level || pair.level)])));
    }
    return parts;
  }

  function approximationOf(pair) {
    const list = pair.approximation || [];
    if (!list.length) return [];
    const dots = list.map((a) => [a.norm, a.error]);
    return [h("h3", {}, "Best known approximations"),
      table("of the source by particles of the target, on |z| ≤ 1", ["#norm at most", "#error at most", "level"],
        list.map((a, i) => [...pair.shown.approximation[i], level(a.level)])),
      h("figure", {}, plot({ label: "Error against norm", dots, log: true, across: "norm", up: "error" }),
        h("figcaption", {}, "Error against norm, both on a logarithmic scale."))];
  }

  /** JSON with line breaks; its tokens are kept as they are, so that no digit of a number changes. */
  function spread(text) {
    let depth = 0, out = "";
    const line = () => "\n" + "  ".repeat(depth);
    for (const token of text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) || []) {
      if ("}]".includes(token)) { depth--; out += /[{[]$/.test(out) ? token : line() + token; continue; }
      out += (/[{[,]$/.test(out) ? line() : "") + token + (token === ":" ? " " : "");
      if ("{[".includes(token)) depth++;
    }
    return out;
  }

  function certificateOf(pair) {
    if (pair.certificate === null || pair.certificate === undefined) return [];
    const text = spread(pair.certificate) + "\n";
    const file = `${pair.source}-${pair.target}-${pair.order ?? 1}.json`;
    return [h("h3", {}, "Certificate"),
      h("p", {}, h("a", { id: "download", download: file, href: "data:application/json;charset=utf-8," + encodeURIComponent(text) }, `Download ${file}`),
        " and check it: ", h("code", {}, `jaxbarron verify "${file}"`)),
      h("details", {}, h("summary", {}, "Show"), h("pre", { tabindex: "0" }, text))];
  }

  function showPair(pair) {
    const fact = (name, ...value) => (value.some((part) => part) ? [h("dt", {}, name), h("dd", {}, ...value)] : []);
    const formula = data.activations[pair.source];
    const constant = pair.shown.constant;
    return [h("h2", { id: "panel-title" }, `${pair.source} in ${pair.target}`),
      h("p", {}, mark(pair.verdict || ""), " ", constant || pair.verdict === "open" ? "" : level(pair.level)),
      constant ? h("p", { class: "constant" }, /^[=≤≥]/.test(constant) ? `C ${constant} ` : `C in ${constant} `, level(pair.level)) : "",
      h("dl", {},
        fact("as stored", pair.shown.digits),
        fact("gain", pair.shown.gain === "-" ? "" : `${pair.shown.gain} times: what the paper's kernel costs, over the sharp constant`),
        fact("order p", pair.order === null || pair.order === undefined ? "" : String(pair.order)),
        fact("theorem", pair.theorem || ""),
        fact("reason", pair.reason || ""),
        fact(pair.source, formula ? h("code", {}, formula) : "")),
      routeOf(pair), sharpOf(pair), kernelOf(pair), witnessOf(pair), approximationOf(pair), certificateOf(pair)].flat();
  }

  function showActivation(name) {
    const lists = [["Embeds in", "embedded"], ["Does not embed in", "not embedded"], ["Open", "open"]];
    const block = (title, pairs, end) => (pairs.length ? [h("h3", {}, title), h("p", {}, pairs.map((pair, i) => [
      i ? ", " : "", link(pair.source, pair.target, pair[end]), pair.shown.constant ? ` ${pair.shown.constant}${pair.shown.mark}` : ""]).flat())] : []);
    const others = data.pairs.filter((pair) => pair.source !== pair.target);
    const formula = data.activations[name];
    return [h("h2", { id: "panel-title" }, name), formula ? h("p", {}, h("code", {}, formula)) : "",
      ...lists.flatMap(([title, verdict]) =>
        block(title, others.filter((p) => p.source === name && p.verdict === verdict), "target")),
      ...block("Holds the spaces of", others.filter((p) => p.target === name && p.verdict === "embedded"), "source")];
  }

  // ---------------------------------------------------------------- choosing

  function choose(ends) {
    const [source, target] = ends, pair = target === undefined ? undefined : pairOf(source, target);
    const known = ends.every((name) => names.includes(name));
    let parts = [h("h2", { id: "panel-title" }, "One pair"), h("p", {}, "Choose a cell, an arrow or two activations.")];
    if (pair) parts = showPair(pair);
    else if (known && target === undefined) parts = showActivation(source);
    else if (known) parts = [h("h2", { id: "panel-title" }, `${source} in ${target}`), h("p", {}, "This pair is not in the document.")];
    else if (source) parts.push(h("p", {}, `No such activation: ${ends.join(", ")}`));
    byId("shown").replaceChildren(...parts.filter((part) => part !== ""));
    byId("spoken").textContent = pair ? `${source} in ${target}: ${pair.verdict || "no verdict"} ${pair.shown.constant}` : "";
    if (known && source) byId("source").value = source;
    if (known && target !== undefined) byId("target").value = target;

    const route = pair ? [source, ...(pair.route || []).map((edge) => edge.target)] : [];
    const onRoute = (a, b) => route.some((name, i) => name === a && route[i + 1] === b) || (a === source && b === target);
    const drawn = new Set();
    let some = false;
    for (const arc of document.querySelectorAll("#graph .arc")) {
      const { source: a, target: b } = arc.dataset;
      drawn.add(address(a, b));
      const chosen = target === undefined ? a === source || b === source : onRoute(a, b);
      arc.classList.toggle("chosen", chosen);
      some ||= chosen;
    }
    byId("graph").classList.toggle("some-chosen", some);
    const implied = route.slice(1).map((b, i) => [route[i], b]).filter(([a, b]) => a !== b && !drawn.has(address(a, b)));
    byId("implied").replaceChildren(...implied.map(([a, b]) => overlay(a, b)));
    for (const node of document.querySelectorAll("#graph .node")) {
      node.classList.toggle("chosen", [...ends, ...route].includes(node.dataset.name));
    }
    for (const cell of document.querySelectorAll("#matrix td a.chosen")) cell.classList.remove("chosen");
    const cell = pair && cells.get(address(source, target));
    if (cell) { cell.classList.add("chosen"); rove(cell); }
  }

  /** An edge of the route that the picture leaves out, since others imply it. */
  function overlay(source, target) {
    const place = (name) => {
      const node = [...document.querySelectorAll("#graph .node")].find((one) => one.dataset.name === name);
      const box = node.closest("g").querySelector("rect").getBBox(), text = node.getBBox();
      return { left: box.x, right: box.x + box.width, middle: text.y + text.height / 2 };
    };
    const a = place(source), b = place(target), forward = b.left > a.right;
    const end = forward ? b.left - 1 : b.right + 1;
    const bend = forward ? (a.right + end) / 2 : Math.max(a.right, end) + 30;
    const d = `M${a.right} ${a.middle}C${bend} ${a.middle} ${bend} ${b.middle} ${end} ${b.middle}`;
    return s("path", { class: "line", d, "marker-end": "url(#head)" });
  }

  function ends() {
    try {
      return location.hash.slice(1).split("/").map(decodeURIComponent);
    } catch {
      return [location.hash.slice(1)]; // a stray percent sign
    }
  }

  // ---------------------------------------------------------------- the matrix by keyboard

  const cells = new Map();
  let current = null;
  function rove(cell) {
    if (current) current.tabIndex = -1;
    (current = cell).tabIndex = 0;
  }
  const matrix = byId("matrix");
  for (const cell of matrix.querySelectorAll("td a")) {
    cell.tabIndex = -1;
    cells.set(address(...cell.getAttribute("href").slice(1).split("/").map(decodeURIComponent)), cell);
  }
  if (cells.size) rove(cells.values().next().value);
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  matrix.addEventListener("keydown", (event) => {
    const move = moves[event.key], here = event.target.closest("td");
    if (!move || !here) return;
    event.preventDefault();
    let [row, column] = [here.parentNode.rowIndex + move[0], here.cellIndex + move[1]];
    while (matrix.rows[row]?.cells[column]) {
      const cell = matrix.rows[row].cells[column].querySelector("td a");
      if (cell) { rove(cell); cell.focus(); return; }
      [row, column] = [row + move[0], column + move[1]];
    }
  });

  // Their ids serve readers without scripts; here they would make the page jump past the panel.
  for (const target of document.querySelectorAll("#list tr[id], #matrix th[id]")) target.removeAttribute("id");
  document.documentElement.classList.add("scripting");
  for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
  byId("chooser").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["source", "target"]) {
    byId(id).addEventListener("change", () => { location.hash = address(byId("source").value, byId("target").value); });
  }
  function follow() {
    choose(ends());
    if (location.hash.length < 2) return;
    const box = byId("panel").getBoundingClientRect();
    if (box.top > window.innerHeight - 120 || box.bottom < 120) byId("panel").scrollIntoView();
    byId("panel").scrollTop = 0;
  }
  window.addEventListener("hashchange", follow);
  follow();
})();
