// The figures: a view says what the panels are, what the lines are, and which switches it has.
'use strict';

const MOST_BANDS = 8;  // more of them hide each other
const PATH_STYLES = {  // as in analysis/palette.cpp
  attention: {color: '#D55E00', dash: 1}, recurrent: {color: '#0072B2', dash: 2}, both: {color: '#000000', dash: 4},
};
const CHANNEL_ORDER = ['all', 'slow', 'not-fast', 'fast', 'not-slow'];

const state = {
  view: wholeEdges.length > 0 ? 'models' : 'paths', window: data.window, metric: 'change', axis: 'relative', bands: true, set: 0,
  family: 'all', model: sweptModels[0], flow: null, target: 'last',
  off: {models: new Set(), edges: new Set(), windows: new Set(), channels: new Set(), paths: new Set()},
};

const targets = unique(wholeEdges.map((edge) => data.edges[edge].target));
if (!targets.includes(state.target)) state.target = targets[0];
const splitFlows = unique(data.edges.filter((edge) => edge.channels !== 'all').map((edge) => edge.flow));
state.flow = splitFlows[0];
// Edges that were cut on one path alone, by their ends.
const pathEnds = unique(data.edges.filter((edge) => edge.path !== 'both' && edge.channels === 'all').map((edge) => edge.ends));

function shade(i, count) {  // light to dark blue, as in analysis/palette.cpp
  const share = count < 2 ? 1 : i / (count - 1);
  const mix = [[140, 8], [190, 35], [235, 105]].map(([light, dark]) => Math.round(light + share * (dark - light)));
  return {color: `rgb(${mix.join(',')})`, dash: 1 + i % 5, marker: count < 2 ? 0 : 1 + i % 6};
}

function makeLine(name, style, model, window, edge, set = state.set) {
  const found = curveOf(model, window, edge, set);
  if (!found) return null;
  const {group, curve} = found, metric = metrics[state.metric], axis = depthAxes[state.axis];
  const points = group.starts.map((start, i) => ({
    x: axis.of(group, i), y: curve[state.metric][i], start, n: curve.n[i],
    low: metric.low && curve[metric.low][i], high: metric.low && curve[metric.high][i],
  }));
  return points.some((p) => p.y !== null) ? {name, style, group, points} : null;
}

const modelsOn = () => sweptModels.filter((m) => !state.off.models.has(m) &&
    (state.family === 'all' || data.models[m].family === state.family));
const edgesOn = () => wholeEdges.filter((e) => data.edges[e].target === state.target && !state.off.edges.has(e));
const channelsOf = (flow) => data.edges.map((_, e) => e).filter((e) => data.edges[e].flow === flow)
    .sort((a, b) => channelPlace(a) - channelPlace(b));
function channelPlace(edge) {
  const place = CHANNEL_ORDER.indexOf(data.edges[edge].channels);
  return place < 0 ? CHANNEL_ORDER.length : place;
}
const splitModels = () => modelsOn().filter((m) => data.models[m].stateSpace);
const panelOf = (title, lines) => ({title, lines: lines.filter((line) => line !== null)});
const edgeLines = (model, set) => edgesOn().map((e) =>
    makeLine(data.edges[e].source, data.edges[e], model, state.window, e, set));

const views = {
  models: {
    title: 'Across models', switches: ['window', 'target', 'family', 'set', 'edges', 'modelLines'],
    panels: () => edgesOn().map((e) => panelOf(data.edges[e].name, modelsOn().map(
        (m) => makeLine(data.models[m].name, data.models[m], m, state.window, e)))),
  },
  sources: {
    title: 'Each model', switches: ['window', 'target', 'family', 'set', 'edgeLines', 'models'],
    panels: () => modelsOn().map((m) => panelOf(data.models[m].name, edgeLines(m, state.set))),
  },
  channels: {
    title: 'Channel sets', switches: ['window', 'flow', 'family', 'set', 'channelLines', 'splitModels'],
    available: () => splitFlows.length > 0,
    panels: () => splitModels().map((m) => panelOf(data.models[m].name, channelsOf(state.flow)
        .filter((e) => !state.off.channels.has(data.edges[e].channels))
        .map((e) => makeLine(`${data.edges[e].channels} channels`, channelStyle(e), m, state.window, e)))),
  },
  paths: {
    title: 'Paths', switches: ['model', 'window', 'set', 'pathLines'],
    available: () => pathEnds.length > 0,
    note: () => `Each edge cut on attention alone, on the recurrent mixers alone and on both. Layers of ${data.models[state.model].name} `
      + `(A attention, R recurrent, B both): ${data.models[state.model].mixers}.`,
    panels: () => pathEnds.map((ends) => panelOf(ends, Object.keys(PATH_STYLES).filter((path) => !state.off.paths.has(path)).map((path) => {
      const edge = data.edges.findIndex((e) => e.ends === ends && e.path === path && e.channels === 'all');
      return edge < 0 ? null : makeLine(`${path} cut`, PATH_STYLES[path], state.model, state.window, edge);
    }))),
  },
  windows: {
    title: 'Window sizes', switches: ['model', 'target', 'set', 'edges', 'windowLines'],
    available: () => windowSizes.length > 1,
    panels: () => edgesOn().map((e) => panelOf(data.edges[e].name, windowSizes
        .filter((size) => !state.off.windows.has(size))
        .map((size) => makeLine(`window ${size}`, windowStyle(size), state.model, size, e)))),
  },
  prompts: {
    title: 'Prompt sets', switches: ['window', 'target', 'family', 'edgeLines', 'models'],
    available: () => data.sets.length > 1,
    note: () => 'Each model on each set of prompts that it was swept over.',
    panels: () => modelsOn().flatMap((m) => data.sets.map(
        (set, s) => panelOf(`${data.models[m].name}, prompts: ${set}`, edgeLines(m, s)))),
  },
};

