"use strict";
(() => {
  {% include "tables.js" +%}
  const data = JSON.parse(document.getElementById("data").textContent);
  const COLOURS = matchMedia("(prefers-color-scheme: dark)").matches ? data.on_dark : data.colours;
  const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
  const colour = (row) => COLOURS[row % COLOURS.length];
  const dash = (row) => DASHES[Math.floor(row / COLOURS.length) % DASHES.length];

  const round = (x) => (Math.abs(x) >= 1e5 ? x.toExponential(2) : String(Number(x.toPrecision(4))));
  const large = (x) => {
    for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(x) >= size) return Number((x / size).toPrecision(3)) + unit;
    return round(x);
  };
  // choices survive a reload of the page
  const kept = {
    get: (key, otherwise) => { try { return JSON.parse(sessionStorage.getItem(location.pathname + key)) ?? otherwise; } catch { return otherwise; } },
    set: (key, value) => { try { sessionStorage.setItem(location.pathname + key, JSON.stringify(value)); } catch { /* without storage nothing is remembered */ } },
  };

  // ---- the tooltip
  const tip = byId("tip");
  function showTip(event, title, lines) {
    tip.replaceChildren(make("b", {}, title), ...lines.map(([tint, text]) => {
      const mark = make("i");
      mark.style.background = tint;
      return make("div", {}, mark, text);
    }));
    tip.style.display = "block";
    const box = tip.getBoundingClientRect();
    const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 16 : event.clientX + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - box.height - 4))}px`;
  }
  const hideTip = () => { tip.style.display = "none"; };

  // ---- axes
  function ticks(low, high, wanted, least = 0) {
    const raw = Math.max(least, (high - low) / wanted || 1);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= raw);
    const found = [];
    for (let x = Math.ceil(low / step) * step; x <= high + step * 1e-9; x += step) found.push(Number(x.toPrecision(12)));
    return found;
  }
  const decades = (low, high) => {
    const found = [];
    for (let p = Math.ceil(Math.log10(low) - 1e-9); 10 ** p <= high * 1.000001; p++) found.push(10 ** p);
    return found.length > 1 ? found : [low, Math.sqrt(low * high), high].map((x) => Number(x.toPrecision(2)));
  };
  function frame(host, xs, ys, xName, yName, xLog, yLog) {
    const width = Math.max(300, Math.min(host.clientWidth || 900, 1150)), height = width < 560 ? 280 : 380;
    const edge = { left: 58, right: 16, top: 26, bottom: 42 };
    const span = (values, log) => {
      let [low, high] = [Math.min(...values), Math.max(...values)];
      if (log) return low === high ? [low / 1.5, high * 1.5] : [low * (low / high) ** .04, high * (high / low) ** .04];
      const margin = (high - low) * .05 || Math.abs(high) * .05 || 1;
      return [low - margin, high + margin];
    };
    const [x0, x1] = span(xs, xLog), [y0, y1] = span(ys, yLog);
    const place = (v, low, high, log) => log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    const x = (v) => edge.left + place(v, x0, x1, xLog) * (width - edge.left - edge.right);
    const y = (v) => height - edge.bottom - place(v, y0, y1, yLog) * (height - edge.top - edge.bottom);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${yName} by ${xName}` });
    for (const v of yLog ? decades(y0, y1) : ticks(y0, y1, 6))
      svg.append(make("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(v), y2: y(v) }), make("text", { x: edge.left - 8, y: y(v) + 4, "text-anchor": "end" }, large(v)));
    for (const v of xLog ? decades(x0, x1) : ticks(x0, x1, width < 560 ? 4 : 8, 1))
      svg.append(make("text", { x: x(v), y: height - edge.bottom + 18, "text-anchor": "middle" }, large(v)));
    svg.append(make("text", { x: (edge.left + width - edge.right) / 2, y: height - 6, "text-anchor": "middle" }, xName), make("text", { x: 8, y: 16 }, yName));
    host.replaceChildren(svg);
    return { svg, x, y, width, height, edge };
  }

  // ---- curves
  const panelBox = byId("panel"), metricBox = byId("metric"), bandBox = byId("band"), logBox = byId("log"), lateBox = byId("late");
  data.panels.forEach((name, index) => panelBox.append(make("option", { value: index }, name)));
  const hidden = new Set(kept.get("hidden", []));
  const FIRST_SHOWN = 16;
  if (kept.get("hidden", null) === null && data.rows.length > FIRST_SHOWN)
    data.rows.slice(FIRST_SHOWN).forEach((name) => hidden.add(name));
  function offerMetrics() {
    const there = new Set(data.groups.filter((g) => g.panel === Number(panelBox.value)).flatMap((g) => Object.keys(g.curves)));
    const before = metricBox.value;
    metricBox.replaceChildren(...Object.entries(data.sections)
      .map(([label, names]) => [label, names.filter((name) => there.has(name))]).filter(([, names]) => names.length)
      .map(([label, names]) => make("optgroup", { label }, ...names.map((name) => make("option", { value: name }, name)))));
    if (there.has(before)) metricBox.value = before;
  }
  function lines() {
    const metric = metricBox.value;
    return data.groups.filter((g) => g.panel === Number(panelBox.value) && g.curves[metric])
      .map((g) => {
        const [epochs, means, stds] = g.curves[metric];
        const from = lateBox.checked ? epochs.findIndex((e) => e >= (epochs.at(-1) + 1) / 2) : 0;
        return { row: g.row, n: g.n, epochs: epochs.slice(from), means: means.slice(from), stds: stds?.slice(from) };
      });
  }
  function drawCurves() {
    const host = byId("chart"), name = metricBox.value;
    const every = lines(), shown = every.filter((l) => !hidden.has(data.rows[l.row]));
    drawLegend(every);
    const log = logBox.checked && shown.every((l) => l.means.every((m) => m > 0));
    if (!shown.length) { host.replaceChildren(make("p", {}, every.length ? "No method is selected." : "Nothing to plot yet.")); return; }
    const floor = log ? Math.min(...shown.flatMap((l) => l.means)) / 1.05 : -Infinity;
    const band = (l, i, sign) => Math.max(floor, l.means[i] + sign * (l.stds?.[i] ?? 0));
    const withBand = bandBox.checked;
    const ys = shown.flatMap((l) => l.means.flatMap((m, i) => withBand && l.stds ? [band(l, i, 1), band(l, i, -1)] : [m]));
    const axes = frame(host, shown.flatMap((l) => [l.epochs[0], l.epochs.at(-1)]), ys, "epoch", name, false, log);
    for (const l of shown) {
      const at = (value) => l.epochs.map((e, i) => `${axes.x(e).toFixed(1)} ${axes.y(value(i)).toFixed(1)}`);
      if (withBand && l.stds)
        axes.svg.append(make("path", { class: "band", fill: colour(l.row), d: `M${at((i) => band(l, i, 1)).join("L")}L${at((i) => band(l, i, -1)).reverse().join("L")}Z` }));
    }
    for (const l of shown) {
      const points = l.epochs.map((e, i) => `${axes.x(e).toFixed(1)} ${axes.y(l.means[i]).toFixed(1)}`);
      if (points.length === 1) axes.svg.append(make("circle", { cx: axes.x(l.epochs[0]), cy: axes.y(l.means[0]), r: 4, fill: colour(l.row) }));
      axes.svg.append(make("path", { class: "line", "data-row": data.rows[l.row], stroke: colour(l.row), "stroke-dasharray": dash(l.row), d: `M${points.join("L")}` }));
    }
    const cursor = make("line", { class: "cursor", y1: axes.edge.top, y2: axes.height - axes.edge.bottom, visibility: "hidden" });
    axes.svg.append(cursor);
    const epochs = [...new Set(shown.flatMap((l) => l.epochs))];
    axes.svg.onpointermove = (event) => {
      const box = axes.svg.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width * axes.width;
      const epoch = epochs.reduce((a, b) => Math.abs(axes.x(b) - at) < Math.abs(axes.x(a) - at) ? b : a);
      cursor.setAttribute("x1", axes.x(epoch)); cursor.setAttribute("x2", axes.x(epoch)); cursor.setAttribute("visibility", "visible");
      const values = shown.map((l) => [l, l.epochs.indexOf(epoch)]).filter(([, i]) => i >= 0).sort(([a, i], [b, j]) => b.means[j] - a.means[i]);
      showTip(event, `epoch ${epoch}`, values.slice(0, 14).map(([l, i]) => [colour(l.row), `${data.rows[l.row]}: ${round(l.means[i])}${l.stds?.[i] != null ? ` ± ${round(l.stds[i])}` : ""} (${l.n})`]));
    };
    axes.svg.onpointerleave = () => { cursor.setAttribute("visibility", "hidden"); hideTip(); };
  }
  function drawLegend(every) {
    byId("legend").replaceChildren(...every.map((l) => {
      const name = data.rows[l.row], on = !hidden.has(name);
      const sample = make("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, make("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: colour(l.row), "stroke-width": 3, "stroke-dasharray": dash(l.row) }));
      const button = make("button", { type: "button", "aria-pressed": on, "data-row": name }, sample, name);
      button.onclick = () => { on ? hidden.add(name) : hidden.delete(name); kept.set("hidden", [...hidden]); drawCurves(); drawCost(); [...byId("legend").children].find((b) => b.dataset.row === name)?.focus(); };
      return button;
    }));
  }
  byId("legend-all").onclick = (event) => {
    if (event.target.dataset.all === undefined) return;
    data.rows.forEach((name) => event.target.dataset.all ? hidden.delete(name) : hidden.add(name));
    kept.set("hidden", [...hidden]); drawCurves(); drawCost();
  };

  // ---- accuracy against cost
  const costBox = byId("cost-key");
  for (const [key, label] of Object.entries(data.costs)) if (data.groups.some((g) => key in g.cost)) costBox.append(make("option", { value: key }, label));
  function drawCost() {
    const host = byId("scatter"), key = costBox.value;
    const points = data.groups.filter((g) => g.panel === Number(panelBox.value) && g.cost[key] > 0 && g.student != null && !hidden.has(data.rows[g.row]));
    if (!points.length) { host.replaceChildren(make("p", {}, "No finished run to plot.")); return; }
    const axes = frame(host, points.map((g) => g.cost[key]), points.map((g) => g.student), data.costs[key], `student accuracy, % (${data.panels[panelBox.value]})`, true, false);
    for (const g of points) {
      const dot = make("circle", { cx: axes.x(g.cost[key]), cy: axes.y(g.student), r: 6, fill: colour(g.row), stroke: "var(--card)" });
      dot.onpointermove = (event) => showTip(event, data.rows[g.row], [[colour(g.row), `${round(g.student)} %`], ["transparent", large(g.cost[key])]]);
      dot.onpointerleave = hideTip;
      axes.svg.append(dot);
      if (points.length <= 20) {
        const right = axes.x(g.cost[key]) > axes.width * .75;
        axes.svg.append(make("text", { x: axes.x(g.cost[key]) + (right ? -10 : 10), y: axes.y(g.student) + 4, "text-anchor": right ? "end" : "start" }, data.rows[g.row]));
      }
    }
  }

  // ---- single runs
  const find = byId("find"), runRows = [...byId("run-table").tBodies[0].rows];
  const texts = new Map(runRows.map((row) => [row, row.textContent.toLowerCase() + row.dataset.run.toLowerCase()]));
  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of runRows) { row.hidden = !words.every((word) => texts.get(row).includes(word)); count += !row.hidden; }
    byId("found").textContent = `${count} of ${runRows.length}`;
  }
  find.addEventListener("input", filter);
  const list = (values) => make("dl", {}, ...Object.entries(values).map(([key, value]) => make("div", {}, make("dt", {}, key), make("dd", {}, typeof value === "number" ? String(value) : value))));
  function open(name) {
    const run = data.runs[name], body = byId("details-body"), chart = make("div", { class: "chart" });
    const ended = run.status === "finished" ? "add --force to repeat a finished run" : "";
    body.replaceChildren(make("h2", {}, run.label), make("p", { class: "muted" }, `${name}: ${run.status}${run.reason ? `: ${run.reason}` : ""}`),
      ...(run.links ?? []).map(([text, href]) => make("p", {}, make("a", { href }, text))), make("h3", {}, "Command"), make("pre", { id: "command" }, run.command), make("p", { class: "muted" }, ended), chart,
      make("h3", {}, "Last epoch"), list(run.metrics), make("h3", {}, "Cost"), list({ ...(run.seconds == null ? {} : { seconds: run.seconds }), ...run.cost }),
      make("h3", {}, "Made with"), list(run.environment));
    byId("details").showModal();
    if (run.curve.length > 1) {
      const axes = frame(chart, run.curve.map(([e]) => e), run.curve.map(([, v]) => v), "epoch", "student accuracy, %", false, false);
      axes.svg.append(make("path", { class: "line", stroke: COLOURS[0], d: `M${run.curve.map(([e, v]) => `${axes.x(e).toFixed(1)} ${axes.y(v).toFixed(1)}`).join("L")}` }));
    } else chart.remove();
    byId("details").scrollTop = 0;
  }
  byId("run-table").tBodies[0].addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) open(row.dataset.run); });
  byId("details").addEventListener("click", (event) => { if (event.target === byId("details")) byId("details").close(); });

  // ---- all of it
  panelBox.value = kept.get("panel", "0");
  if (panelBox.selectedIndex < 0) panelBox.selectedIndex = 0;
  offerMetrics();
  metricBox.value = kept.get("metric", metricBox.value);
  if (metricBox.selectedIndex < 0) metricBox.selectedIndex = 0;
  panelBox.onchange = () => { kept.set("panel", panelBox.value); offerMetrics(); drawCurves(); drawCost(); };
  metricBox.onchange = () => { kept.set("metric", metricBox.value); drawCurves(); };
  bandBox.onchange = logBox.onchange = lateBox.onchange = drawCurves;
  costBox.onchange = drawCost;
  const draw = () => { drawCurves(); drawCost(); };
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
  filter();
  draw();

  if ("watched" in document.body.dataset) setInterval(() => { if (!byId("details").open) location.reload(); }, 15000);
})();
