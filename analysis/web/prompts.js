// The prompt browser: one prompt at a time, with its clean answers, its own curves and its heat maps.
'use strict';

const browser = {
  at: 0, search: '', relation: 'all', onlyMaps: false, window: null, colors: 'RdBu', off: new Set(), shown: [],
};

const mapsOfPrompt = new Map();
for (const map of data.heatmaps) {
  if (!mapsOfPrompt.has(map.prompt)) mapsOfPrompt.set(map.prompt, []);
  mapsOfPrompt.get(map.prompt).push(map);
}

function matches(prompt, i) {
  const words = `${prompt.id} ${prompt.text} ${prompt.answer}`.toLowerCase();
  return (browser.relation === 'all' || prompt.relation === browser.relation) &&
      (!browser.onlyMaps || mapsOfPrompt.has(i)) && words.includes(browser.search.toLowerCase());
}

function drawList() {
  browser.shown = data.prompts.map((_, i) => i).filter((i) => matches(data.prompts[i], i));
  const list = document.getElementById('prompt-list');
  list.replaceChildren(...browser.shown.map((i) => {
    const prompt = data.prompts[i];
    const mark = mapsOfPrompt.has(i) ? ' \u25A6' : '';
    return element('option', {value: i}, `${prompt.id}  ${prompt.text} \u2026${prompt.answer}${mark}`);
  }));
  document.getElementById('prompt-count').textContent = `${browser.shown.length} of ${counted(data.prompts.length, 'prompt')}`;
  if (!browser.shown.includes(browser.at) && browser.shown.length > 0) browser.at = browser.shown[0];
  list.value = String(browser.at);
}

// The prompt with its subject marked and its answer.
function sentence(prompt) {
  const begin = prompt.text.indexOf(prompt.subject);
  const parts = prompt.subject === '' || begin < 0 ? [prompt.text] :
      [prompt.text.slice(0, begin), element('mark', {}, prompt.subject),
       prompt.text.slice(begin + prompt.subject.length)];
  return element('p', {class: 'prompt'}, element('bdi', {}, ...parts, ' \u2026', element('b', {}, prompt.answer)),
                 element('span', {class: 'weak'}, `  (prompt ${prompt.id}${prompt.relation && ', ' + prompt.relation})`));
}

function cleanTable(i) {
  const cell = (tag, value, number) => element(tag, number ? {class: 'n'} : {}, value);
  const body = element('tbody');
  data.models.forEach((model, m) => {
    const clean = data.clean[m][i];
    if (!clean) return;
    const [p, rank, top] = clean;
    body.append(element('tr', {}, cell('td', model.name), cell('td', p === null ? 'failed' : p.toFixed(4), true),
                        cell('td', rank || '', true), cell('td', element('bdi', {}, `\u201C${top}\u201D`))));
  });
  const head = element('tr', {}, cell('th', 'Model'), cell('th', 'p(answer), clean', true), cell('th', 'Rank', true),
                       cell('th', 'Likeliest token'));
  return element('details', {}, element('summary', {}, 'clean answers'),
                 element('div', {class: 'scroll'}, element('table', {}, element('thead', {}, head), body)));
}

// The changes of prompt i over the starts; empty if the page holds none.
function rowOf(entry, i) {
  entry.numbers = entry.numbers || unpack(entry.values);
  const starts = groupOf(entry.model, entry.window).starts.length;
  return entry.numbers.subarray(i * starts, (i + 1) * starts);
}

const hasCurve = (entry, i) => rowOf(entry, i).some((value) => value !== MISSING);

// A line for each model of what the knockouts did to this prompt alone.
function promptPanels(i) {
  const panels = new Map();
  for (const entry of data.promptCurves) {
    if (state.off.models.has(entry.model) || !hasCurve(entry, i)) continue;
    const group = groupOf(entry.model, entry.window), row = rowOf(entry, i);
    const points = group.starts.map((start, s) => (
        {x: depthAxes.relative.of(group, s), y: row[s] === MISSING ? null : row[s] / 10, start}));
    const edge = data.edges[entry.edge], model = data.models[entry.model];
    if (!panels.has(entry.edge)) panels.set(entry.edge, {title: edge.name, lines: []});
    panels.get(entry.edge).lines.push({name: model.name, style: model, group, points});
  }
  return [...panels.values()];
}

function heatSwitches(maps) {
  const sizes = unique(maps.map((map) => map.window)).sort((a, b) => a - b);
  if (!sizes.includes(browser.window)) browser.window = sizes.includes(data.window) ? data.window : sizes.at(-1);
  const models = unique(maps.map((map) => map.model));
  return [
    element('div', {class: 'selects'},
            selectBox('Window (layers)', [...sizes.map((size) => [size, size]), ['all', 'all']], browser.window,
                      (size) => {
                        browser.window = size;
                        drawHeatmaps();
                      }),
            selectBox('Colours', COLOR_NAMES, browser.colors,
                      (colors) => {
                        browser.colors = colors;
                        drawHeatmaps();
                      }),
            scale(maps, browser.colors)),
    models.length < 2 ? '' : chips('Models', models.map((m) => modelItem(m, false)), browser.off,
                                   (redo) => redo === true ? drawPrompt() : drawHeatmaps()),
  ];
}