const channelStyle = (e) => ({color: data.edges[e].channelColor, dash: data.edges[e].channelDash,
                               marker: data.edges[e].channelMarker});
const windowStyle = (size) => shade(windowSizes.indexOf(size), windowSizes.length);
const edgeItem = (e, named) => ({key: e, name: named ? data.edges[e].source : data.edges[e].name,
                                 style: named ? data.edges[e] : undefined});
const modelItem = (m, styled) => ({key: m, name: data.models[m].name, style: styled ? data.models[m] : undefined});
const inFamily = () => sweptModels.filter((m) => state.family === 'all' || data.models[m].family === state.family);
const inTarget = () => wholeEdges.filter((e) => data.edges[e].target === state.target);

// What each switch is made of; null = nothing to choose.
const switches = {
  window: () => choice('Window (layers)', 'window', windowSizes.map((size) => [size, size])),
  target: () => choice('Into', 'target', targets.map((target) => [target, target])),
  family: () => choice('Family', 'family', [['all', 'all'], ...unique(sweptModels.map((m) => data.models[m].family))
      .map((family) => [family, family])]),
  model: () => choice('Model', 'model', sweptModels.map((m) => [m, data.models[m].name])),
  flow: () => choice('Edge', 'flow', splitFlows.map((flow) => [flow, flow])),
  set: () => choice('Prompts', 'set', data.sets.map((set, s) => [s, set])),
  edges: () => legend('Sources', inTarget().map((e) => edgeItem(e, false)), state.off.edges),
  edgeLines: () => legend('Sources', inTarget().map((e) => edgeItem(e, true)), state.off.edges),
  models: () => legend('Models', inFamily().map((m) => modelItem(m, false)), state.off.models),
  splitModels: () => legend('Models', inFamily().filter((m) => data.models[m].stateSpace)
      .map((m) => modelItem(m, false)), state.off.models),
  modelLines: () => legend('Models', inFamily().map((m) => modelItem(m, true)), state.off.models),
  windowLines: () => legend('Windows', windowSizes.map((size) => (
      {key: size, name: `${size}`, style: windowStyle(size)})), state.off.windows),
  pathLines: () => legend('Cut', Object.entries(PATH_STYLES).map(([path, style]) => ({key: path, name: path, style})), state.off.paths),
  channelLines: () => legend('Channels', channelsOf(state.flow).map((e) => (
      {key: data.edges[e].channels, name: data.edges[e].channels, style: channelStyle(e)})), state.off.channels),
};

function choice(label, field, options) {
  if (options.length < 2) return null;
  return selectBox(label, options, state[field], (value) => {
    state[field] = value;
    drawFigures(true);
  });
}

// One line alone has a legend too: it names what the panels show.
function legend(label, items, off) {
  return items.length < 2 && !items.some((item) => item.style) ? null : chips(label, items, off, (redoSwitches) => drawFigures(redoSwitches === true));
}

function generalSwitches() {
  return [
    choice('Show', 'metric', Object.entries(metrics).map(([key, metric]) => [key, metric.title])),
    choice('Depth as', 'axis', Object.entries(depthAxes).map(([key, axis]) => [key, axis.title])),
    checkBox(`95 % bands (up to ${MOST_BANDS} lines)`, state.bands, (on) => {
      state.bands = on;
      drawFigures(false);
    }),
  ];
}

function drawSwitches() {
  const tabs = document.getElementById('views');
  tabs.replaceChildren(...Object.entries(views).filter(([, view]) => !view.available || view.available())
      .map(([key, view]) => element('button', {
        type: 'button', class: 'view', 'data-view': key, 'aria-pressed': String(key === state.view),
        onclick: () => {
          state.view = key;
          drawFigures(true);
        }}, view.title)));
  const own = views[state.view].switches.map((name) => switches[name]()).filter((node) => node !== null);
  const isSelect = (node) => node.classList.contains('select');
  document.getElementById('switches').replaceChildren(
      element('div', {class: 'selects'}, ...own.filter(isSelect),
              ...generalSwitches().filter((node) => node !== null)),
      ...own.filter((node) => !isSelect(node)));
}

// Under each panel: what all its lines have in common.
function aboutFigures() {
  const own = views[state.view].switches;
  return [own.includes('model') && data.models[state.model].name,
          own.includes('window') && `window of ${counted(state.window, 'layer')}`,
          own.includes('set') && data.sets.length > 0 && `prompts: ${data.sets[state.set]}`].filter((words) => words).join(', ');
}

function drawFigures(redoSwitches) {
  if (redoSwitches) drawSwitches();
  const view = views[state.view], panels = view.panels().filter((panel) => panel.lines.length > 0);
  document.getElementById('view-note').textContent = view.note ? view.note() : '';
  const lines = Math.max(0, ...panels.map((panel) => panel.lines.length));
  drawPanels(document.getElementById('panels'), panels,
             {metric: metrics[state.metric], axis: depthAxes[state.axis], bands: state.bands && lines <= MOST_BANDS,
              about: aboutFigures()});
}

if (sweptModels.length > 0 && document.getElementById('figures')) drawFigures(true);
