"use strict";
// Sorts tables on a click, and draws the curves so that they answer to mouse and touch. The page is
// complete without it.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number.parseFloat(text);
  return { text, number: /^[+-]?[\d.]/.test(text) ? number : Number.NaN };
};
const compare = (one, other) => {
  const numbers = Number.isNaN(one.number) - Number.isNaN(other.number);
  if (numbers !== 0) return numbers;
  return Number.isNaN(one.number) ? one.text.localeCompare(other.text) : one.number - other.number;
};
const sort = (table, header) => {
  const falling = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [valueOf(row, header.cellIndex), row]);
  keyed.sort(([one], [other]) => (falling ? compare(other, one) : compare(one, other)));
  body.append(...keyed.map(([, row]) => row));
};
for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}

const MARKS = {
  "reproduced": ["circle", "true", true],
  "undecided": ["diamond", "open", false],
  "not reproduced": ["x", "fails", true],
  "not run": ["circle", "ink", false],
};
const series = (plot, data, colour) => {
  // One entry for each thing that can be switched on and off: its name, colour and renderers.
  const entries = [];
  const line = (name, epochs, values, options) => {
    const source = new Bokeh.ColumnDataSource({
      data: { epoch: epochs, value: values, what: epochs.map(() => name) },
    });
    const drawn = plot.line({ field: "epoch" }, { field: "value" }, { source, ...options });
    // A pointer hits a thin line only by luck; it hits these invisible points at every epoch.
    const target = plot.scatter({ field: "epoch" }, { field: "value" }, {
      source, size: 12, fill_alpha: 0, line_alpha: 0,
    });
    lines.push(target);
    return [drawn, target];
  };
  const lines = [];
  for (const { name, values } of data.seeds) {
    const drawn = line(name, data.epochs, values, { line_color: colour("seeds"), line_width: 1 });
    entries.push([name, colour("seeds"), drawn]);
  }
  data.means.forEach(({ name, values, low, high }, place) => {
    const drawn = line(name, data.epochs, values, {
      line_color: colour("mean"), line_width: 2.5, line_dash: place ? "dashed" : "solid",
    });
    const renderers = [...drawn];
    if (low) {
      const source = new Bokeh.ColumnDataSource({ data: { epoch: data.epochs, low, high } });
      renderers.push(plot.varea({
        x: { field: "epoch" }, y1: { field: "low" }, y2: { field: "high" }, source,
        fill_color: colour("mean"), fill_alpha: 0.2,
      }));
    }
    entries.push([low ? `${name}, ± 1 SD` : name, colour("mean"), renderers]);
  });
  for (const { name, epochs, values } of data.truth) {
    const drawn = line(name, epochs, values, {
      line_color: colour("true"), line_width: 1.5, line_dash: "dashed",
    });
    entries.push([name, colour("true"), drawn]);
  }
  const column = (name) => data.reported.map((row) => row[name]);
  const renderers = line("reported", column("epoch"), column("value"), {
    line_color: colour("ink"), line_width: 1.2,
  });
  lines.pop(); // its points have a description of their own
  const judged = data.reported.filter((row) => row.tolerance !== null);
  const bands = [];
  for (const claim of new Set(judged.map((row) => row.claim))) {
    const own = judged.filter((row) => row.claim === claim);
    const rows = own.length > 1 ? own : [0.96, 1.04].map((by) => ({ ...own[0], epoch: by * own[0].epoch }));
    const source = new Bokeh.ColumnDataSource({ data: {
      epoch: rows.map((row) => row.epoch),
      low: rows.map((row) => row.value - row.tolerance),
      high: rows.map((row) => row.value + row.tolerance),
    } });
    bands.push(plot.varea({
      x: { field: "epoch" }, y1: { field: "low" }, y2: { field: "high" }, source,
      fill_color: colour("tolerance"), fill_alpha: 0.2,
    }));
    for (const edge of ["low", "high"]) {
      bands.push(plot.line({ field: "epoch" }, { field: edge }, {
        source, line_color: colour("tolerance"), line_width: 0.8,
      }));
    }
  }
  if (bands.length) entries.push(["tolerance", colour("tolerance"), bands]);
  const points = [];
  for (const [mark, [marker, name, filled]] of Object.entries(MARKS)) {
    const rows = data.reported.filter((row) => row.mark === mark);
    if (!rows.length) continue;
    const data_ = { tolerance: rows.map((row) => row.tolerance === null ? "" : `± ${row.tolerance}`) };
    for (const key of ["name", "epoch", "value", "measured", "verdict"]) {
      data_[key] = rows.map((row) => row[key]);
    }
    const drawn = plot.scatter({ field: "epoch" }, { field: "value" }, {
      source: new Bokeh.ColumnDataSource({ data: data_ }), marker, size: 9, line_width: 2,
      line_color: colour(name), fill_color: filled ? colour(name) : null,
    });
    points.push(drawn);
    renderers.push(drawn);
  }
  entries.push(["reported", colour("ink"), renderers]);
  plot.add_tools(
    new Bokeh.HoverTool({
      renderers: lines, line_policy: "nearest",
      tooltips: [["", "@what"], ["epoch", "@epoch"], [data.y, "@value{0.0000}"]],
    }),
    new Bokeh.HoverTool({
      renderers: points,
      tooltips: [
        ["", "@name"], ["reported", "@value{0.0000}"], ["tolerance", "@tolerance"],
        ["measured", "@measured"], ["verdict", "@verdict"],
      ],
    }),
  );
  return entries;
};
const draw = async (place) => {
  const data = JSON.parse(place.dataset.plot);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--fig-${name}`).trim();
  const touch = matchMedia("(pointer: coarse)").matches;
  const plot = Bokeh.Plotting.figure({
    height: 380, sizing_mode: "stretch_width", x_axis_type: "log", toolbar_location: "above",
    tools: "pan,box_zoom,wheel_zoom,reset", active_drag: touch ? null : "box_zoom",
    // A wheel scrolls the page unless its tool is chosen. Two fingers zoom.
    active_scroll: touch ? "wheel_zoom" : null,
    background_fill_color: null, border_fill_color: null, outline_line_color: null,
  });
  plot.toolbar.logo = null;
  const entries = series(plot, data, colour);
  for (const [axis, label] of [[plot.xaxis, data.x], [plot.yaxis, data.y]]) {
    axis.axis_label = label;
    axis.axis_label_text_color = axis.major_label_text_color = colour("ink");
    axis.axis_line_color = axis.major_tick_line_color = colour("ink");
    axis.minor_tick_line_color = null;
  }
  plot.xaxis.ticker = new Bokeh.FixedTicker({ ticks: data.ticks });
  plot.xaxis.formatter = new Bokeh.BasicTickFormatter();
  const [low, high] = data.least;
  // These invisible points keep the axis from zooming in until rounding looks like a difference.
  plot.scatter([1, 1], [low, high], { size: 1, fill_alpha: 0, line_alpha: 0 });
  plot.xgrid.visible = false;
  plot.ygrid.grid_line_color = colour("grid");
  place.replaceChildren();
  const target = document.createElement("div");
  target.setAttribute("role", "img");
  target.setAttribute("aria-label", `${place.dataset.name}: curves; the table below lists their values`);
  if (touch) {
    // Bokeh shows values where a pointer moves. A finger that taps does not move, so say that it did.
    // Without a view the event would not know how far the page is scrolled.
    target.addEventListener("click", (event) => {
      const { clientX, clientY } = event;
      const moved = { clientX, clientY, isPrimary: true, pointerType: "mouse", view: window };
      event.composedPath()[0].dispatchEvent(new PointerEvent("pointermove", moved));
    });
  }
  place.append(target, switches(entries));
  place.hidden = false;
  place.classList.add("drawn");
  await Bokeh.Plotting.show(plot, target);
};
const switches = (entries) => {
  const set = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = "Show";
  set.append(legend);
  for (const [name, colour, renderers] of entries) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      for (const renderer of renderers) renderer.visible = box.checked;
    });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colour;
    label.append(box, swatch, name);
    set.append(label);
  }
  return set;
};
const places = document.querySelectorAll(".live");
if (places.length) {
  Bokeh.logger.set_level("error");
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target.querySelector(".live"));
    }
  }, { rootMargin: "600px" });
  for (const place of places) near.observe(place.closest("figure"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const place of document.querySelectorAll(".live.drawn")) draw(place);
  });
}
