import { describe, expect, it } from "vitest";
import { LEVELS } from "./cpu/features.ts";
import { type CpuState, REG } from "./cpu/state.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from "./layout.ts";
import { type Core, Cores, type Tier } from "./machine.ts";
import { GuestFault } from "./memory/guest-memory.ts";
import type { Backing } from "./memory/vma.ts";
import { SeededRandom } from "./threads/random.ts";

const RW = PROT_READ | PROT_WRITE;
const RWX = RW | PROT_EXEC;
const features = new Set(Object.values(LEVELS).flat());

/** Where the tests' memory lies: in the window, out of line in its low part and above it. */
const AREAS = [0x5000_0000, 0xa_0000, 0x1_8000_0000];
const AREA_PAGES = 48;
const CODE = 0x40_0000;
/** loop: mov [rdi], rsi; add rdi, rdx; add rsi, 1; dec rcx; jnz loop; hlt */
const STORE = [0x48, 0x89, 0x37, 0x48, 0x01, 0xd7, 0x48, 0x83, 0xc6, 0x01, 0x48, 0xff, 0xc9, 0x75, 0xf1, 0xf4];
/** mov eax, 1; ret — of which the 1 is patched — and where it is called: call; hlt */
const ANSWER = CODE + 0x800;
const CALL = [0xe8, 0xfb, 0x06, 0, 0, 0xf4];
const CALLER = CODE + 0x100;

const file: Backing = {
  path: "/file",
  read: (into, offset) => {
    for (let i = 0; i < into.length; i++) into[i] = fileByte(offset + i);
    return into.length;
  },
};
const fileByte = (offset: number): number => (offset * 7 + (offset >>> 12)) & 0xff;

/** A page as it should be. */
interface Page {
  prot: number;
  bytes: Uint8Array;
  /** Which of the file, for one that is discarded; undefined for memory without one. */
  offset: number | undefined;
}

/** An address space with what should be in it. */
class Process {
  readonly core: Core;
  readonly cpu: CpuState;
  readonly pages: Map<number, Page>;
  answer: number;

  constructor(core: Core, pages: Map<number, Page>, answer: number) {
    this.core = core;
    this.pages = pages;
    this.answer = answer;
    this.cpu = core.takeCpu() as CpuState;
  }

  static first(tier: Tier, frameBytes?: number): Process {
    const core = new Cores({ features, tier, frameBytes }).make();
    core.space.map({ address: CODE, length: PAGE_SIZE, prot: RWX, fixed: true });
    core.memory.poke(CODE, Uint8Array.from(STORE));
    core.memory.poke(CALLER, Uint8Array.from(CALL));
    core.memory.poke(ANSWER, Uint8Array.from([0xb8, 1, 0, 0, 0, 0xc3]));
    return new Process(core, new Map(), 1);
  }

  fork(): Process {
    const pages = new Map([...this.pages].map(([at, page]) => [at, { ...page, bytes: page.bytes.slice() }]));
    return new Process(this.core.fork(), pages, this.answer);
  }

