// Drives a report in Debian's chromium: no console error, no network, quick to open, every switch works, values on
// hover, prompts and heat maps, a phone's width, paper.
//
// Usage: node check_report.mjs RUN_DIRECTORY WEB_FOLDER [SCREENSHOT_FOLDER]. Exit 0: good; 1: not; 77: no browser.
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const [run, web, pictures] = process.argv.slice(2);
// To open: a guard against a page that hangs, not a measurement; one with every kind of experiment takes 3.3 s on two slow cores.
const MOST_SECONDS = 10;
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(fs.existsSync);
let playwright;
try {
  playwright = createRequire(path.resolve(web, 'package.json'))('playwright-core');
} catch (error) {
  console.log(`skipped: ${error.message.split('\n')[0]}`);
  process.exit(77);
}
if (!browserPath) {
  console.log('skipped: chromium is not installed');
  process.exit(77);
}

const problems = [];
let checks = 0;
function check(good, what) {
  ++checks;
  if (!good) problems.push(what);
}

// What the line charts of a folder show: titles, names of lines, and all their points.
const shown = (page, folder) => page.evaluate((id) => [...document.querySelectorAll(`#${id} .panel`)].map((panel) => {
  const chart = echarts.getInstanceByDom(panel.querySelector('.chart'));
  const series = chart.getOption().series.filter((s) => s.type !== 'custom' && (s.name || s.type === 'heatmap'));
  return {title: panel.querySelector('h4').textContent, lines: series.map((s) => s.name || s.type),
          points: JSON.stringify(series.map((s) => s.data))};
}), folder);

const selectOf = (page, label) => page.locator(`#switches select[aria-label="${label}"]`);
const choose = (page, label, index) => selectOf(page, label).selectOption({index});

async function checkViews(page) {
  const views = await page.locator('button.view').evaluateAll((all) => all.map((b) => b.dataset.view));
  check(views.length >= 4, `views: ${views}`);
  check(await page.getByText('Layer depth').count() === 0, 'the depth has a second name');
  let before = '';
  for (const view of views) {
    await page.click(`button.view[data-view=${view}]`);
    const panels = await shown(page, 'panels');
    check(panels.length > 0 && panels.every((p) => p.lines.length > 0), `${view}: ${panels.length} panels`);
    check(JSON.stringify(panels) !== before, `${view} shows the same as the view before`);
    before = JSON.stringify(panels);
    if (pictures) await page.locator('#figures').screenshot({path: path.join(pictures, `view_${view}.png`)});
    for (const [label, count] of [['Window (layers)', 2], ['Show', 4], ['Depth as', 3], ['Model', 2], ['Edge', 2]]) {
      const options = await selectOf(page, label).locator('option').count();
      for (let i = 0; i < Math.min(count, options); ++i) await choose(page, label, i);
    }
  }
}

async function checkSwitches(page) {
  await page.click('button.view[data-view=models]');
  await choose(page, 'Show', 0);
  await choose(page, 'Depth as', 0);
  const first = await shown(page, 'panels');
  await choose(page, 'Window (layers)', 0);
  const other = await shown(page, 'panels');
  check(first[0].points !== other[0].points, 'another window size shows the same points');
  await choose(page, 'Show', 1);
  check((await shown(page, 'panels'))[0].points !== other[0].points, 'accuracy shows the same points as change');
  await choose(page, 'Show', 0);
  const chip = page.locator('#switches .chips[aria-label=Models] .chip').first();
  if (await chip.count() > 0) {
    const name = await chip.textContent();
    await chip.click();
    const left = await shown(page, 'panels');  // none where it was the only line
    check(!left.some((panel) => panel.lines.includes(name)), `${name} is still drawn after it was switched off`);
    await chip.click();
    check((await shown(page, 'panels'))[0].lines.includes(name), `${name} does not come back`);
  }
  const source = page.locator('.chips[aria-label=Sources] .chip').first();
  await source.click();
  check((await shown(page, 'panels')).length === first.length - 1, 'a source that is off still has its panel');
  await source.click();
}

