import { beforeEach, describe, expect, it } from "vitest";
import {
  LOW_AREA,
  LOW_AREA_END,
  PAGE_SIZE,
  PERM_CODE,
  PERM_DIRTY,
  PERM_MAP,
  PERM_WRITE_SPAN,
  PROT_READ,
  PROT_WRITE,
  TASK_SIZE,
  WASM_PAGES,
  WINDOW_END,
} from "../layout.ts";
import { AddressSpace, COMPACT, FRAMES_NAME, LINUX } from "./address-space.ts";
import { GuestFault, GuestMemory } from "./guest-memory.ts";
import { MemoryError } from "./memory-error.ts";

const RW = PROT_READ | PROT_WRITE;
const AREA = 0x2000_0000;
const HIGH = 0x7e00_0000_0000;

let memory: WebAssembly.Memory;
let space: AddressSpace;
let guest: GuestMemory;

beforeEach(() => {
  memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  space = new AddressSpace(memory);
  guest = new GuestMemory(space);
});

const map = (address: number, pages: number, prot = RW): number =>
  space.map({ address, length: pages * PAGE_SIZE, prot, fixed: true });

function faultOf(action: () => void): number {
  try {
    action();
  } catch (error) {
    if (error instanceof GuestFault) return error.address;
    throw error;
  }
  throw new Error("there was no fault");
}

it("keeps its own mappings from the guest", () => {
  map(HIGH, 1);
  guest.writeU64(HIGH, 1n);
  const own = [...space.vmas].filter(({ start }) => start !== HIGH);
  expect(own).toHaveLength(1);
  expect(space.guestMapping(own[0].start)).toBeUndefined();
  expect(space.guestMapping(HIGH)?.start).toBe(HIGH);
});

describe.each([
  ["in the window", AREA],
  ["above the window", HIGH],
])("memory %s", (_where, base) => {
  it("reads zero, keeps what is written, and is zero again when it was unmapped in between", () => {
    map(base, 3);
    expect(guest.readU64(base + PAGE_SIZE)).toBe(0n);
    guest.writeU64(base + PAGE_SIZE - 4, 0x1122_3344_5566_7788n);
    expect(guest.readU64(base + PAGE_SIZE - 4)).toBe(0x1122_3344_5566_7788n);
    space.unmap(base, PAGE_SIZE);
    map(base, 1);
    expect(guest.readU64(base + PAGE_SIZE - 4)).toBe(0x1122_3344_0000_0000n);
  });

  it("faults at the first byte that is not allowed, and a refused write changes nothing", () => {
    map(base, 2);
    map(base + 2 * PAGE_SIZE, 1, PROT_READ);
    const end = base + 3 * PAGE_SIZE;
    expect(faultOf(() => guest.readBytes(end - 3, 8))).toBe(end);
    expect(faultOf(() => guest.readBytes(base - 1, 8))).toBe(base - 1);
    expect(faultOf(() => guest.writeBytes(end - PAGE_SIZE - 4, new Uint8Array(8).fill(1)))).toBe(end - PAGE_SIZE);
    expect(guest.readU32(end - PAGE_SIZE - 4)).toBe(0);
    expect(guest.accessible(base + 5, 1 << 20, PROT_READ)).toBe(3 * PAGE_SIZE - 5);
    expect(guest.accessible(base + 5, 1 << 20, PROT_WRITE)).toBe(2 * PAGE_SIZE - 5);
  });

  it("is discarded within mappings only, without changing protection", () => {
    map(base, 2);
    guest.writeU32(base, 1);
    guest.writeU32(base + PAGE_SIZE, 2);
    space.protect(base, PAGE_SIZE, PROT_READ);
    space.discard(base, PAGE_SIZE);
    expect([guest.readU32(base), guest.readU32(base + PAGE_SIZE)]).toEqual([0, 2]);
    expect(faultOf(() => guest.writeU32(base, 1))).toBe(base);
  });

  it("moves with its contents", () => {
    map(base, 2);
    guest.writeU32(base + 8, 11);
    guest.writeU32(base + PAGE_SIZE + 8, 12);
    const target = base + 64 * PAGE_SIZE;
    expect(space.remap(base, 2 * PAGE_SIZE, 3 * PAGE_SIZE, true, target)).toBe(target);
    expect([guest.readU32(target + 8), guest.readU32(target + PAGE_SIZE + 8)]).toEqual([11, 12]);
    expect(guest.readU32(target + 2 * PAGE_SIZE)).toBe(0);
    expect(faultOf(() => guest.readU32(base + 8))).toBe(base + 8);
  });

  it("tells who translated code when that changes", () => {
    const dropped: number[] = [];
    space.onCodeChange = (page) => {
      dropped.push(page);
      space.pages.markCodeAt(page * PAGE_SIZE, false);
    };
    map(base, 2, RW);
    guest.writeU8(base, 0x90);
    space.pages.markCodeAt(base, true);
    expect(space.pages.permissions(base) & PERM_CODE).toBe(PERM_CODE);
    guest.readU64(base);
    expect(dropped).toEqual([]);
    guest.writeU8(base + 100, 1);
    expect(dropped).toEqual([base / PAGE_SIZE]);
    guest.writeU8(base + 100, 2);
    expect(dropped).toHaveLength(1);
    space.pages.markCodeAt(base, true);
    space.protect(base, PAGE_SIZE, PROT_READ);
    space.pages.markCodeAt(base, true);
    space.unmap(base, PAGE_SIZE);
    expect(dropped).toHaveLength(3);
  });
});