  #set(address: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const page = this.pages.get(Math.floor((address + i) / PAGE_SIZE));
      if (page !== undefined) page.bytes[(address + i) % PAGE_SIZE] = bytes[i];
    }
  }

  /** Is [address, end) mapped throughout, with these rights? */
  allows(address: number, end: number, prot: number): boolean {
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      if (((this.pages.get(page)?.prot ?? 0) & prot) !== prot) return false;
    }
    return true;
  }

  map(address: number, count: number, prot: number, offset: number | undefined): void {
    const length = count * PAGE_SIZE;
    const backing = offset === undefined ? undefined : file;
    this.core.space.map({ address, length, prot, fixed: true, backing, offset: offset ?? 0 });
    for (let i = 0; i < count; i++) {
      const own = offset === undefined ? undefined : offset + i * PAGE_SIZE;
      this.pages.set(address / PAGE_SIZE + i, { prot, bytes: freshBytes(own), offset: own });
    }
  }

  unmap(address: number, count: number): void {
    this.core.space.unmap(address, count * PAGE_SIZE);
    for (let i = 0; i < count; i++) this.pages.delete(address / PAGE_SIZE + i);
  }

  protect(address: number, count: number, prot: number): void {
    if (!this.allows(address, address + count * PAGE_SIZE, 0) || !this.#isMapped(address, count)) return;
    this.core.space.protect(address, count * PAGE_SIZE, prot);
    for (let i = 0; i < count; i++) (this.pages.get(address / PAGE_SIZE + i) as Page).prot = prot;
  }

  #isMapped(address: number, count: number): boolean {
    return this.core.space.vmas.covers(address, address + count * PAGE_SIZE);
  }

  discard(address: number, count: number): void {
    this.core.space.discard(address, count * PAGE_SIZE);
    for (let i = 0; i < count; i++) {
      const page = this.pages.get(address / PAGE_SIZE + i);
      if (page !== undefined) page.bytes = freshBytes(page.offset);
    }
  }

  move(from: number, count: number, to: number): void {
    const { space } = this.core;
    const vma = space.vmas.at(from);
    const length = count * PAGE_SIZE;
    if (vma === undefined || from + length > vma.end || Math.abs(from - to) < length) return;
    space.remap(from, length, length, true, to);
    for (let i = 0; i < count; i++) {
      this.pages.set(to / PAGE_SIZE + i, this.pages.get(from / PAGE_SIZE + i) as Page);
      this.pages.delete(from / PAGE_SIZE + i);
    }
  }

  write(address: number, bytes: Uint8Array): void {
    if (this.allows(address, address + bytes.length, PROT_WRITE)) {
      this.core.memory.writeBytes(address, bytes);
      this.#set(address, bytes);
    } else expect(() => this.core.memory.writeBytes(address, bytes)).toThrow(GuestFault);
  }

  poke(address: number, bytes: Uint8Array): void {
    if (!this.core.space.vmas.covers(address, address + bytes.length)) return;
    this.core.memory.poke(address, bytes);
    this.#set(address, bytes);
  }

  /** Stores words with translated code, up to the first that may not be stored to. */
  store(address: number, value: number, count: number, stride: number): void {
    const { cpu } = this;
    let done = 0;
    while (done < count && this.allows(address + done * stride, address + done * stride + 8, PROT_WRITE)) done++;
    this.#run(CODE, { RDI: address, RSI: value, RCX: count, RDX: stride }, done < count ? "fault" : "exception");
    if (done < count) expect(cpu.gpr[REG.RDI]).toBe(BigInt(address + done * stride));
    const word = new DataView(new ArrayBuffer(8));
    for (let i = 0; i < done; i++) {
      word.setBigUint64(0, BigInt(value + i), true);
      this.#set(address + i * stride, new Uint8Array(word.buffer));
    }
  }

  #run(rip: number, registers: Partial<Record<keyof typeof REG, number>>, stop: string): void {
    const { cpu } = this;
    cpu.rip = rip;
    for (const [name, value] of Object.entries(registers)) cpu.gpr[REG[name as keyof typeof REG]] = BigInt(value);
    cpu.fuel = 1_000_000;
    expect(this.core.run(cpu).kind).toBe(stop);
  }

  /** Calls the code that is patched. */
  call(): void {
    this.#run(CALLER, { RSP: CODE + 0xf00, RAX: 0 }, "exception");
    expect(this.cpu.gpr[REG.RAX]).toBe(BigInt(this.answer));
  }

  patch(answer: number): void {
    this.core.memory.writeBytes(ANSWER + 1, Uint8Array.of(answer));
    this.answer = answer;
  }

  /** Is in memory what should be there? */
  check(): void {
    for (const [number, { prot, bytes }] of this.pages) this.#checkPage(number, prot, bytes);
  }

  checkSome(random: SeededRandom): void {
    const all = [...this.pages];
    for (let i = 0; i < 4 && all.length > 0; i++) {
      const [number, { prot, bytes }] = all[random.below(all.length)];
      this.#checkPage(number, prot, bytes);
    }
  }

  #checkPage(number: number, prot: number, bytes: Uint8Array): void {
    if (!(prot & (PROT_READ | PROT_WRITE | PROT_EXEC))) return;
    const got = this.core.memory.readBytes(number * PAGE_SIZE, PAGE_SIZE);
    if (Buffer.compare(got, bytes) === 0) return;
    const at = got.findIndex((byte, i) => byte !== bytes[i]);
    expect({ page: number.toString(16), at, byte: got[at] }).toEqual({
      page: number.toString(16),
      at,
      byte: bytes[at],
    });
  }
}