// The answer's probability in the clean run of a map's prompt; null = unknown.
const cleanOf = (map) => data.clean[map.model][map.prompt] ? data.clean[map.model][map.prompt][0] : null;

// The ends say so where some map has values beyond them.
function scale(maps, name) {
  const colors = COLOR_MAPS[name].join(',');
  const changes = maps.filter((map) => cleanOf(map) !== null)
      .flatMap((map) => heatCells(map, cleanOf(map)).map((cell) => cell[2]));
  const low = changes.some((change) => change < -HEAT_LIMIT), high = changes.some((change) => change > HEAT_LIMIT);
  return element('span', {class: 'scale'}, `${low ? '\u2264 ' : ''}\u2212${HEAT_LIMIT}`,
                 element('span', {class: 'ramp', style: `background:linear-gradient(90deg,${colors})`}),
                 `${high ? '\u2265 ' : ''}+${HEAT_LIMIT}  p \u2212 p(clean)`);
}

function drawHeatmaps() {
  const maps = mapsOfPrompt.get(browser.at) || [];
  document.getElementById('map-switches').replaceChildren(...(maps.length > 0 ? heatSwitches(maps) : []));
  const folder = document.getElementById('maps-of-prompt');
  clear(folder);
  for (const map of maps) {
    if (browser.off.has(map.model) || (browser.window !== 'all' && map.window !== browser.window)) continue;
    drawMapPanel(folder, map, browser.colors);
  }
}

// Nothing where the clean probability is unknown: colours are differences from it.
function drawMapPanel(folder, map, colors) {
  const clean = cleanOf(map);
  if (clean === null) return;
  const panel = element('div', {class: 'panel'}, element('h4', {},
      `${data.models[map.model].name}, window of ${map.window}, p(clean) = ${clean.toFixed(2)}`));
  folder.append(panel);
  const rows = drawHeatmap(panel, map, clean, colors), prompt = data.prompts[map.prompt];
  panel.append(element('p', {class: 'about'}, `Prompt ${prompt.id}: ${prompt.text} \u2026${prompt.answer}. `
    + `Colour: p \u2212 p(clean), \u2212${HEAT_LIMIT} to +${HEAT_LIMIT}; a dot marks a cell beyond.`));
  chartExport.attach(panel, rows);
}

function drawPrompt() {
  const i = browser.at;
  document.getElementById('prompt-text').replaceChildren(sentence(data.prompts[i]), cleanTable(i));
  const panels = promptPanels(i);
  document.getElementById('prompt-curves-box').hidden = !data.promptCurves.some((entry) => hasCurve(entry, i));
  const models = unique(data.promptCurves.filter((entry) => hasCurve(entry, i)).map((entry) => entry.model));
  document.getElementById('prompt-models').replaceChildren(
      chips('Models', models.map((m) => modelItem(m, true)), state.off.models, () => {
        drawFigures(true);
        drawPrompt();
      }));
  drawPanels(document.getElementById('prompt-panels'), panels,
             {metric: metrics.change, axis: depthAxes.relative, bands: false,
              about: `prompt ${data.prompts[i].id}: ${data.prompts[i].text} \u2026${data.prompts[i].answer}`});
  drawHeatmaps();
}

function choosePrompt(i) {
  browser.at = i;
  document.getElementById('prompt-list').value = String(i);
  drawPrompt();
}

function step(by) {
  const place = browser.shown.indexOf(browser.at) + by;
  if (place >= 0 && place < browser.shown.length) choosePrompt(browser.shown[place]);
}

function refilter() {
  const before = browser.at;
  drawList();
  if (browser.at !== before) drawPrompt();
}

function drawFilters() {
  const relations = unique(data.prompts.map((prompt) => prompt.relation)).sort();
  const search = element('input', {type: 'search', placeholder: 'words or number', 'aria-label': 'Search prompts',
                                   oninput: (event) => {
                                     browser.search = event.target.value;
                                     refilter();
                                   }});
  const byRelation = relations.length < 2 ? '' :
      selectBox('Relation', [['all', 'all'], ...relations.map((r) => [r, r])], 'all', (relation) => {
        browser.relation = relation;
        refilter();
      });
  const withMaps = data.heatmaps.length === 0 ? '' : checkBox('with heat maps', false, (on) => {
    browser.onlyMaps = on;
    refilter();
  });
  document.getElementById('prompt-filters').replaceChildren(
      element('label', {class: 'select'}, element('span', {}, 'Search'), search), byRelation, withMaps,
      element('button', {type: 'button', onclick: () => step(-1)}, '\u2039 previous'),
      element('button', {type: 'button', onclick: () => step(1)}, 'next \u203A'),
      element('span', {id: 'prompt-count', class: 'weak'}));
}

if (data.prompts.length > 0 && document.getElementById('prompts')) {
  drawFilters();
  document.getElementById('prompt-list').addEventListener('change', (event) => {
    if (event.target.value !== '') choosePrompt(Number(event.target.value));
  });
  drawList();
  drawPrompt();
}