// echarts keeps the tooltip of a chart in the chart's own box.
const tooltip = (box) => box.evaluate((chart) => [...chart.children]
    .filter((div) => div.style.visibility !== 'hidden' && !div.querySelector('svg')).map((div) => div.innerText)[0]);

async function hover(page, box, down) {
  await box.scrollIntoViewIfNeeded();
  const place = await box.boundingBox();
  await page.mouse.move(place.x + place.width * 0.5, place.y + down);
  await page.mouse.move(place.x + place.width * 0.55, place.y + down + 1);
  for (let i = 0; i < 30 && !await tooltip(box); ++i) await page.waitForTimeout(100);
  return await tooltip(box) || '';
}

async function checkHover(page) {
  const lines = await hover(page, page.locator('#panels .chart').first(), 100);
  check(/[+\u2212]?\d+\.\d %.*\[.*\]/.test(lines) && /n = \d+/.test(lines), `hover over lines says '${lines}'`);
  const map = page.locator('#maps-of-prompt .chart').first();
  if (await map.count() > 0) {
    const cell = await hover(page, map, 26);  // the first token
    check(/p = \d\.\d{3}/.test(cell), `hover over a heat map says '${cell}'`);
  }
}

async function checkPrompts(page) {
  const options = await page.locator('#prompt-list option').count();
  check(options > 1, 'the prompt list is empty');
  const first = await page.locator('#prompt-text').textContent();
  const maps = await shown(page, 'maps-of-prompt');
  check(maps.length > 0, 'the first prompt has no heat map');
  await page.getByText('next \u203A').click();
  check(await page.locator('#prompt-text').textContent() !== first, 'the next prompt is the same one');
  await page.locator('#prompt-list').selectOption({index: 0});
  check(await page.locator('#prompt-text').textContent() === first, 'choosing a prompt does not show it');
  await page.fill('#prompt-filters input[type=search]', 'no prompt has these words');
  check(await page.locator('#prompt-list option').count() === 0, 'the search keeps everything');
  await page.fill('#prompt-filters input[type=search]', '');
  check(await page.locator('#prompt-list option').count() === options, 'the list does not come back');
  if (pictures) await page.locator('#prompts').screenshot({path: path.join(pictures, 'prompts.png')});
}

async function checkInterventions(page) {
  const select = (folder, label) => page.locator(`#${folder} select[aria-label="${label}"]`);
  const first = await shown(page, 'row-panels');
  check(first.length > 0 && first.every((panel) => panel.lines.length > 0), `interventions: ${first.length} panels`);
  check(first.every((panel) => panel.lines.length <= 5), 'a panel of interventions is crowded');
  const named = await page.locator('#row-panels .panel').first().locator('.lines').textContent();
  check(first[0].lines.every((name) => named.includes(name)), `'${named}' does not name ${first[0].lines}`);
  await select('row-switches', 'Window (layers)').selectOption({index: 0});
  check((await shown(page, 'row-panels'))[0].points !== first[0].points, 'another window size shows the same rows');
  const chip = page.locator('#row-switches .chip').first();
  const name = await chip.textContent();
  await chip.click();
  check(!(await shown(page, 'row-panels')).some((panel) => panel.lines.includes(name)), `${name} is still drawn`);
  await chip.click();
  const maps = await shown(page, 'row-maps');
  check(maps.length > 0, 'no map of interventions');
  await select('row-map-switches', 'Row').selectOption({index: 1});
  check(JSON.stringify(await shown(page, 'row-maps')) !== JSON.stringify(maps), 'another row has the same maps');
  const cell = await hover(page, page.locator('#row-maps .chart').first(), 26);
  check(/p = \d\.\d{3}/.test(cell) && !cell.includes('last,'), `hover over a map of interventions says '${cell}'`);
  if (pictures) await page.locator('#interventions').screenshot({path: path.join(pictures, 'interventions.png')});
}

