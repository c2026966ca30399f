// Pages outside the window: frames, swap, the window running full.
import { beforeEach, describe, expect, it } from "vitest";
import { LOW_AREA_END, PAGE_SIZE, PROT_READ, PROT_WRITE, WASM_PAGES, WINDOW_END } from "../layout.ts";
import { AddressSpace, type AddressSpaceOptions, COMPACT } from "./address-space.ts";
import { FRAME_CHUNK } from "./frames.ts";
import { GuestFault, GuestMemory } from "./guest-memory.ts";
import { MemoryError } from "./memory-error.ts";
import { OutOfFrames } from "./pages.ts";

const RW = PROT_READ | PROT_WRITE;
const HIGH = 0x7e00_0000_0000;
const GIB = 2 ** 30;

let space: AddressSpace;
let guest: GuestMemory;

function start(options: AddressSpaceOptions): void {
  space = new AddressSpace(new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES }), COMPACT, options);
  guest = new GuestMemory(space);
}

beforeEach(() => start({}));

/** Writes its number into each page, as guest code would: with room made before each. */
function fill(address: number, pages: number): void {
  for (let i = 0; i < pages; i++) {
    space.makeRoom();
    guest.writeU32(address + i * PAGE_SIZE, i + 1);
  }
}

function sum(address: number, pages: number): number {
  let total = 0;
  for (let i = 0; i < pages; i++) {
    space.makeRoom();
    total += guest.readU32(address + i * PAGE_SIZE);
  }
  return total;
}

const sumTo = (n: number): number => (n * (n + 1)) / 2;
const mapHigh = (pages: number): number =>
  space.map({ address: HIGH, length: pages * PAGE_SIZE, prot: RW, fixed: true });

describe("pages that have no frame any more", () => {
  const pages = (3 * FRAME_CHUNK) / PAGE_SIZE;

  beforeEach(() => {
    start({ frameBytes: FRAME_CHUNK });
    mapHigh(pages);
    fill(HIGH, pages);
  });

  it("come back from swap", () => {
    expect(sum(HIGH, pages)).toBe(sumTo(pages));
    fill(HIGH, pages);
    expect(sum(HIGH, pages)).toBe(sumTo(pages));
    expect(space.residentBytes).toBe(pages * PAGE_SIZE);
  });

  it("are gone when they are unmapped or discarded, and have their mapping's rights", () => {
    space.protect(HIGH, PAGE_SIZE, PROT_READ);
    expect(guest.readU32(HIGH)).toBe(1);
    expect(() => guest.writeU32(HIGH, 2)).toThrow(GuestFault);
    space.discard(HIGH, 2 * PAGE_SIZE);
    space.unmap(HIGH + 2 * PAGE_SIZE, PAGE_SIZE);
    space.makeRoom();
    expect([guest.readU32(HIGH), guest.readU32(HIGH + PAGE_SIZE)]).toEqual([0, 0]);
    expect(sum(HIGH + 3 * PAGE_SIZE, pages - 3)).toBe(sumTo(pages) - 6);
    space.unmap(HIGH, pages * PAGE_SIZE);
    expect(space.residentBytes).toBe(0);
  });

  it("move with their mapping, into the window too", () => {
    const far = space.remap(HIGH, pages * PAGE_SIZE, pages * PAGE_SIZE, true, HIGH + GIB);
    expect(sum(far, pages)).toBe(sumTo(pages));
    const near = space.remap(far, pages * PAGE_SIZE, pages * PAGE_SIZE, true, 0x2000_0000);
    expect(sum(near, pages)).toBe(sumTo(pages));
  });

  it("are more than the machine has memory for at last", () => {
    start({ frameBytes: FRAME_CHUNK, size: 2 * FRAME_CHUNK });
    space.map({ address: HIGH, length: pages * PAGE_SIZE, prot: RW, fixed: true, noReserve: true });
    expect(() => fill(HIGH, pages)).toThrow(OutOfFrames);
    expect(space.residentBytes).toBeGreaterThanOrEqual(2 * FRAME_CHUNK - PAGE_SIZE);
  });
});

describe("a full window", () => {
  /** All of the window but its reserve, in one mapping that nobody uses. */
  const fillWindow = (left: number): void => {
    const length = WINDOW_END - COMPACT.low - left;
    space.map({ address: LOW_AREA_END, length, prot: RW, fixed: true, noReserve: true });
  };

  it("lets mappings lie outside, and says so", () => {
    const said: string[] = [];
    space.onSlow = (why) => said.push(why);
    fillWindow(0x2000_0000);
    expect(space.map({ address: 0xc0_0000_0000, length: PAGE_SIZE, prot: RW })).toBe(0xc0_0000_0000);
    expect(space.map({ address: 0, length: PAGE_SIZE, prot: RW })).toBeGreaterThan(WINDOW_END);
    expect(said).toContain("outside");
  });

  it("has room for mappings while they fit", () => {
    expect(space.map({ address: 0xc0_0000_0000, length: GIB, prot: RW })).toBeLessThan(WINDOW_END);
    expect(space.map({ address: 0, length: 2 * GIB, prot: 0 })).toBeLessThan(WINDOW_END);
    expect(space.map({ address: 0, length: 100 * GIB, prot: 0 })).toBeGreaterThan(WINDOW_END);
    expect(space.map({ address: 0, length: 64 * 1024 * GIB, prot: 0, noReserve: true })).toBeGreaterThan(WINDOW_END);
    expect(() => space.map({ address: 0, length: 127 * 1024 * GIB, prot: 0 })).toThrow(MemoryError);
  });

  it("keeps pages from outside in reservations that nobody uses, until somebody does", () => {
    const reserved = 4 * FRAME_CHUNK;
    fillWindow(reserved + PAGE_SIZE);
    const at = WINDOW_END - reserved - PAGE_SIZE - 0x100_0000;
    space.unmap(at, reserved);
    space.map({ address: at, length: reserved, prot: 0, fixed: true });
    for (const vma of [...space.vmas]) if (vma.prot !== 0 && vma.start < at) expect(vma.end).toBe(at);
    space.map({ address: WINDOW_END - 0x100_0000, length: 0x100_0000, prot: RW, fixed: true, noReserve: true });
    const pages = (2 * FRAME_CHUNK) / PAGE_SIZE;
    mapHigh(pages);
    fill(HIGH, pages);
    space.protect(at, reserved, RW);
    for (let i = 0; i < reserved; i += PAGE_SIZE) expect(guest.readU32(at + i)).toBe(0);
    space.makeRoom();
    expect(space.residentBytes).toBe(pages * PAGE_SIZE);
    space.protect(at, reserved, 0);
    expect(sum(HIGH, pages)).toBe(sumTo(pages));
  });
});

it("gives tables of pages outside back with their mappings", () => {
  for (let i = 0; i < 4000; i++) {
    const address = 0x10_0000_0000 + i * 0x100_0000;
    space.map({ address, length: 0x100_0000, prot: RW, fixed: true });
    guest.writeU8(address, 1);
    space.unmap(address, 0x100_0000);
  }
  // More than the area for them holds: the rest lies in the window.
  space.map({ address: HIGH - 4000 * 0x100_0000, length: 4000 * 0x100_0000, prot: RW, fixed: true, noReserve: true });
  for (let i = 1; i <= 4000; i++) guest.writeU16(HIGH - i * 0x100_0000, i);
  for (let i = 1; i <= 4000; i++) expect(guest.readU16(HIGH - i * 0x100_0000)).toBe(i);
});
