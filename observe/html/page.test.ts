import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SchedulerEvents } from "../go/scheduler-events.ts";
import { Road } from "../road/road.ts";
import { loadFixture } from "../testing.ts";
import { Timeline } from "../trace/timeline.ts";
import { HtmlPage } from "./page.ts";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"];
const browser = BROWSERS.find((name) => spawnSync(name, ["--version"]).status === 0);

async function pageOf(title: string, withRoad: boolean): Promise<{ html: string; road: Road; page: HtmlPage }> {
  const { machine } = loadFixture("work");
  const scheduler = new SchedulerEvents(machine);
  const road = new Road(scheduler);
  let html = "";
  const page = new HtmlPage((text) => {
    html += text;
  }, title);
  const timeline = new Timeline(scheduler, page);
  await machine.run();
  timeline.close();
  if (withRoad) for (const node of road.nodes) page.node(node);
  page.close();
  return { html, road, page };
}

/** Opens a page, runs a script in it and returns what the script leaves as the text of a new element "result". */
function inBrowser(html: string, script: string): unknown {
  const directory = mkdtempSync(join(tmpdir(), "goemu-"));
  try {
    const file = join(directory, "page.html");
    const probe = `<script>setTimeout(() => { const e = document.createElement('pre'); e.id = 'result';
      e.textContent = JSON.stringify((() => {${script}})()); document.body.appendChild(e); }, 200);</script>`;
    writeFileSync(file, html.replace("</body>", `${probe}</body>`));
    const args = [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--window-size=1400,900",
      "--virtual-time-budget=3000",
    ];
    const { stdout } = spawnSync(browser as string, [...args, "--dump-dom", `file://${file}`], {
      encoding: "utf8",
      timeout: 60_000,
    });
    const match = /<pre id="result">([\s\S]*?)<\/pre>/.exec(stdout);
    if (match === null) throw new Error(`the page's script has failed:\n${stdout.slice(-2000)}`);
    return JSON.parse(match[1].replaceAll("&gt;", ">").replaceAll("&lt;", "<").replaceAll("&amp;", "&"));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("the page", () => {
  it("stands by itself and keeps what the program says inside its data", async () => {
    const { html, page, road } = await pageOf("a </script><b> title", true);
    expect(html).not.toMatch(/(src|href)=/);
    expect(html).not.toMatch(/https?:\/\//);
    expect(html).toContain("<title>a &lt;/script&gt;&lt;b&gt; title</title>");
    const data = html
      .slice(html.indexOf('id="data">') + 10, html.indexOf("</script><script>"))
      .trim()
      .split("\n");
    const kinds = data.map((line) => (JSON.parse(line) as [string])[0]);
    expect(kinds.filter((kind) => kind === "node")).toHaveLength(road.nodes.length);
    expect(kinds.filter((kind) => kind === "slice" || kind === "flow" || kind === "mark")).toHaveLength(page.count);
  });

  it.runIf(browser !== undefined)(
    "shows the tree and the timeline in a browser, and is zoomed and searched there",
    async () => {
      const { html, road } = await pageOf("goemu road work", true);
      const result = inBrowser(
        html,
        `const rows = () => [...document.querySelectorAll('.row')].map((r) => r.querySelector('.label').textContent);
       const search = document.getElementById('search');
       const first = rows();
       const pixels = () => {
         const c = document.getElementById('canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
         const seen = new Set();
         for (let i = 0; i < d.length; i += 4 * 7) seen.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]);
         return seen.size;
       };
       const colours = pixels();
       search.value = 'main.work'; search.dispatchEvent(new Event('input'));
       search.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
       const chosen = document.querySelector('.row.chosen .label').textContent;
       const hits = document.querySelectorAll('.row.hit').length, found = document.getElementById('found').textContent;
       document.getElementById('in').click();
       return { title: document.getElementById('title').textContent, first, colours, chosen, hits, found,
         lanes: goemu.lanes.map((l) => l.name), nodes: goemu.nodes.length };`,
      ) as Record<string, unknown> & { first: string[]; lanes: string[] };
      expect(result.title).toBe("goemu road work");
      expect(result.nodes).toBe(road.nodes.length);
      expect(result.first.slice(1, 4)).toEqual(["_rt0_amd64_linux", "_rt0_amd64", "runtime.rt0_go"]);
      expect(result.colours).toBeGreaterThan(5);
      expect(result.lanes).toEqual(expect.arrayContaining(["P0", "P1", "G1 runtime.main"]));
      expect(result.chosen).toBe("go main.work");
      expect(result.hits).toBeGreaterThan(0);
      expect(result.found).toMatch(/^\d+ lines, \d+ slices$/);
    },
  );

  it.runIf(browser !== undefined)("is a timeline alone without a road", async () => {
    const { html } = await pageOf("trace", false);
    const script = `const slices = goemu.lanes.flatMap((l) => l.slices).length;
      return { tree: getComputedStyle(document.getElementById('tree')).display, slices };`;
    const result = inBrowser(html, script) as { tree: string; slices: number };
    expect(result.tree).toBe("none");
    expect(result.slices).toBeGreaterThan(50);
  });
});