// Panels of lines with bands in static pictures.
async function checkLines(page, section, rows) {
  const drawn = await page.locator(`#${section} .panel > svg`).evaluateAll((all) => all.map((svg) => ({
    lines: svg.querySelectorAll('polyline').length, bands: svg.querySelectorAll('polygon').length,
    points: svg.querySelectorAll('circle title').length})));
  check(drawn.length > 0 && drawn.every((one) => one.lines > 1 && one.bands > 0 && one.points > 6), `${section}: ${JSON.stringify(drawn)}`);
  check(await page.locator(`#${section} table tr`).count() > rows, `no table in ${section}`);
  if (pictures) await page.locator(`#${section}`).screenshot({path: path.join(pictures, `${section}.png`)});
}
const checkMeanKnockouts = (page) => checkLines(page, 'mean-knockouts', 6);
const checkAttributions = (page) => checkLines(page, 'attributions', 6);

async function checkRelations(page) {
  const drawn = await page.locator('#relations svg').evaluateAll((all) => all.map((svg) => svg.querySelectorAll('title').length));
  check(drawn.length > 0 && drawn.every((titles) => titles > 0), `relations: ${JSON.stringify(drawn)}`);
  check(await page.locator('#relations table tr').count() > 3, 'no table of relations');
  if (pictures) await page.locator('#relations').screenshot({path: path.join(pictures, 'relations.png')});
}

const checkSeverings = (page) => checkLines(page, 'severings', 6);

async function checkTraces(page) {
  const drawn = await page.locator('#traces .panel svg').evaluateAll((all) => all.map((svg) => ({
    cells: svg.querySelectorAll('rect title').length,
    colours: new Set([...svg.querySelectorAll('rect')].map((rect) => rect.getAttribute('fill'))).size})));
  check(drawn.length > 0 && drawn.every((one) => one.cells > 6), `traces: ${JSON.stringify(drawn)}`);
  check(drawn.some((one) => one.colours > 10), 'maps of traces are of one colour');
  check(await page.locator('#traces table tr').count() > 6, 'no table of the largest effects');
  if (pictures) await page.locator('#traces').screenshot({path: path.join(pictures, 'traces.png')});
}

async function checkEdits(page) {
  const drawn = await page.locator('#edits .panel svg').evaluateAll((all) => all.map((svg) => ({
    values: svg.querySelectorAll('title').length,
    inside: [...svg.querySelectorAll('circle, rect')].every((mark) => {
      const box = mark.getBBox(), view = svg.viewBox.baseVal;
      return box.x >= 0 && box.y >= 0 && box.x + box.width <= view.width && box.y + box.height <= view.height;
    })})));
  check(drawn.length > 0 && drawn.length % 4 === 0 && drawn.every((one) => one.values > 0 && one.inside),
        `edits: ${JSON.stringify(drawn)}`);
  check(await page.locator('#edits table tr').count() > 3, 'no table of scores');
  const sheets = page.locator('#edits details.sheet');
  const count = await sheets.count();
  check(count > 0 && count <= 60, `${count} edit sheets`);
  const sheet = sheets.first();
  check(await sheet.evaluate((node) => node.open), 'the first sheet is folded');
  const words = await sheet.innerText();
  check(/rewrite/.test(words) && /neighbour/.test(words) && /What else moved most/.test(words) && /\u2192/.test(words),
        `a sheet says '${words.slice(0, 80)}'`);
  if (count > 1) {
    const second = sheets.nth(1);
    await second.locator('summary').click();
    check(await second.locator('table').first().isVisible(), 'a sheet does not open');
    await second.locator('summary').click();
  }
  if (pictures) await page.locator('#edits').screenshot({path: path.join(pictures, 'edits.png')});
}

// Drawn by the page's program, and written into the page; not the keys beside them.
const CHARTS = '.panels .chart svg, .panels .panel > svg';

async function checkPhone(page) {
  await page.setViewportSize({width: 390, height: 844});
  await page.waitForTimeout(300);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  check(width <= 390, `on a phone the page is ${width} pixels wide`);
  const chart = await page.locator(CHARTS).first().boundingBox();
  check(chart.width > 250 && chart.width <= 390, `on a phone a chart is ${chart.width} pixels wide`);
  if (pictures) await page.screenshot({path: path.join(pictures, 'phone.png'), fullPage: true});
  await page.setViewportSize({width: 1200, height: 900});
}

