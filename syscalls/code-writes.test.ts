import { describe, expect, it } from "vitest";
import type { Tier } from "./machine.ts";
import type { Assembler } from "./testing/assembler.ts";
import { buildGuest, machineOf } from "./testing/guest.ts";

const AREA = 0x2000_0000;
const TIMES = 2000;
const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 0xff);

/** Puts code into a page that can be written to and executed. */
function place(a: Assembler, code: readonly number[]): void {
  a.syscall(9, AREA, 4096, 7, 0x32, -1, 0);
  for (const [i, byte] of code.entries()) a.storeByte(AREA + i, byte);
  a.mov("rbx", AREA);
}

/** A loop that stores its count beside itself, into its own page. */
const STORES = buildGuest((a) => {
  // MOV ECX, n; store: MOV [RBX + 0x800], ECX; DEC ECX; JNZ store; MOV EAX, [RBX + 0x800]; RET.
  const loop = [0x89, 0x8b, ...little(0x800, 4), 0xff, 0xc9, 0x75, 0xf6];
  place(a, [0xb9, ...little(TIMES, 4), ...loop, 0x8b, 0x83, ...little(0x800, 4), 0xc3]);
  a.bytes(0xff, 0xd3).record();
});

/** A function that is changed before each call: it returns the count. */
const PATCHES = buildGuest((a) => {
  place(a, [0xb8, 0, 0, 0, 0, 0xc3]);
  a.mov("r8", TIMES).mov("rdx", 0).label("loop");
  // MOV [RBX + 1], R8D; CALL RBX; ADD RDX, RAX; DEC R8.
  a.bytes(0x44, 0x89, 0x43, 0x01, 0xff, 0xd3, 0x48, 0x01, 0xc2, 0x49, 0xff, 0xc8).jcc("ne", "loop").record("rdx");
});

async function run(guest: typeof STORES, tier: Tier) {
  const { machine, host } = machineOf(guest, { tier, compilerThread: undefined });
  await machine.run();
  const [word] = new BigUint64Array(host.stdout.bytes.slice().buffer);
  return { word, statistics: machine.statistics() };
}

describe("writes to a page with code", () => {
  for (const tier of ["interpreter", "jit"] as const) {
    it(`beside the code leave what was made of it (${tier})`, async () => {
      const { word, statistics } = await run(STORES, tier);
      expect(word).toBe(1n);
      expect(statistics.regions + statistics.blocks).toBeLessThan(200);
    });

    it(`into the code are seen each time, and do not have it compiled each time (${tier})`, async () => {
      const { word, statistics } = await run(PATCHES, tier);
      expect(word).toBe(BigInt((TIMES * (TIMES + 1)) / 2));
      expect(statistics.regions).toBeLessThan(100);
    });
  }
});