function freshBytes(offset: number | undefined): Uint8Array {
  const bytes = new Uint8Array(PAGE_SIZE);
  if (offset !== undefined) for (let i = 0; i < PAGE_SIZE; i++) bytes[i] = fileByte(offset + i);
  return bytes;
}

const PROTS = [RW, RW, RW, RWX, PROT_READ, 0];

/** Something that a process may do with its memory. */
function act(process: Process, random: SeededRandom): void {
  const area = AREAS[random.below(AREAS.length)];
  const page = random.below(AREA_PAGES);
  const count = 1 + random.below(Math.min(AREA_PAGES - page, 20));
  const address = area + page * PAGE_SIZE;
  const inside = address + random.below(PAGE_SIZE);
  const bytes = Uint8Array.from({ length: 1 + random.below(6000) }, () => random.below(256));
  const what = random.below(20);
  if (what < 5) process.store(inside, random.next(), 1 + random.below(60), 8 + random.below(300));
  else if (what < 9) process.write(inside, bytes);
  else if (what < 10) process.poke(inside, bytes);
  else if (what < 12) process.protect(address, count, PROTS[random.below(PROTS.length)]);
  else if (what < 13) process.discard(address, count);
  else if (what < 14) process.unmap(address, count);
  else if (what < 16) {
    const offset = random.oneIn(3) ? random.below(16) * PAGE_SIZE : undefined;
    process.map(address, count, PROTS[random.below(PROTS.length)], offset);
  } else if (what < 17) {
    const to = AREAS[random.below(AREAS.length)] + random.below(AREA_PAGES - count + 1) * PAGE_SIZE;
    process.move(address, count, to);
  } else if (what < 18) process.patch(random.below(100));
  else if (what < 19) process.call();
  else process.checkSome(random);
}

function start(tier: Tier): Process {
  const process = Process.first(tier);
  for (const area of AREAS) {
    process.map(area, AREA_PAGES / 2, RW, undefined);
    process.map(area + (AREA_PAGES / 2) * PAGE_SIZE, AREA_PAGES / 2, RW, 0);
    process.store(area, 1, AREA_PAGES * 2, 2040);
  }
  return process;
}

const SEEDS = [1, 2, 3, 4].map((i) => i + (Number(process.env.GOEMU_SEED ?? 0) | 0) * 1000);