async function checkPaper(page) {
  const pdf = await page.pdf({format: 'A4', path: pictures && path.join(pictures, 'paper.pdf')});
  check(pdf.length > 50000, `printed, the page has ${pdf.length} bytes`);
  await page.evaluate(() => window.dispatchEvent(new Event('beforeprint')));
  await page.emulateMedia({media: 'print'});
  await page.setViewportSize({width: 680, height: 960});  // A4 less its margins
  const boxes = await page.locator(CHARTS).evaluateAll((all) => all.map((svg) => {
    const box = svg.getBoundingClientRect();
    const [width, height] = svg.hasAttribute('height') ? [svg.getAttribute('width'), svg.getAttribute('height')] :
        svg.getAttribute('viewBox').split(' ').slice(2);
    return {right: box.right, bent: box.height / box.width * width / height};
  }));
  check(boxes.length > 0, 'on paper there is no chart');
  check(boxes.every((box) => box.right <= 681), 'on paper charts end beyond the edge');
  check(boxes.every((box) => Math.abs(box.bent - 1) < 0.02), 'on paper charts are cut off or bent');
  for (const id of ['views', 'row-switches']) {
    check(await page.locator(`#${id}`).count() === 0 || await page.locator(`#${id}`).isHidden(), `${id} are printed`);
  }
  await page.emulateMedia({media: 'screen'});
  await page.evaluate(() => window.dispatchEvent(new Event('afterprint')));
}

async function saved(page, panel, kind) {
  const [download] = await Promise.all([page.waitForEvent('download', {timeout: 15000}),
                                        panel.locator('.export button', {hasText: kind}).click()]);
  return {name: download.suggestedFilename(), bytes: fs.readFileSync(await download.path())};
}

// Every chart can be saved as a picture, with its title and its legend, and as numbers.
async function checkExports(page) {
  const panels = page.locator(':is(.panel, [data-title]):has(> .export)');
  const counts = await page.evaluate(() => ({
    charts: document.querySelectorAll('.chart > div > svg, main svg[role=img]:not(.whisker)').length,
    bars: [...document.querySelectorAll('.export')].map((bar) => bar.children.length)}));
  check(counts.charts > 0 && counts.bars.length >= counts.charts && counts.bars.every((buttons) => buttons === 3),
        `${counts.charts} charts and buttons of ${counts.bars.length}`);
  const all = await panels.count();
  for (const i of new Set([0, all - 1])) {
    const panel = panels.nth(i);
    if (!await panel.isVisible()) continue;
    const title = await panel.evaluate((node) => (node.querySelector('h4') || {textContent: node.dataset.title}).textContent);
    const svg = await saved(page, panel, 'SVG'), text = svg.bytes.toString();
    check(svg.name.endsWith('.svg') && text.startsWith('<svg') && !/NaN|undefined/.test(text), `SVG of '${title}': ${svg.name}, ${text.slice(0, 60)}`);
    const parsed = await page.evaluate((source) => {
      const root = new DOMParser().parseFromString(source, 'image/svg+xml').documentElement;
      return {name: root.nodeName, words: root.textContent.replaceAll(/\s+/g, ''), scripts: root.querySelectorAll('script').length};
    }, text);
    check(parsed.name === 'svg' && parsed.scripts === 0 && parsed.words.includes(title.replaceAll(/\s+/g, '')), `the SVG of '${title}' has no such title`);
    const names = await panel.locator('.lines > span').allTextContents();
    check(names.every((name) => parsed.words.includes(name.replaceAll(/\s+/g, ''))), `the SVG of '${title}' does not name ${names}`);
    const png = await saved(page, panel, 'PNG');
    check(png.name.endsWith('.png') && png.bytes.subarray(1, 4).toString() === 'PNG' && png.bytes.length > 3000, `PNG of '${title}': ${png.bytes.length} bytes`);
    const csv = await saved(page, panel, 'CSV'), rows = csv.bytes.toString().trim().split('\n');
    check(csv.name.endsWith('.csv') && rows.length > 1 && rows[0].split(',').length >= 5, `CSV of '${title}': ${rows.slice(0, 2)}`);
    if (pictures) {
      fs.writeFileSync(path.join(pictures, `saved_${i}.svg`), svg.bytes);
      fs.writeFileSync(path.join(pictures, `saved_${i}.png`), png.bytes);
    }
  }
}

