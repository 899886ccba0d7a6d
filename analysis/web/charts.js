// Panels of lines with bands, and heat maps, drawn by echarts. Nothing here knows which figure it draws.
//
// A line: {name, style: {color, dash}, group, points: [{x, y, low, high, n, start}]}; a point without y is a gap.
// A panel: {title, lines}.
'use strict';

const INK = '#1b1f24', SOFT = '#57606a', GRID = '#e3e7eb';
const text = echarts.format.encodeHTML;

// Charts redraw when their box changes, and are disposed of with their folder (a container that is refilled).
const resizes = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const chart = echarts.getInstanceByDom(entry.target);
    if (chart && entry.contentRect.width > 0 && !printing) chart.resize();
  }
});

// Charts are vector graphics: few enough lines and cells for it, and sharp on paper, where they are scaled as they are.
let printing = false;
window.addEventListener('beforeprint', () => {
  printing = true;
  for (const svg of document.querySelectorAll('.chart svg')) {
    svg.setAttribute('viewBox', `0 0 ${svg.getAttribute('width')} ${svg.getAttribute('height')}`);
  }
});
window.addEventListener('afterprint', () => {
  printing = false;
  for (const svg of document.querySelectorAll('.chart svg')) svg.removeAttribute('viewBox');
});

function newChart(box) {
  const chart = echarts.init(box, null, {renderer: 'svg'});
  resizes.observe(box);
  return chart;
}

function clear(folder) {
  for (const box of folder.querySelectorAll('.chart')) {
    resizes.unobserve(box);
    const chart = echarts.getInstanceByDom(box);
    if (chart) chart.dispose();
  }
  folder.replaceChildren();
}

// A range of round numbers around all values and the metric's base, within its limits; bands count as far as they are
// not absurdly wide.
function valueRange(panels, {base, limits}, bands) {
  let low = base, high = base, bandLow = base, bandHigh = base;
  for (const panel of panels) {
    for (const line of panel.lines) {
      for (const p of line.points) {
        if (p.y === null) continue;
        low = Math.min(low, p.y);
        high = Math.max(high, p.y);
        if (!bands || p.low === null || p.low === undefined) continue;
        bandLow = Math.min(bandLow, p.low);
        bandHigh = Math.max(bandHigh, p.high);
      }
    }
  }
  const span = Math.max(high - low, 1e-3);
  const least = Math.max(Math.min(low, bandLow), low - span / 2);
  const most = Math.min(Math.max(high, bandHigh), high + span / 2);
  const interval = roundInterval(Math.max(most - least, span) / 6);
  const round = (value, up) => Number(((up ? Math.ceil : Math.floor)(value / interval) * interval).toPrecision(6));
  return {low: Math.max(round(least, false), limits[0]), high: Math.min(round(most, true), limits[1]), interval};
}

// The least of 1, 2, 5 times a power of ten that is not below `least`.
function roundInterval(least) {
  const unit = 10 ** Math.floor(Math.log10(least));
  return Number((unit * [1, 2, 5, 10].find((factor) => unit * factor >= least * (1 - 1e-9))).toPrecision(6));
}

function bandSeries(line) {
  const points = line.points.filter((p) => p.y !== null && p.low !== null && p.low !== undefined);
  const edge = [...points.map((p) => [p.x, p.high]), ...points.map((p) => [p.x, p.low]).reverse()];
  return {
    type: 'custom', silent: true, clip: true, z: 1, data: points.length > 1 ? [[points[0].x, points[0].y]] : [],
    renderItem: (_, api) => ({
      type: 'polygon', shape: {points: edge.map((pair) => api.coord(pair))},
      style: {fill: line.style.color, opacity: 0.16},
    }),
  };
}

// By marker, as in analysis/palette.hpp.
const SYMBOLS = [null, 'circle', 'rect', 'triangle', 'diamond', 'emptyCircle', 'emptyRect'];

