// Small pieces of the page: elements, selects, and chips that switch lines on and off and are their legend.
'use strict';

const DASHES = {1: [], 2: [7, 4], 3: [2, 3], 4: [8, 3, 2, 3], 5: [8, 3, 2, 3, 2, 3]};  // by gnuplot's dash type

// element('p', {class: 'x'}, 'text', child...): texts become text nodes, never markup.
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

// options: [[value, text], ...]; values are compared as texts.
function selectBox(label, options, value, onChoice) {
  const select = element('select', {
    'aria-label': label,
    onchange: (event) => onChoice(options[event.target.selectedIndex][0]),
  });
  for (const [key, text] of options) {
    select.append(element('option', {value: key, selected: String(key) === String(value)}, text));
  }
  return element('label', {class: 'select'}, element('span', {}, label), select);
}

function checkBox(label, checked, onChange) {
  const box = element('input', {type: 'checkbox', onchange: (event) => onChange(event.target.checked)});
  box.checked = checked;
  return element('label', {class: 'check'}, box, label);
}

function swatch(style) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'swatch');
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  const look = {x1: 0, x2: 26, y1: 5, y2: 5, stroke: style.color, 'stroke-width': 2.5,
                'stroke-dasharray': DASHES[style.dash].join(' ')};
  for (const [name, value] of Object.entries(look)) line.setAttribute(name, value);
  svg.setAttribute('viewBox', '0 0 26 10');
  svg.append(line);
  if (style.marker) svg.append(markerShape(style));
  return svg;
}

// The marker in the middle of a swatch: disc, square, triangle, diamond, ring, open square.
function markerShape({marker, color}) {
  const shapes = [null, 'M9.5 5a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0', 'M10 2h6v6h-6z', 'M13 1l4 7.5h-8z', 'M13 .8l4.2 4.2l-4.2 4.2l-4.2 -4.2z'];
  const open = marker > 4;
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const look = {d: shapes[open ? marker - 4 : marker], fill: open ? '#fff' : color, stroke: color, 'stroke-width': open ? 1.5 : 0};
  for (const [name, value] of Object.entries(look)) path.setAttribute(name, value);
  return path;
}

// items: [{key, name, style?}]; `off` is the set of keys that are switched off and is changed in place.
function chips(label, items, off, onChange) {
  const box = element('div', {class: 'chips', role: 'group', 'aria-label': label}, element('span', {}, label));
  for (const item of items) {
    const chip = element('button', {type: 'button', class: 'chip', 'aria-pressed': String(!off.has(item.key))});
    if (item.style) chip.append(swatch(item.style));
    chip.append(item.name);
    chip.addEventListener('click', () => {
      if (!off.delete(item.key)) off.add(item.key);
      chip.setAttribute('aria-pressed', String(!off.has(item.key)));
      onChange();
    });
    box.append(chip);
  }
  if (items.length > 4) box.append(allButton(items, off, onChange));
  return box;
}

function allButton(items, off, onChange) {
  const anyOff = () => items.some((item) => off.has(item.key));
  return element('button', {type: 'button', class: 'all', onclick: () => {
    const show = anyOff();
    for (const item of items) show ? off.delete(item.key) : off.add(item.key);
    onChange(true);
  }}, 'all / none');
}