describe("mappings", () => {
  it("merge with equal neighbours, and split where they are cut", () => {
    map(AREA, 2);
    map(AREA + 2 * PAGE_SIZE, 2);
    expect([...space.vmas]).toMatchObject([{ start: AREA, end: AREA + 4 * PAGE_SIZE }]);
    space.protect(AREA + PAGE_SIZE, PAGE_SIZE, PROT_READ);
    expect([...space.vmas].map(({ start, prot }) => [(start - AREA) / PAGE_SIZE, prot])).toEqual([
      [0, 3],
      [1, 1],
      [2, 3],
    ]);
    space.protect(AREA + PAGE_SIZE, PAGE_SIZE, RW);
    expect(space.vmas.length).toBe(1);
    space.unmap(AREA + PAGE_SIZE, PAGE_SIZE);
    expect(space.vmas.length).toBe(2);
    expect(space.vmas.covers(AREA, AREA + PAGE_SIZE)).toBe(true);
    expect(space.vmas.covers(AREA, AREA + PAGE_SIZE + 1)).toBe(false);
  });

  it("are placed top down, and take the hole that is high enough", () => {
    const first = space.map({ address: 0, length: 4 * PAGE_SIZE, prot: RW });
    const second = space.map({ address: 0, length: PAGE_SIZE, prot: RW });
    expect([first, second]).toEqual([COMPACT.high - 4 * PAGE_SIZE, COMPACT.high - 5 * PAGE_SIZE]);
    space.unmap(first, 2 * PAGE_SIZE);
    expect(space.map({ address: 0, length: PAGE_SIZE, prot: PROT_READ })).toBe(first + PAGE_SIZE);
    expect(space.map({ address: 0, length: 2 * PAGE_SIZE, prot: PROT_READ })).toBe(second - 2 * PAGE_SIZE);
  });

  it("lie where Linux has them in the linux layout", () => {
    const linux = new AddressSpace(memory, LINUX);
    const at = linux.map({ address: 0, length: PAGE_SIZE, prot: RW });
    expect(at).toBe(LINUX.high - PAGE_SIZE);
    expect(linux.map({ address: 0xc0_0000_0000, length: PAGE_SIZE, prot: RW })).toBe(0xc0_0000_0000);
    linux.unmap(at, PAGE_SIZE);
    linux.unmap(0xc0_0000_0000, PAGE_SIZE);
    expect(space.map({ address: 0xc0_0000_0000, length: PAGE_SIZE, prot: RW })).toBeLessThan(WINDOW_END);
  });

  it("count against the limit only while they are private and writable", () => {
    const small = new AddressSpace(memory, COMPACT, { limit: 16 * PAGE_SIZE });
    const ask = (pages: number, prot: number): number => small.map({ address: 0, length: pages * PAGE_SIZE, prot });
    const reserved = ask(1000, 0);
    const used = ask(16, RW);
    expect(() => ask(1, RW)).toThrow(MemoryError);
    ask(4, PROT_READ);
    small.map({ address: 0, length: 4 * PAGE_SIZE, prot: RW, noReserve: true });
    small.unmap(used, 8 * PAGE_SIZE);
    expect(small.accessibleBytes).toBe(16 * PAGE_SIZE);
    ask(8, RW);
    expect([small.promisedBytes, small.peakAccessibleBytes]).toEqual([16 * PAGE_SIZE, 24 * PAGE_SIZE]);
    expect(() => small.protect(reserved, PAGE_SIZE, RW)).toThrow(MemoryError);
    small.unmap(0, TASK_SIZE);
  });

  it("that nobody writes to cost nothing: no page of them has to be cleared", () => {
    const pages = 1000;
    map(AREA, pages);
    const dirty = (): number[] =>
      Array.from({ length: pages }, (_, i) => i).filter((i) => space.pages.window(AREA / PAGE_SIZE + i) & PERM_DIRTY);
    expect(dirty()).toEqual([]);
    guest.readBytes(AREA, pages * PAGE_SIZE);
    expect(dirty()).toEqual([]);
    guest.writeU8(AREA + 13 * PAGE_SIZE, 1);
    guest.writeU8(AREA + 14 * PAGE_SIZE, 1);
    // The rest of the 16 pages comes along, and the one behind, so that the last one written allows plain stores.
    expect(dirty()).toEqual([13, 14, 15, 16]);
    const spans = (i: number): number => space.pages.window(AREA / PAGE_SIZE + i) & PERM_WRITE_SPAN;
    expect([12, 13, 14, 15, 16].map(spans)).toEqual([0, PERM_WRITE_SPAN, PERM_WRITE_SPAN, PERM_WRITE_SPAN, 0]);
    space.discard(AREA + 14 * PAGE_SIZE, PAGE_SIZE);
    expect(dirty()).toEqual([13, 15, 16]);
    expect([13, 14, 15].map(spans)).toEqual([0, 0, PERM_WRITE_SPAN]);
  });

  it("below the window, above user space or without length are refused", () => {
    const fixed =
      (address: number, length: number): (() => void) =>
      () =>
        space.map({ address, length, prot: RW, fixed: true });
    for (const [address, length] of [
      [0, PAGE_SIZE],
      [0x8000, PAGE_SIZE],
      [TASK_SIZE, PAGE_SIZE],
      [AREA + 1, PAGE_SIZE],
      [AREA, 0],
      [AREA, Number.POSITIVE_INFINITY],
    ]) {
      expect(fixed(address, length), `${address.toString(16)}, ${length}`).toThrow(MemoryError);
    }
    expect(space.vmas.length).toBe(0);
  });

  it("reach from the window into what is out of line, and leave the permission map alone", () => {
    const fresh = new AddressSpace(new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES }));
    const bytes = new GuestMemory(fresh);
    const [from, to] = [LOW_AREA - PAGE_SIZE, LOW_AREA_END + PAGE_SIZE];
    fresh.map({ address: from, length: to - from, prot: RW, fixed: true });
    for (const border of [LOW_AREA, LOW_AREA_END]) {
      bytes.writeU64(border - 4, 0x1122_3344_5566_7788n);
      expect(bytes.readU64(border - 4)).toBe(0x1122_3344_5566_7788n);
      expect(bytes.readU32(border)).toBe(0x1122_3344);
    }
    // A store to the permission map's own address reaches no permission.
    bytes.poke(PERM_MAP + AREA / PAGE_SIZE, Uint8Array.of(0xff));
    expect(fresh.pages.window(AREA / PAGE_SIZE)).toBe(0);
    fresh.protect(from, to - from, PROT_READ);
    expect(faultOf(() => bytes.writeU8(LOW_AREA + 5, 1))).toBe(LOW_AREA + 5);
    fresh.unmap(from, to - from);
    expect(faultOf(() => bytes.readU8(LOW_AREA))).toBe(LOW_AREA);
    expect(faultOf(() => bytes.readU8(LOW_AREA_END))).toBe(LOW_AREA_END);
    fresh.map({ address: from, length: to - from, prot: RW, fixed: true });
    expect(bytes.readU64(LOW_AREA - 4)).toBe(0n);
  });

  it("are zero again where moved memory had no rights, and more than all memory is refused if asked for so", () => {
    map(AREA, 1);
    guest.writeU64(AREA, 42n);
    space.protect(AREA, PAGE_SIZE, 0);
    const to = space.remap(AREA, PAGE_SIZE, PAGE_SIZE, true, AREA + 0x1000_0000);
    space.unmap(to, PAGE_SIZE);
    map(to, 1);
    expect(guest.readU64(to)).toBe(0n);
    const huge = { address: HIGH, length: 2 ** 40, prot: RW, fixed: true };
    expect(() => space.map(huge)).toThrow(MemoryError);
    expect(space.map({ ...huge, noReserve: true })).toBe(HIGH);
  });

  it("never replace, change or free what pages out of line are kept in", () => {
    const fresh = new AddressSpace(new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES }));
    const bytes = new GuestMemory(fresh);
    fresh.map({ address: HIGH, length: PAGE_SIZE, prot: RW, fixed: true });
    bytes.writeU32(HIGH, 42);
    const frames = [...fresh.vmas].find(({ name }) => name === FRAMES_NAME);
    if (frames === undefined) throw new Error("there are no frames");
    const { start, end } = frames;
    expect(() => fresh.map({ address: start, length: PAGE_SIZE, prot: RW, fixed: true })).toThrow(MemoryError);
    expect(() => fresh.protect(start, end - start, RW)).toThrow(MemoryError);
    expect(() => fresh.remap(start, PAGE_SIZE, 2 * PAGE_SIZE, true)).toThrow(MemoryError);
    fresh.unmap(start - PAGE_SIZE, end - start + PAGE_SIZE);
    expect(bytes.readU32(HIGH)).toBe(42);
  });
});

it("has hints outside the window for a program that puts mappings there itself", () => {
  const space = new AddressSpace(new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES }));
  const hint = 0xc0_0000_0000;
  const request = { address: hint, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE };
  expect(space.map(request)).toBeLessThan(WINDOW_END);
  // Over a reservation of its own it may put what it wants: that says nothing.
  const reserved = space.map({ address: 0, length: 2 ** 40, prot: 0 });
  space.map({ ...request, address: reserved, fixed: true });
  expect(space.map(request)).toBeLessThan(WINDOW_END);
  space.map({ ...request, address: 0x2000_0000_0000, fixed: true });
  let isNoted = false;
  space.onSlow = () => {
    isNoted = true;
  };
  expect(space.map(request)).toBe(hint);
  // It is not for want of room.
  expect(isNoted).toBe(false);
});