// A short line shows its points; a long one shows its marker here and there, so that it is told apart in grey.
function lineSeries(line) {
  const short = line.points.length <= 12, marker = line.style.marker || 0;
  const step = short ? 1 : Math.ceil(line.points.length / 6);
  return {
    type: 'line', name: line.name, z: 2, symbol: SYMBOLS[marker] || 'circle', showSymbol: short || marker > 0, showAllSymbol: true,
    symbolSize: (_, point) => point.dataIndex % step !== 0 ? 0 : marker > 0 ? 7 : 4,
    data: line.points.map((p) => [p.x, p.y]), connectNulls: false,
    lineStyle: {color: line.style.color, width: 2, type: line.style.dash === 1 ? 'solid' : DASHES[line.style.dash]},
    itemStyle: {color: line.style.color}, emphasis: {disabled: true},
  };
}

function nearest(points, x) {
  let best = null;
  for (const p of points) {
    if (p.y !== null && (best === null || Math.abs(p.x - x) < Math.abs(best.x - x))) best = p;
  }
  return best;
}

// The lines have starts of their own, so each shows its point nearest to the pointer.
function lineTooltip(lines, metric, x) {
  const rows = lines.map((line) => ({line, p: nearest(line.points, x)})).filter((row) => row.p !== null);
  rows.sort((a, b) => a.p.y - b.p.y);
  return rows.map(({line, p}) => {
    const band = p.low === null || p.low === undefined ? '' :
        ` [${signed(p.low, metric.digits)}, ${signed(p.high, metric.digits)}]`;
    const count = p.n === undefined ? '' : `, n = ${p.n}`;
    return `<b style="color:${line.style.color}">\u25CF</b> ${text(line.name)}: <b>${signed(p.y, metric.digits)}` +
        `${metric.unit}</b>${band}<br><small>${text(layersText(line.group, p.start))}${count}</small>`;
  }).join('<br>');
}

// The least of 1, 2, 5, 10, 20 ... that passes over `count` in at most `most` steps.
function roundStep(count, most) {
  for (let unit = 1;; unit *= 10) {
    for (const step of [unit, 2 * unit, 5 * unit]) if (count / step <= most) return step;
  }
}

// The look of a second axis of x, its numbers `lift` pixels above the panel, called `name` at its left end.
const secondAxis = (name, lift) => ({
  position: 'top', splitLine: {show: false}, axisLine: {show: false, onZero: false}, name, nameLocation: 'start',
  nameGap: 8, nameTextStyle: {color: SOFT, fontSize: 11, verticalAlign: 'bottom', padding: [0, 0, lift, 0]},
  axisLabel: {color: SOFT, fontSize: 11, margin: lift},
});

// The layers above relative depths, where all lines of a panel are of models with the same number of them.
function layerAxis(panel, look) {
  const counts = unique(panel.lines.map((line) => layersOf(line.group)));
  if (look.axis !== depthAxes.relative || counts.length !== 1) return null;
  const max = look.deepest * counts[0], interval = roundStep(max, 7);
  const axis = secondAxis('layer', 8);
  axis.axisLabel.showMaxLabel = Math.abs(max / interval - Math.round(max / interval)) < 1e-6;
  return {...axis, type: 'value', min: 0, max, interval, axisTick: {show: true, length: 4, lineStyle: {color: SOFT}}};
}

function lineOption(panel, look, range) {
  const layers = layerAxis(panel, look);
  const bands = look.bands && look.metric.low ? panel.lines.map(bandSeries) : [];
  const reference = {
    type: 'line', silent: true, symbol: 'none', z: 0, data: [], animation: false,
    markLine: {silent: true, symbol: 'none', label: {show: false}, data: [{yAxis: look.metric.base}],
               lineStyle: {color: '#8c959f', type: 'solid', width: 1}},
  };
  return {
    animation: false,
    aria: {enabled: true, label: {description: `${panel.title}: ${look.metric.title}, ${counted(panel.lines.length, 'line')}`}},
    grid: {left: 50, right: 14, top: layers ? 30 : 12, bottom: 40},
    xAxis: [{
      type: 'value', name: look.axis.title, nameLocation: 'middle', nameGap: 24, nameTextStyle: {color: SOFT},
      min: 0, max: look.deepest, splitLine: {show: false}, axisLine: {onZero: false, lineStyle: {color: SOFT}},
      axisLabel: {color: INK, showMaxLabel: false, hideOverlap: true},
    }, ...(layers ? [layers] : [])],
    yAxis: {
      type: 'value', min: range.low, max: range.high, interval: range.interval, name: look.metric.title, nameLocation: 'middle', nameGap: 38,
      nameTextStyle: {color: SOFT}, axisLabel: {color: INK, formatter: (value) => String(Number(value.toPrecision(6))).replace('-', '\u2212')},
      splitLine: {lineStyle: {color: GRID}},
    },
    tooltip: {
      trigger: 'axis', confine: true, transitionDuration: 0, textStyle: {fontSize: 12, color: INK},
      formatter: (items) => lineTooltip(panel.lines, look.metric, items[0].axisValue),
    },
    series: [reference, ...bands, ...panel.lines.map(lineSeries)],
  };
}

