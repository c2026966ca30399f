import { appendFileSync, chmodSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openProgram } from "./program-file.ts";

const folder = mkdtempSync(join(tmpdir(), "goemu-program-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("a program file is read where it is asked to, and knows whether it was written to", () => {
  const path = join(folder, "program");
  writeFileSync(path, "0123456789");
  const program = openProgram(path);
  expect(program.size).toBe(10);
  const into = new Uint8Array(4);
  expect(program.read(into, 3)).toBe(4);
  expect(new TextDecoder().decode(into)).toBe("3456");
  expect(program.read(into, 8)).toBe(2);
  expect(program.read(into, 20)).toBe(0);
  expect(program.isUnchanged()).toBe(true);
  appendFileSync(path, "x");
  expect(program.isUnchanged()).toBe(false);
  const again = openProgram(path);
  expect(again.isUnchanged()).toBe(true);
  truncateSync(path, 2);
  expect(again.isUnchanged()).toBe(false);
  expect(again.read(into, 5)).toBe(0);
});

it("a file that took another's name is another file", () => {
  const path = join(folder, "other");
  writeFileSync(path, "old");
  const program = openProgram(path);
  rmSync(path);
  writeFileSync(path, "new");
  chmodSync(path, 0o600);
  const into = new Uint8Array(3);
  expect(program.read(into, 0)).toBe(3);
  expect(new TextDecoder().decode(into)).toBe("old");
});
