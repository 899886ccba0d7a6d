// Buttons at every chart: its picture as SVG and PNG, its numbers as CSV. Everything is made in the page; nothing is
// loaded or sent. Needs none of the other programs, which add their charts by chartExport.attach().
'use strict';

const chartExport = (() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const FONT = 'Arial, Helvetica, sans-serif';
  const LETTER = 6.2, LINE = 15, MARK = 32;  // pixels; the width of a letter of 11 pixels, at most
  const PNG_SCALE = 3;

  function node(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function save(name, blob) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  function wrapped(text, width) {
    const most = Math.max(10, Math.floor(width / LETTER)), lines = [''];
    for (const word of text.split(/\s+/)) {
      if (lines.at(-1) !== '' && lines.at(-1).length + 1 + word.length > most) lines.push('');
      lines[lines.length - 1] += (lines.at(-1) === '' ? '' : ' ') + word;
    }
    return lines;
  }

  const pictureOf = (panel) => [...panel.querySelectorAll('svg')].find((svg) => !svg.classList.contains('swatch'));

  // What the page says above the chart, and which run it is of.
  function titleOf(panel) {
    const own = panel.querySelector('h4'), about = panel.querySelector('.about');
    const run = document.querySelector('header h1');
    return [own ? own.textContent : panel.dataset.title || '', about ? about.textContent : '', run ? run.textContent : '']
        .filter((text) => text !== '');
  }

  // [{name, mark}] of the lines, as the page shows them at the panel.
  function legendOf(panel) {
    return [...panel.querySelectorAll('.lines > span')].map((entry) => ({
      name: entry.textContent.trim(), mark: entry.querySelector('svg.swatch')}));
  }

  // The chart with its titles and its legend, as an SVG that stands alone.
  function wholePicture(panel) {
    const svg = pictureOf(panel), box = svg.viewBox.baseVal, shown = svg.getBoundingClientRect();
    const hasBox = svg.hasAttribute('viewBox') && box.width > 0;
    const width = hasBox ? box.width : Number(svg.getAttribute('width')) || shown.width;
    const height = hasBox ? box.height : Number(svg.getAttribute('height')) || shown.height;
    const root = node('svg', {xmlns: SVG, 'font-family': FONT, 'font-size': 11});
    let top = 4;
    titleOf(panel).forEach((title, i) => wrapped(title, width - 12).forEach((line) => {
      top += LINE;
      root.append(node('text', {x: 6, y: top, 'font-weight': i === 0 ? 600 : 400, fill: i === 0 ? '#111' : '#555'}, line));
    }));
    top += 6;
    const inner = svg.cloneNode(true);
    for (const name of ['style', 'class']) inner.removeAttribute(name);
    for (const [key, value] of Object.entries({x: 0, y: top, width, height})) inner.setAttribute(key, value);
    root.append(inner);
    top += height + 4;
    let left = 6;
    for (const {name, mark} of legendOf(panel)) {
      const room = MARK + LETTER * name.length + 12;
      if (left > 6 && left + room > width) {
        left = 6;
        top += LINE;
      }
      if (mark) {
        const sign = mark.cloneNode(true);
        for (const [key, value] of Object.entries({x: left, y: top + 2, width: 26, height: 10})) sign.setAttribute(key, value);
        root.append(sign);
      }
      root.append(node('text', {x: left + MARK, y: top + 11}, name));
      left += room;
    }
    if (left > 6) top += LINE;
    const size = {width: Math.ceil(width), height: Math.ceil(top + 4)};
    for (const [key, value] of Object.entries(size)) root.setAttribute(key, value);
    root.setAttribute('viewBox', `0 0 ${size.width} ${size.height}`);
    root.prepend(node('rect', {...size, fill: '#fff'}));
    return {text: new XMLSerializer().serializeToString(root), ...size};
  }

  function savePng(name, picture) {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement('canvas');
      canvas.width = PNG_SCALE * picture.width;
      canvas.height = PNG_SCALE * picture.height;
      canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, blob), 'image/png');
    };
    image.src = 'data:image/svg+xml;charset=utf-8,' + encodeURIComponent(picture.text);
  }

  // Drawn charts say their numbers on hover; those are the rows.
  const SAID = /^(.*?)(?:, layer (-?\d+))?: (-?[\d.]+)(?: \[(-?[\d.]+|-?nan), (-?[\d.]+|-?nan)\])?(?:, n = (\d+))?$/;
  function saidRows(panel) {
    const rows = [['what', 'layer', 'value', 'low', 'high', 'n']];
    for (const title of pictureOf(panel).querySelectorAll('title')) {
      const said = title.textContent.replaceAll('\u2212', '-'), found = SAID.exec(said);
      rows.push(found ? found.slice(1).map((part) => part ?? '') : [said, '', '', '', '', '']);
    }
    return rows;
  }

  function csvOf(rows) {
    const cell = (value) => {
      const text = value === null || value === undefined ? '' : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(',')).join('\n') + '\n';
  }

  // A file name out of the chart's title.
  function stemOf(panel) {
    const words = titleOf(panel)[0] || 'chart';
    return words.replaceAll('\u2192', 'to').replace(/[^\p{L}\p{N}]+/gu, '_').replace(/^_+|_+$/g, '').slice(0, 60) || 'chart';
  }

  // `rows`: a function that gives the table, its head first; without it the table is what the chart says on hover.
  function attach(panel, rows = () => saidRows(panel)) {
    const actions = {
      PNG: () => savePng(`${stemOf(panel)}.png`, wholePicture(panel)),
      SVG: () => save(`${stemOf(panel)}.svg`, new Blob([wholePicture(panel).text], {type: 'image/svg+xml'})),
      CSV: () => save(`${stemOf(panel)}.csv`, new Blob([csvOf(rows())], {type: 'text/csv'})),
    };
    const bar = document.createElement('div');
    bar.className = 'export';
    for (const [kind, action] of Object.entries(actions)) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = kind;
      button.setAttribute('aria-label', `Save ${titleOf(panel)[0] || 'the chart'} as ${kind}`);
      button.addEventListener('click', action);
      bar.append(button);
    }
    panel.append(bar);
  }

  return {attach, csvOf};
})();

// Charts that the page came with.
for (const svg of document.querySelectorAll('main svg[role=img]:not(.whisker)')) {
  let panel = svg.closest('.panel');
  if (!panel) {
    panel = document.createElement('div');
    panel.dataset.title = svg.getAttribute('aria-label');
    svg.replaceWith(panel);
    panel.append(svg);
  }
  chartExport.attach(panel);
}
