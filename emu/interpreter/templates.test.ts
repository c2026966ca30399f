// Records that templates make are the decoder's, for the code of whole programs.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadFixture } from "../../fixtures/programs.ts";
import { MemoryHost } from "../../host/memory/memory-host.ts";
import { Machine } from "../../syscalls/machine.ts";
import { RECORDS } from "../layout.ts";
import type { HandlerPack } from "./handlers.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { SHARED } from "./template.ts";

/** What the build made ahead of time. */
function builtPack(): HandlerPack {
  const dist = new URL("../../dist/", import.meta.url);
  const { keys, sequences, helpers, sections } = JSON.parse(readFileSync(new URL("pack.json", dist), "utf8"));
  const bytes = readFileSync(new URL("pack.bin", dist));
  const part = (name: string): Uint8Array => new Uint8Array(bytes.subarray(...(sections[name] as [number, number])));
  const names = ["core", "tables", "module", "helperModule", "fusion", "templates"] as const;
  return {
    keys,
    sequences,
    helpers,
    ...Object.fromEntries(names.map((name) => [name, part(name)])),
  } as unknown as HandlerPack;
}

/** A machine with a program that does not run, and where its functions begin. */
function load(name: string, handlerPack?: HandlerPack): { machine: Machine; addresses: number[] } {
  const path = loadFixture(name).binary;
  const machine = new Machine({ program: readFileSync(path), path, host: new MemoryHost(), handlerPack });
  return { machine, addresses: machine.symbols.functions.map(({ address }) => address) };
}

/** The records of the blocks at the starts of functions, and of those that follow each. */
function recordsOf(machine: Machine, addresses: readonly number[]): Uint8Array {
  const { code } = machine.interpreter;
  const { view, u8 } = machine.memory;
  for (const address of addresses) {
    for (let at = address, n = 0; n < 6; n++) {
      const record = code.recordAt(at);
      if (typeof record !== "number") break;
      const last = record + (u8[record + RECORD.blockRecords] - 1) * RECORD_SIZE;
      at = Number(view.getBigUint64(last + RECORD.next, true));
    }
  }
  return u8.slice(RECORDS, view.getUint32(SHARED.nextRecord, true));
}

function expectSame(found: Uint8Array, expected: Uint8Array): void {
  expect(found.length).toBe(expected.length);
  for (let at = 0; at < found.length; at += RECORD_SIZE) {
    const one = found.subarray(at, at + RECORD_SIZE);
    const other = expected.subarray(at, at + RECORD_SIZE);
    if (one.some((byte, i) => byte !== other[i]))
      expect(Buffer.from(one).toString("hex")).toBe(Buffer.from(other).toString("hex"));
  }
}

describe("records made by templates", () => {
  it.each(["work", "work-opt", "work-go1.11"])("are the decoder's where %s taught them", (name) => {
    const { machine, addresses } = load(name);
    const decoded = recordsOf(machine, addresses);
    machine.interpreter.code.flush();
    const before = machine.interpreter.code.templates.count;
    const templated = recordsOf(machine, addresses);
    expect(machine.interpreter.code.templates.count).toBe(before);
    expectSame(templated, decoded);
    expect(decoded.length / RECORD_SIZE).toBeGreaterThan(20_000);
  });

  it.each([
    "work-go1.9",
    "strings-bytes-v3",
    "json",
    "work-go1.25",
  ])("are the decoder's where a pack did, for %s", (name) => {
    expect(existsSync(new URL("../../dist/pack.bin", import.meta.url))).toBe(true);
    const pack = builtPack();
    const decoder = load(name, { ...pack, templates: new Uint8Array(0) });
    const decoded = recordsOf(decoder.machine, decoder.addresses);
    const { machine, addresses } = load(name, pack);
    const before = machine.interpreter.code.templates.count;
    const templated = recordsOf(machine, addresses);
    // What the pack covers is what is tested: nearly all.
    expect(machine.interpreter.code.templates.count - before).toBeLessThan(200);
    expectSame(templated, decoded);
  });
});