// "n = 147", or "n = 120 to 147" where it differs between points; nothing where it is not known.
function countText(lines) {
  const counts = lines.flatMap((line) => line.points.filter((p) => p.y !== null && p.n !== undefined).map((p) => p.n));
  if (counts.length === 0) return '';
  const least = Math.min(...counts), most = Math.max(...counts);
  return least === most ? `n = ${most}` : `n = ${least} to ${most}`;
}

// The numbers of a panel's lines, as they are saved.
function lineRows(panel, look) {
  const rows = [['panel', 'line', 'model', 'first or centre layer', 'relative depth', look.metric.title, 'low', 'high', 'n']];
  for (const line of panel.lines) {
    for (const p of line.points) {
      if (p.y === null) continue;
      rows.push([panel.title, line.name, data.models[line.group.model].name, p.start, p.start / layersOf(line.group), p.y,
                 p.low, p.high, p.n]);
    }
  }
  return rows;
}

const MOST_NAMES = 8;  // on the screen; all are printed and saved
// The lines' names, at the panel: the switches that name them are elsewhere, and neither saved nor printed with it.
function lineNames(lines) {
  return element('div', {class: lines.length > MOST_NAMES ? 'lines many' : 'lines'}, ...lines.map((line) => (
      element('span', {}, swatch(line.style), element('bdi', {}, line.name)))));
}

// look: {metric, axis, bands, about}. All panels share one range of values and one of depths.
function drawPanels(folder, panels, look) {
  clear(folder);
  const range = valueRange(panels, look.metric, look.bands && look.metric.low);
  const depths = panels.flatMap((panel) => panel.lines.flatMap((line) => line.points.map((p) => p.x)));
  look.deepest = Math.max(look.axis.least, ...depths);
  for (const panel of panels) {
    const box = element('div', {class: 'chart line-chart'});
    const about = [look.about, countText(panel.lines)].filter((words) => words).join(', ');
    const node = element('div', {class: 'panel'}, element('h4', {}, panel.title), lineNames(panel.lines), box,
                         element('p', {class: 'about'}, about));
    folder.append(node);
    newChart(box).setOption(lineOption(panel, look, range));
    chartExport.attach(node, () => lineRows(panel, look));
  }
  if (panels.length === 0) folder.append(element('p', {class: 'weak'}, 'Nothing is switched on that this run holds.'));
}

// ColorBrewer's diverging maps (Apache 2.0), and cividis (CC0), which grows lighter all the way: as in analysis/palette.cpp.
const COLOR_MAPS = {
  RdBu: ['#67001F', '#B2182B', '#D6604D', '#F4A582', '#FDDBC7', '#F7F7F7', '#D1E5F0', '#92C5DE', '#4393C3', '#2166AC',
         '#053061'],
  RdYlGn: ['#A50026', '#D73027', '#F46D43', '#FDAE61', '#FEE08B', '#FFFFBF', '#D9EF8B', '#A6D96A', '#66BD63',
           '#1A9850', '#006837'],
  cividis: ['#00224E', '#083370', '#35456C', '#4F576C', '#666970', '#7D7C78', '#948E77', '#AEA371', '#C8B866', '#E5CF52',
            '#FEE838'],
};
const COLOR_NAMES = [['RdBu', 'red\u2013blue, for all eyes'], ['cividis', 'blue\u2013yellow, for all eyes and grey'],
                     ['RdYlGn', 'red\u2013green, as published']];
const HEAT_LIMIT = 0.3;  // of p - p clean, as in the published figures