describe("Core.fork", () => {
  it.each(
    SEEDS.flatMap((seed) => (["interpreter", "jit"] as const).map((tier) => [seed, tier] as const)),
  )("keeps a family's memory apart, whatever its members do with it (seed %i, %s)", (seed, tier) => {
    const random = new SeededRandom(seed);
    const family = [start(tier)];
    for (let i = 0; i < 600; i++) {
      const member = family[random.below(family.length)];
      if (family.length < 5 && random.oneIn(50)) family.push(member.fork());
      else if (family.length > 1 && random.oneIn(80)) {
        family.splice(family.indexOf(member), 1);
        member.core.close();
      } else act(member, random);
      member.core.space.makeRoom();
      // Seldom: reading all makes all its own.
      if (random.oneIn(300)) for (const each of family) each.check();
    }
    while (family.length > 0) {
      const [member] = family.splice(random.below(family.length), 1);
      member.core.close();
      for (const each of family) each.check();
    }
  });

  it("shares pages that are in swap, or go there", () => {
    const parent = Process.first("interpreter", 0x40_0000);
    const [area] = [0x2_0000_0000];
    const count = 1500;
    const { core } = parent;
    const fill = (process: Process, at: number, value: number): void => {
      process.core.memory.writeU32(area + at * PAGE_SIZE, value);
      if (at % 64 === 0) process.core.space.makeRoom();
    };
    core.space.map({ address: area, length: count * PAGE_SIZE, prot: RW, fixed: true });
    for (let i = 0; i < count; i++) fill(parent, i, i);
    const child = parent.fork();
    for (let i = 0; i < count; i += 2) fill(parent, i, -i >>> 0);
    const grandchild = child.fork();
    for (let i = 0; i < count; i += 3) fill(child, i, i + 100_000);
    const check = (process: Process, expected: (i: number) => number): void => {
      for (let i = 0; i < count; i++) {
        if (i % 64 === 0) process.core.space.makeRoom();
        expect(process.core.memory.readU32(area + i * PAGE_SIZE)).toBe(expected(i));
      }
    };
    check(parent, (i) => (i % 2 === 0 ? -i >>> 0 : i));
    parent.core.close();
    check(child, (i) => (i % 3 === 0 ? i + 100_000 : i));
    child.core.close();
    check(grandchild, (i) => i);
  });

  it("lets a parent's stores be plain again when its children have ended or have all that they want", () => {
    const parent = start("interpreter");
    const { space } = parent.core;
    const permissions = (): number[] =>
      Array.from({ length: AREA_PAGES }, (_, i) => space.pages.window(AREAS[0] / PAGE_SIZE + i));
    parent.store(AREAS[0], 1, AREA_PAGES * 2, 2040);
    const before = permissions();
    const children = [parent.fork(), parent.fork(), parent.fork()];
    expect(space.sharing.frozen.size).toBeGreaterThan(AREA_PAGES);
    parent.store(AREAS[0], 77, 10, PAGE_SIZE);
    children[1].core.close();
    children[2].check();
    children[0].core.close();
    expect(space.sharing.frozen.size).toBeGreaterThan(0);
    children[2].call();
    children[2].core.memory.readU8(CODE);
    // All of it has been read now.
    expect(space.sharing.frozen.size).toBe(0);
    expect(permissions()).toEqual(before);
    parent.check();
    children[2].check();
  });

  it("keeps for each child what it was born with, in whatever order they end", () => {
    const [area] = AREAS;
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
      [2, 0, 1],
    ]) {
      const parent = Process.first("interpreter");
      parent.map(area, 16, RW, undefined);
      const children = [1, 2, 3].map((value) => {
        for (let i = 0; i < 16; i++)
          if (i % value === 0) parent.write(area + i * PAGE_SIZE, Uint8Array.of(value * 16 + i));
        return parent.fork();
      });
      // Protection that goes and comes again changes nothing.
      parent.protect(area, 16, PROT_READ);
      parent.protect(area, 16, RW);
      for (let i = 0; i < 16; i++) parent.write(area + i * PAGE_SIZE, Uint8Array.of(200 + i));
      for (const which of order) {
        children[which].check();
        children[which].core.close();
      }
      const late = parent.fork();
      parent.core.close();
      late.check();
    }
  });

  it("does not take what a file has for what lies between pages of it", () => {
    for (const area of AREAS) {
      const parent = Process.first("interpreter");
      parent.map(area, 16, RW, 0);
      parent.core.space.protect(area, 16 * PAGE_SIZE, RW);
      // Each in a cluster of its own is read then: all of them come in, so the others go again.
      parent.write(area + 5 * PAGE_SIZE, Uint8Array.of(77));
      parent.discard(area, 5);
      parent.discard(area + 6 * PAGE_SIZE, 10);
      for (const first of [0, 15]) {
        const child = parent.fork();
        expect(child.core.memory.readU8(area + first * PAGE_SIZE)).toBe(fileByte(first * PAGE_SIZE));
        child.check();
        child.core.close();
      }
      parent.check();
    }
  });

  it.each([8, 5000])("keeps what a child has of a parent of %i pages that is gone, and no more", (count) => {
    const parent = Process.first("interpreter");
    const [area] = AREAS;
    const { core } = parent;
    core.space.map({ address: area, length: count * PAGE_SIZE, prot: RW, fixed: true });
    for (let i = 0; i < count; i++) core.memory.writeU32(area + i * PAGE_SIZE, i);
    const child = parent.fork();
    const freed: string[] = [];
    core.space.sharing.onFree = () => freed.push("parent");
    child.core.space.sharing.onFree = () => freed.push("child");
    core.close();
    expect(freed).toEqual(count < 4096 ? ["parent"] : []);
    for (let i = 0; i < count; i += 7) expect(child.core.memory.readU32(area + i * PAGE_SIZE)).toBe(i);
    const grandchild = child.fork();
    child.core.close();
    // A second memory is not kept for one process.
    expect(freed.sort()).toEqual(["child", "parent"]);
    for (let i = 0; i < count; i++) expect(grandchild.core.memory.readU32(area + i * PAGE_SIZE)).toBe(i);
  });

  it("knows what has been translated already, until it is written to on that side", () => {
    const parent = start("interpreter");
    parent.store(AREAS[0], 1, 30, 8);
    const [child, other] = [parent.fork(), parent.fork()];
    child.store(AREAS[0], 2, 30, 8);
    expect(child.core.code.instructions).toBe(0);
    // add rsi, 2
    other.core.memory.writeBytes(CODE + 9, Uint8Array.of(2));
    other.core.memory.writeBytes(CODE + 9, Uint8Array.of(1));
    other.store(AREAS[0], 4, 30, 8);
    expect(other.core.code.instructions).toBeGreaterThan(0);
    // What the parent drops after a fork it does not pass on to the next child.
    parent.core.memory.writeBytes(CODE + 9, Uint8Array.of(1));
    const last = parent.fork();
    last.store(AREAS[0], 5, 30, 8);
    expect(last.core.code.instructions).toBeGreaterThan(0);
    for (const process of [parent, child, other, last]) process.check();
  });

  it("leaves compiled code in use, and drops it on the side where it is written to", () => {
    const parent = start("auto");
    const { core } = parent;
    for (let i = 0; i < 40; i++) parent.store(AREAS[0], i, 3000, 8);
    const { jit } = core;
    const regions = jit?.statistics.regions ?? 0;
    expect(regions).toBeGreaterThan(0);
    const child = parent.fork();
    const { interpreted } = core.interpreter;
    for (let i = 0; i < 40; i++) parent.store(AREAS[0], i + 7, 3000, 8);
    expect(core.interpreter.interpreted - interpreted).toBeLessThan(20_000);
    expect(jit?.isEntry(CODE)).toBe(true);
    // add rsi, 2
    child.core.memory.writeBytes(CODE + 9, Uint8Array.of(2));
    child.cpu.rip = CODE;
    for (const [register, value] of [
      [REG.RDI, AREAS[0]],
      [REG.RSI, 5],
      [REG.RDX, 8],
      [REG.RCX, 2],
    ]) {
      child.cpu.gpr[register] = BigInt(value);
    }
    child.cpu.fuel = 1000;
    child.core.run(child.cpu);
    expect(child.core.memory.readU64(AREAS[0] + 8)).toBe(7n);
    expect(jit?.isEntry(CODE)).toBe(true);
    parent.store(AREAS[0], 1, 3000, 8);
    core.memory.writeBytes(CODE + 9, Uint8Array.of(1));
    expect(jit?.isEntry(CODE)).toBe(false);
    parent.store(AREAS[0], 3, 3000, 8);
    parent.check();
  });
});
