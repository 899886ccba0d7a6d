// Interventions: the curves of their rows, a panel as in the figures, and the maps of rows that take tokens one by one.
'use strict';

const intervened = {
  window: null, metric: 'change', axis: 'relative', bands: true, off: new Set(),
  row: null, prompt: null, size: null, colors: 'RdBu',
};

const groupsOfRows = data.interventions;
const rowSizes = unique(groupsOfRows.map((group) => group.window)).sort((a, b) => a - b);
const rowNames = unique(groupsOfRows.flatMap((group) => group.curves.map((curve) => curve.name)));
intervened.window = rowSizes.includes(data.window) ? data.window : rowSizes.at(-1);

function rowLine(group, curve) {
  const metric = metrics[intervened.metric], axis = depthAxes[intervened.axis];
  const points = group.starts.map((start, i) => ({
    x: axis.of(group, i), y: curve[intervened.metric][i], start, n: curve.n[i],
    low: metric.low && curve[metric.low][i], high: metric.low && curve[metric.high][i],
  }));
  return points.some((p) => p.y !== null) ? {name: curve.name, style: curve, group, points} : null;
}

function rowPanels() {
  return groupsOfRows.filter((group) => group.window === intervened.window).flatMap((group) => {
    const title = data.models[group.model].name + (group.prompts && `, prompts: ${group.prompts}`);
    return unique(group.curves.map((curve) => curve.panel)).map((panel) => panelOf(title, group.curves
        .filter((curve) => curve.panel === panel && !intervened.off.has(curve.name))
        .map((curve) => rowLine(group, curve))));
  }).filter((panel) => panel.lines.length > 0);
}

// A select of a field of `intervened`; null = nothing to choose.
function rowChoice(label, field, options, draw) {
  return options.length < 2 ? null : selectBox(label, options, intervened[field], (value) => {
    intervened[field] = value;
    draw();
  });
}

function drawRowSwitches() {
  const selects = [
    rowChoice('Window (layers)', 'window', rowSizes.map((size) => [size, size]), drawRows),
    rowChoice('Show', 'metric', Object.entries(metrics).map(([key, metric]) => [key, metric.title]), drawRows),
    rowChoice('Depth as', 'axis', Object.entries(depthAxes).map(([key, axis]) => [key, axis.title]), drawRows),
    checkBox('95 % bands', intervened.bands, (on) => {
      intervened.bands = on;
      drawRows();
    }),
  ];
  document.getElementById('row-switches').replaceChildren(
      element('div', {class: 'selects'}, ...selects.filter((node) => node !== null)),
      rowNames.length < 2 ? '' : chips('Rows', rowNames.map((name) => ({key: name, name})), intervened.off, (redo) => {
        if (redo === true) drawRowSwitches();
        drawRows();
      }));
}

function drawRows() {
  const folder = document.getElementById('row-panels'), panels = rowPanels();
  drawPanels(folder, panels, {metric: metrics[intervened.metric], axis: depthAxes[intervened.axis], bands: intervened.bands,
                              about: `window of ${counted(intervened.window, 'layer')}`});
}

const mapsOfRow = () => data.interventionMaps.filter((map) => map.row === intervened.row);
const mapsOfRowAndPrompt = () => mapsOfRow().filter((map) => map.prompt === intervened.prompt);

// Keeps the field's value if it is still among the options, else takes the first of them.
function settle(field, values) {
  if (!values.includes(intervened[field])) intervened[field] = values[0];
  return values;
}

function drawRowMaps() {
  const rows = settle('row', unique(data.interventionMaps.map((map) => map.row)));
  const prompts = settle('prompt', unique(mapsOfRow().map((map) => map.prompt)));
  const sizes = unique(mapsOfRowAndPrompt().map((map) => map.window)).sort((a, b) => a - b);
  if (intervened.size === null && sizes.includes(data.window)) intervened.size = data.window;
  settle('size', sizes);
  const maps = mapsOfRowAndPrompt().filter((map) => map.window === intervened.size);
  const name = (i) => `${data.prompts[i].id}  ${data.prompts[i].text} \u2026${data.prompts[i].answer}`;
  const selects = [
    rowChoice('Row', 'row', rows.map((row) => [row, row]), drawRowMaps),
    rowChoice('Prompt', 'prompt', prompts.map((i) => [i, name(i)]), drawRowMaps),
    rowChoice('Window (layers)', 'size', sizes.map((size) => [size, size]), drawRowMaps),
    rowChoice('Colours', 'colors', COLOR_NAMES, drawRowMaps),
    scale(maps, intervened.colors),
  ];
  document.getElementById('row-map-switches').replaceChildren(
      element('div', {class: 'selects'}, ...selects.filter((node) => node !== null)),
      sentence(data.prompts[intervened.prompt]));
  const folder = document.getElementById('row-maps');
  clear(folder);
  for (const map of maps) drawMapPanel(folder, map, intervened.colors);
}

if (groupsOfRows.length > 0) {
  drawRowSwitches();
  drawRows();
}
if (data.interventionMaps.length > 0) drawRowMaps();
document.documentElement.dataset.ready = 'true';