// A token as a row's name: by its id where its text is part of a character, or nothing to see. The marks keep the star
// of a name that is written from right to left at its right.
function tokenName(token, id, last) {
  const visible = token.replace(/\n/g, '\u21B5').replace(/\t/g, '\u21E5').trim();
  const unreadable = id !== undefined && (token.includes('\uFFFD') || (visible !== '' && !/[^\p{C}\p{Mn}]/u.test(visible)));
  const name = unreadable ? `#${id}` : visible || '\u2423';
  return last ? `\u200E${name}\u200E*` : name;
}

function heatCells(map, clean) {
  const values = unpack(map.values), starts = map.starts.length;
  const cells = [];
  for (let i = 0; i < values.length; ++i) {
    if (values[i] === MISSING) continue;
    const p = values[i] / 10000;
    cells.push([i % starts, Math.floor(i / starts), Math.round(10000 * (p - clean)) / 10000, p]);
  }
  return cells;
}

// map: one of data.heatmaps or data.interventionMaps; clean: the answer's probability in the clean run. Returns what gives
// its numbers as a table.
function drawHeatmap(folder, map, clean, colors) {
  const ids = map.ids || [];
  const tokens = map.tokens.map((token, i) => tokenName(token, ids[i], i === map.tokens.length - 1));
  const [begin, end] = map.subject || [0, 0];
  const box = element('div', {class: 'chart', style: `height:${60 + 17 * tokens.length}px`});
  folder.append(box);
  const cells = heatCells(map, clean);
  const layers = layersOf(map), depth = (start) => String(Number((start / layers).toFixed(2)));
  const every = (most) => {
    const step = roundStep(map.starts.length, most);
    return (column) => column % step === 0;
  };
  const depths = secondAxis('depth', 4);
  Object.assign(depths.axisLabel, {interval: every(8), formatter: depth});
  const idOf = (row) => ids[row] === undefined ? '' : ` (token id ${ids[row]})`;
  const done = map.row === undefined ? ' \u2192 last' : '';  // a row says itself what is done
  const about = (cell) => `<b><bdi>${text(tokens[cell[1]])}</bdi></b>${idOf(cell[1])}${done}, ${text(layersText(map, map.starts[cell[0]]))}` +
      `<br>p = ${cell[3].toFixed(3)}, change <b>${signed(cell[2], 3)}</b>`;
  newChart(box).setOption({
    animation: false,
    aria: {enabled: true, label: {description: `Heat map of ${counted(tokens.length, 'token')} and ${counted(map.starts.length, 'start')}`}},
    grid: {left: 92, right: 8, top: 20, bottom: 40},
    xAxis: [{type: 'category', data: map.starts, name: depthAxes.layer.title, nameLocation: 'middle', nameGap: 24,
             nameTextStyle: {color: SOFT}, axisTick: {interval: every(13)}, axisLabel: {color: INK, interval: every(13)}},
            {...depths, type: 'category', data: map.starts, axisTick: {show: false}}],
    yAxis: {type: 'category', data: tokens, inverse: true, axisTick: {show: false},
            axisLabel: {interval: 0, width: 84, overflow: 'truncate', fontSize: 11,
                        color: (_, i) => i >= begin && i < end ? '#00704f' : INK}},
    visualMap: {show: false, seriesIndex: 0, min: -HEAT_LIMIT, max: HEAT_LIMIT, dimension: 2, inRange: {color: COLOR_MAPS[colors]}},
    tooltip: {confine: true, transitionDuration: 0, textStyle: {fontSize: 12, color: INK},
              formatter: (item) => about(item.value)},
    series: [{type: 'heatmap', data: cells, progressive: 0,
              itemStyle: {borderWidth: 0}, emphasis: {itemStyle: {borderColor: INK, borderWidth: 1}}},
             // Dots: beyond the colours.
             {type: 'scatter', silent: true, symbolSize: 3, itemStyle: {color: '#fff'}, z: 3,
              data: cells.filter((cell) => Math.abs(cell[2]) > HEAT_LIMIT).map((cell) => cell.slice(0, 2))}],
  });
  return () => [['token', 'token id', 'first or centre layer', 'p', 'p - p(clean)'],
                ...cells.map((cell) => [map.tokens[cell[1]], ids[cell[1]], map.starts[cell[0]], cell[3], cell[2]])];
}
