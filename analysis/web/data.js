// The page's data, decoded. `data` is what analysis/report_data.cpp wrote: see there for units and rounding.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);

const MISSING = -32768;  // of packed numbers

// Packed numbers: base64 of little-endian int16.
function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

const windowGroups = new Map(data.windows.map((group) => [`${group.model}/${group.window}`, group]));

// The curves of one model and window size: {starts, curves, ...}, or undefined.
function groupOf(model, window) {
  return windowGroups.get(`${model}/${window}`);
}

function curveOf(model, window, edge, set) {
  const group = groupOf(model, window);
  const curve = group && group.curves.find((c) => c.edge === edge && c.set === set);
  return curve && {group, curve};
}

function unique(values) {
  return [...new Set(values)];
}

const sweptModels = unique(data.windows.map((group) => group.model));
const windowSizes = unique(data.windows.map((group) => group.window)).sort((a, b) => a - b);
const wholeEdges = data.edges.map((_, i) => i).filter((i) => data.edges[i].channels === 'all' && data.edges[i].path === 'both');

// The window size nearest to the finding window that a model has.
function windowOf(model, wanted) {
  const sizes = data.windows.filter((group) => group.model === model).map((group) => group.window);
  return sizes.includes(wanted) ? wanted : Math.max(...sizes);
}

// First layer and last layer of a window, for people: "layers 3-11 of 24".
function layersText(group, start) {
  const layers = data.models[group.model].layers;
  const first = group.centred ? Math.max(0, start - Math.floor(group.window / 2)) : start;
  const end = group.centred ? start - Math.floor(group.window / 2) + group.window : start + group.window;
  const last = Math.min(layers, end) - 1;
  return first === last ? `layer ${first} of ${layers}` : `layers ${first}\u2013${last} of ${layers}`;
}

// What a window start is: its first layer, or its centre layer.
const startName = [...data.windows, ...data.interventions].some((group) => group.centred) ? 'centre layer' : 'first layer';
const layersOf = (group) => data.models[group.model].layers;

const depthAxes = {
  relative: {
    title: `Relative depth (${startName} of the window / layers)`, least: 0.01,
    of: (group, i) => group.starts[i] / layersOf(group),
  },
  layer: {title: `Window (${startName})`, least: 1, of: (group, i) => group.starts[i]},
};

// `limits`: what values can be. `low`, `high`: the band's ends.
const metrics = {
  change: {title: 'Relative change of p (%)', limits: [-100, Infinity], low: 'changeLow', high: 'changeHigh', base: 0, digits: 1, unit: ' %'},
  accuracy: {title: 'Accuracy (%)', limits: [0, 100], low: 'accuracyLow', high: 'accuracyHigh', base: 100, digits: 1, unit: ' %'},
  median: {title: 'Median relative change of p (%)', limits: [-100, Infinity], base: 0, digits: 1, unit: ' %'},
  log: {title: 'Mean ln(p / p clean)', limits: [-Infinity, Infinity], base: 0, digits: 2, unit: ''},
};

// What is rounded to zero has no sign.
function signed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : (value > 0 ? '+' : '') + text.replace('-', '\u2212');
}

const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;
