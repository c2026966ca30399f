import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";

const directory = mkdtempSync(join(tmpdir(), "goemu-"));
afterAll(() => rmSync(directory, { recursive: true }));
const work = fixturePath("bin/work");
const cli = new URL("./goemu.ts", import.meta.url).pathname;
const goemu = (...args: string[]) =>
  spawnSync(process.execPath, [cli, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
const file = (name: string): string => join(directory, name);

describe("goemu road", () => {
  it("prints the tree on standard output, the program's own output on standard error", () => {
    const { stdout, stderr, status } = goemu("road", "--cpus", "2", work);
    expect(status).toBe(0);
    expect(stdout.split("\n")[0]).toMatch(/instructions +time +thread +M +P +G$/);
    expect(stdout).toContain("go main.work  main.go:17");
    expect(stderr.split("\n").toSorted().slice(1)).toContain("hello, world in goroutine main");
  });

  it("writes JSON and pages to files, and leaves the program's output where it is", () => {
    const json = goemu("road", "--json", "-o", file("road.json"), work);
    expect(json.stdout).toContain("hello, world in goroutine main");
    const [head, ...rest] = readFileSync(file("road.json"), "utf8").trimEnd().split("\n");
    expect((JSON.parse(head) as { lines: number }).lines).toBe(rest.length);
    goemu("road", "--html", "-o", file("road.html"), work);
    expect(readFileSync(file("road.html"), "utf8")).toMatch(/^<!doctype html>[\s\S]*main\.work[\s\S]*<\/html>\n$/);
  });

  it("passes the exit status on", () => {
    expect(goemu("road", "--depth", "1", fixturePath("bin/args-env-exit"), "7").status).toBe(
      spawnSync(fixturePath("bin/args-env-exit"), ["7"]).status,
    );
  });

  it.each([
    [["road", "--follow", "main.wrok", work], /^goemu: --follow: no function main\.wrok \(did you mean .*main\.work/],
    [["road", "--only", "(", work], /^goemu: --only: "\(" is no regular expression/],
    [["road", "--depth", "x", work], /^goemu: --depth: "x" is no number/],
    [["road", fixturePath("manifest.json")], /^goemu: .*manifest\.json/],
    [["trace", "-o", "x.txt", work], /^goemu: -o: x\.txt is neither \.json, \.html nor \.trace/],
    [["trace", "-o", "/nowhere/x.json", work], /^goemu: -o: cannot write \/nowhere\/x\.json: ENOENT/],
    [["profile", "-o", file("x"), "--format", "gif", work], /^goemu: --format: "gif" is unknown/],
  ])("says in a line what is wrong with %j", (args, message) => {
    const { stderr, status } = goemu(...args);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect([125, 126]).toContain(status);
  });
});

describe("goemu trace and profile", () => {
  it.each<[string, string[], (written: Buffer) => void]>([
    [
      "t.json",
      ["trace"],
      (written) =>
        expect((JSON.parse(written.toString()) as { traceEvents: unknown[] }).traceEvents.length).toBeGreaterThan(100),
    ],
    [
      "t.html",
      ["trace"],
      (written) => expect(written.toString()).toContain('["lane","goroutine",1,"G1 runtime.main"]'),
    ],
    ["p.pprof", ["profile"], (written) => expect([...written.subarray(0, 2)]).toEqual([0x1f, 0x8b])],
    ["p.svg", ["profile"], (written) => expect(written.toString()).toMatch(/^<\?xml[\s\S]*main\.work/)],
    [
      "p.folded",
      ["profile", "--by-goroutine"],
      (written) => expect(written.toString()).toMatch(/^main\.work;.* \d+$/m),
    ],
  ])("writes what the file's name says: %s", (name, [command, ...options], check) => {
    goemu(command, "-o", file(name), ...options, work);
    check(readFileSync(file(name)));
  });
});
