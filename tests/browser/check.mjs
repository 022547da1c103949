// Opens one report.html from disk in chromium and uses it as a reader does: looks at every figure, sorts a table, filters
// the verdicts, points at a line, zooms and shows all again. Any message on the console is a failure.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const page_file = process.argv[2];
const context = await chromium.launchPersistentContext(process.env.PROFILE, {
  executablePath: process.env.CHROMIUM,
  headless: true,
  viewport: { width: 1100, height: 800 },
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const page = context.pages()[0] ?? (await context.newPage());
const said = [];
page.on("console", (message) => said.push(message.text()));
page.on("pageerror", (error) => said.push(String(error)));
page.on("request", (request) => {
  if (!request.url().startsWith("file:")) said.push("a request to " + request.url());
});
await page.goto(pathToFileURL(page_file).href);

const text = (selector) => page.locator(selector).allTextContents();
const done = [];

// Figures are there to be seen, and none has a caption without words but those that say nothing.
const figures = page.locator("figure svg");
const count = await figures.count();
assert.ok(count > 0, "there are figures");
for (let i = 0; i < count; i++) {
  const box = await figures.nth(i).boundingBox();
  assert.ok(box && box.width > 200 && box.height > 100, `figure ${i + 1} has a size`);
}
done.push(`${count} figures visible`);

// A click on a head sorts by it, a second one the other way round.
const table = page.locator("table.sortable:not(.verdicts)").first();
const column = await table.locator("thead th.number").first().evaluate((head) => head.cellIndex);
const values = () => table.locator("tbody tr").evaluateAll(
  (rows, at) => rows.map((row) => row.cells[at].dataset.value).filter((value) => value !== undefined).map(Number), column);
const head = table.locator("thead th").nth(column);
const ordered = (list, sign) => list.every((value, i) => i === 0 || sign * (value - list[i - 1]) >= 0);
await head.locator("button").click();
assert.equal(await head.getAttribute("aria-sort"), "ascending");
const up = await values();
assert.ok(up.length > 0 && ordered(up, 1), `ascending: ${up}`);
await head.locator("button").press("Enter");
assert.equal(await head.getAttribute("aria-sort"), "descending");
assert.ok(ordered(await values(), -1), "descending");
done.push(`sorted ${up.length} rows`);

// The filter leaves rows of one experiment, or those that do not hold.
if ((await page.locator(".filter").count()) > 0) {
  const rows = page.locator("table.verdicts tbody tr");
  const shown = () => rows.evaluateAll((all) => all.filter((row) => row.offsetHeight > 0).length);
  const all = await rows.count();
  const failing = await page.locator("table.verdicts tbody tr[data-verdict=fails]").count();
  assert.equal(await shown(), all);
  await page.locator(".filter input").check();
  assert.equal(await shown(), failing);
  assert.deepEqual(await text(".filter output"), [`${failing} of ${all} rows`]);
  await page.locator(".filter input").uncheck();
  const last = await page.locator(".filter option").last().getAttribute("value");
  await page.locator(".filter select").selectOption(last);
  assert.equal(await shown(), await page.locator(`table.verdicts tr[data-experiment="${last}"]`).count());
  await page.locator(".filter select").selectOption("");
  assert.equal(await shown(), all);
  done.push(`filtered ${all} verdicts, ${failing} do not hold`);
}

// Every picture with numeric axes says values under the pointer; a drag zooms its axis, and "Show all" undoes it.
const live = page.locator("figure svg.live");
const lively = await live.count();
assert.ok(lively > 0, "there are line plots");
for (let i = 0; i < lively; i++) {
  const svg = live.nth(i);
  await svg.scrollIntoViewIfNeeded();
  const area = await svg.evaluate((element) => {
    const panel = element.querySelector(".panel[data-x]:not([data-x=names])");
    const [left, top, right, bottom] = panel.dataset.plot.split(" ").map(Number);
    const at = (x, y) => new DOMPoint(x, y).matrixTransform(element.getScreenCTM());
    const [from, to] = [at(left, top), at(right, bottom)];
    return { left: from.x, top: from.y, right: to.x, bottom: to.y };
  });
  const x = (share) => area.left + share * (area.right - area.left);
  const y = (area.top + area.bottom) / 2;
  await page.mouse.move(x(0.5), y);
  const tip = page.locator(".tip");
  assert.ok(await tip.isVisible(), `figure ${i + 1} has a tip`);
  assert.match(await tip.textContent(), /\d/, "the tip has a value");
  const drawn = () => svg.evaluate((element) => Array.from(element.querySelectorAll(".series path"), (path) => path.getAttribute("d")).join());
  const before = await drawn();
  await page.mouse.move(x(0.3), y);
  await page.mouse.down();
  await page.mouse.move(x(0.45), y + 4, { steps: 3 });
  await page.mouse.move(x(0.6), y + 4, { steps: 3 });
  await page.mouse.up();
  assert.ok(await svg.locator(".zoom-axes").first().isVisible(), "zoomed axes");
  const labels = await svg.locator(".zoom-axes text").count();
  assert.ok(labels > 1, `zoomed axes have labels: ${labels}`);
  assert.notEqual(await drawn(), before, "lines are drawn anew");
  if (i === 0 && process.env.SCREENSHOTS) {
    await page.mouse.move(x(0.5), y);
    await page.screenshot({ path: `${process.env.SCREENSHOTS}/zoomed.png` });
  }
  const button = svg.locator("xpath=../..").locator(".tools button");
  await button.click();
  assert.ok(await button.isDisabled(), "all is shown");
  assert.equal(await svg.locator(".zoom-axes").count(), 0);
  assert.equal(await svg.locator(".grid").first().isVisible(), true);
  const [first] = (await drawn()).match(/-?[\d.]+/), [was] = before.match(/-?[\d.]+/);
  assert.ok(Math.abs(Number(first) - Number(was)) < 0.2, "lines are where they were");
}
// The keyboard does what the pointer does.
await live.first().focus();
await page.keyboard.press("ArrowRight");
assert.ok(await page.locator(".tip").isVisible(), "arrows say values");
await page.keyboard.press("+");
assert.equal(await live.first().locator(".zoom-axes").count() > 0, true);
await page.keyboard.press("Escape");
assert.equal(await live.first().locator(".zoom-axes").count(), 0);
done.push(`${lively} line plots: values, zoom, reset`);

// Bars, boxes and cells say theirs.
const item = page.locator("figure svg .item").first();
if ((await item.count()) > 0) {
  await item.scrollIntoViewIfNeeded();
  await item.hover({ force: true });
  assert.match(await page.locator(".tip").textContent(), /\d/);
  done.push("bars, boxes or cells say their values");
}

// What was run can be opened.
const details = page.locator("details").first();
await details.locator("summary").click();
assert.ok((await details.locator("pre").textContent()).length > 20);
assert.ok(await details.locator("pre").isVisible());
await details.locator("summary").click();

// Narrow screens scroll inside of tables and cards, not as a whole.
await page.setViewportSize({ width: 420, height: 800 });
const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
assert.ok(wide <= 1, `the page is ${wide} px wider than a narrow screen`);
await page.setViewportSize({ width: 1100, height: 800 });

if (process.env.SCREENSHOTS) {
  await page.mouse.move(2, 2);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: `${process.env.SCREENSHOTS}/${scheme}.png`, fullPage: process.env.WHOLE === "1" });
  }
  await page.pdf({ path: `${process.env.SCREENSHOTS}/page.pdf`, format: "A4" });
}
assert.deepEqual(said, [], "nothing on the console, nothing fetched");
await context.close();
console.log(`${page_file}: ${done.join("; ")}`);