// Places of the page that links name and that it has not, and files that the run has not.
async function checkLinks(page) {
  const hrefs = await page.locator('a[href]').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
  const ids = await page.evaluate(() => [...document.querySelectorAll('[id]')].map((node) => node.id));
  check(hrefs.length > 10, `the page has ${hrefs.length} links`);
  for (const href of new Set(hrefs)) {
    const good = href.startsWith('#') ? ids.includes(href.slice(1)) : fs.existsSync(path.join(run, href));
    check(good, `the link ${href} leads nowhere`);
  }
}

// Axes: the layers above the relative depth are those that a point's tooltip names.
async function checkAxes(page) {
  await page.click('button.view[data-view=models]');
  await choose(page, 'Depth as', 0);
  const axes = await page.evaluate(() => [...document.querySelectorAll('#panels .chart')].map((box) => {
    const option = echarts.getInstanceByDom(box).getOption();
    return {axes: option.xAxis.map((axis) => axis.max), y: [option.yAxis[0].min, option.yAxis[0].max],
            layers: [...new Set(data.models.map((model) => model.layers))]};
  }));
  for (const {axes: [deepest, layers], layers: counts} of axes) {
    check(deepest > 0 && deepest <= 1, `relative depths reach ${deepest}`);
    if (counts.length === 1) check(Math.abs(layers - deepest * counts[0]) < 1e-9, `layers reach ${layers}`);
  }
  await choose(page, 'Show', 1);
  const accuracy = await page.evaluate(() => [...document.querySelectorAll('#panels .chart')].map(
      (box) => echarts.getInstanceByDom(box).getOption().yAxis[0]).map((axis) => [axis.min, axis.max]));
  check(accuracy.every(([low, high]) => low >= 0 && high <= 100), `accuracies reach ${JSON.stringify(accuracy)}`);
  await choose(page, 'Show', 0);
}

async function main() {
  const browser = await playwright.chromium.launch({
    executablePath: browserPath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
           '--disable-component-update', '--disable-sync'],
  });
  const page = await browser.newPage({viewport: {width: 1200, height: 900}});
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    problems.push(`a text of the data ran: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!/^(file|data|blob):/.test(request.url())) problems.push(`asks for ${request.url()}`);
  });
  let seconds = Infinity;  // the best of three, since the machine may be busy
  for (let i = 0; i < 3; ++i) {
    const start = performance.now();
    await page.goto(pathToFileURL(path.resolve(run, 'report.html')).href);
    // A page of traces or edits alone has no program.
    if (await page.locator('#data').count() > 0) await page.waitForSelector('html[data-ready=true]', {timeout: 20000});
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  check(seconds < MOST_SECONDS, `the report needs ${seconds.toFixed(2)} s to open`);
  if (pictures) await page.screenshot({path: path.join(pictures, 'page.png'), fullPage: true});
  const has = async (id) => await page.locator(`#${id}`).count() > 0;
  const ofKnockouts = await has('figures') ? [checkViews, checkAxes, checkSwitches, checkHover, checkPrompts] : [];
  const ofInterventions = await has('interventions') ? [checkInterventions] : [];
  const ofTraces = await has('traces') ? [checkTraces] : [];
  const ofSeverings = [...await has('severings') ? [checkSeverings] : [], ...await has('mean-knockouts') ? [checkMeanKnockouts] : [],
    ...await has('attributions') ? [checkAttributions] : [], ...await has('relations') ? [checkRelations] : []];
  const ofSecond = [...ofSeverings, ...await has('edits') ? [checkEdits] : []];
  check(ofKnockouts.length + ofInterventions.length + ofTraces.length + ofSecond.length > 0, 'the report shows nothing');
  for (const step of [checkLinks, ...ofKnockouts, ...ofInterventions, ...ofTraces, ...ofSecond, checkExports, checkPhone, checkPaper]) await step(page);
  await browser.close();
  console.log(`opened in ${seconds.toFixed(2)} s; ${checks} checks, ${problems.length} problems`);
  problems.forEach((problem) => console.log(problem));
  process.exit(problems.length > 0 ? 1 : 0);
}

await main();
