// The package as a library: the examples of docs/library.md do what the page says, with the built package.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { compareRun } from "../fixtures/compare.ts";
import { loadFixture } from "../fixtures/programs.ts";
import { Machine, MemoryHost } from "../index.ts";
import { TestFolder } from "./testing/files.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const library = new URL("../dist/index.js", import.meta.url).href;
const page = readFileSync(`${root}docs/library.md`, "utf8");
const folder = new TestFolder();
afterAll(() => folder.remove());

/** Each example with what it prints, under the heading that it stands below. */
function examples(): [name: string, code: string, prints: string][] {
  const found = page.matchAll(/```ts\n(.*?)```\n\n```text\n(.*?)```/gs);
  return [...found].map(({ index, 1: code, 2: prints }, i) => {
    const heading =
      page
        .slice(0, index)
        .match(/^## .*$/gm)
        ?.at(-1) ?? "";
    return [`${i + 1}, ${heading.slice(3)}`, code, prints];
  });
}

describe("docs/library.md", () => {
  it("has an output below every example", () => {
    expect(examples().length).toBe(page.match(/^```ts$/gm)?.length);
    expect(examples().length).toBeGreaterThan(5);
  });

  it.each(examples())("example %s", (name, code, prints) => {
    const file = folder.file(`${name.replaceAll(/\W+/g, "-")}.mts`, code.replace('"goemu"', JSON.stringify(library)));
    const run = spawnSync(process.execPath, [file], { cwd: root, encoding: "utf8", timeout: 60_000 });
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe(prints);
  });
});

describe("Machine", () => {
  it("runs several programs side by side, each in a world of its own", async () => {
    const fixtures = ["channels", "files", "template", "json"].map((name) => loadFixture(name));
    const runs = fixtures.map(async (fixture) => {
      const host = new MemoryHost({ stdin: fixture.stdin, files: { "/tmp/.keep": "" } });
      const env = Object.entries(fixture.env).map(([name, value]) => `${name}=${value}`);
      const args = [fixture.binary, ...fixture.args];
      const machine = new Machine({
        program: readFileSync(fixture.binary),
        path: fixture.binary,
        args,
        env,
        host,
        cpus: 2,
      });
      const status = await machine.run();
      const outputs = { stdout: host.text("stdout"), stderr: host.text("stderr") };
      return compareRun(fixture, { ...outputs, status: status.kind === "exited" ? status.status : null, signal: null });
    });
    expect(await Promise.all(runs)).toEqual(fixtures.map(() => []));
  });

  it("gives a guest nothing of the host's", async () => {
    const fixture = loadFixture("args-env-exit");
    const host = new MemoryHost();
    const machine = new Machine({ program: readFileSync(fixture.binary), path: "/a", args: ["/a", "x"], host });
    expect(await machine.run()).toEqual({ kind: "exited", status: 3 });
    expect(host.text("stdout")).toBe('1 "x"\nGREETING=""\nfalse false <>\n\n');
    expect(host.text("stderr")).toBe("exiting with 3\n");
  });

  it("passes arguments and variables on as bytes", async () => {
    const fixture = loadFixture("args-env-exit");
    const host = new MemoryHost();
    const args = ["a", Uint8Array.of(0xff, 0x41)];
    const env = [Uint8Array.from([...Buffer.from("GREETING="), 0xfe])];
    await new Machine({ program: readFileSync(fixture.binary), path: "a", args, env, host }).run();
    expect(host.text("stdout")).toMatch(/^1 "\\xffA"\nGREETING="\\xfe"\n/);
  });

  it("takes signals from outside and counts what it did", async () => {
    const fixture = loadFixture("work");
    const host = new MemoryHost();
    const machine = new Machine({ program: readFileSync(fixture.binary), path: "work", host });
    machine.kill(15);
    expect(await machine.run()).toEqual({ kind: "signaled", signal: 15 });
    expect(machine.statistics()).toMatchObject({ instructions: 0, threads: 1 });
    expect(host.text("stdout")).toBe("");
  });
});
