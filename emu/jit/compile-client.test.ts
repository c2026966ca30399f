// Compiling elsewhere: what goes to and fro, and what becomes of answers that are no longer right when they come.
import { beforeEach, describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../layout.ts";
import { CompileClient, type PageSource } from "./compile-client.ts";
import type { CompileRequest } from "./region-compiler.ts";
import { RegionLinks } from "./region-links.ts";
import { SLOT_BYTES } from "./region-module.ts";
import { functionsOf } from "./region-store.ts";
import { TestThread } from "./test-thread.ts";

const CODE = 0x40_1000;
const PAGE = CODE / PAGE_SIZE;
const TABLE = 0x50_0000;
const NO_STOPS: ReadonlySet<number> = new Set();

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));

let pages: Map<number, { bytes: Uint8Array; isExecutable: boolean; isReadable: boolean }>;
let links: RegionLinks;
let thread: TestThread;
let client: CompileClient;

const copy: PageSource = (page) => {
  const found = pages.get(page) ?? { bytes: new Uint8Array(0), isExecutable: false, isReadable: false };
  return { page, ...found, bytes: found.bytes.slice() };
};

function write(address: number, hex: string, isExecutable = true): void {
  const page = Math.floor(address / PAGE_SIZE);
  const bytes = pages.get(page)?.bytes ?? new Uint8Array(PAGE_SIZE).fill(0xcc);
  bytes.set(bytesOf(hex), address % PAGE_SIZE);
  pages.set(page, { bytes, isExecutable, isReadable: true });
}

const request = (start: number, slot: number, end = start + 0x100): CompileRequest => ({
  start,
  slot,
  bounds: { start, end, name: `f${slot}`, goAbi: true },
  patient: false,
  limit: 1000,
  stops: NO_STOPS,
});

beforeEach(() => {
  pages = new Map();
  links = new RegionLinks();
  thread = new TestThread();
  client = new CompileClient(thread, [], copy, links);
});

describe("a request", () => {
  it("is answered with a region, its links, and what it was made from", () => {
    write(CODE, "b8 05000000 e8 f6ff0000 c3");
    client.request(request(CODE, 20_000));
    expect(client.isPending(CODE)).toBe(true);
    const batch = client.poll();
    expect(batch?.regions).toMatchObject([
      {
        start: CODE,
        slot: 20_000,
        isCurrent: true,
        instructions: 3,
        pages: [PAGE],
        name: `f20000@${CODE.toString(16)}`,
      },
    ]);
    expect(batch?.regions[0].entries).toEqual([CODE, CODE + 10]);
    expect(batch?.module).toBeInstanceOf(WebAssembly.Module);
    // The call's target is in another page, which nobody needs to see.
    expect(links.targets).toEqual([CODE + 0x1_0000]);
    expect(client.isPending(CODE)).toBe(false);
    expect(client.poll()).toBeUndefined();
  });

  it("is refused where nothing can be compiled", () => {
    write(CODE, "0f0b");
    client.request({ ...request(CODE, 20_000), stops: new Set([CODE]) });
    client.request(request(CODE + 0x2000, 20_001));
    const batch = client.poll();
    // The page of the second can't be executed.
    expect(batch?.refused.map(({ slot }) => slot)).toEqual([20_000, 20_001]);
    expect(batch).toMatchObject({ regions: [], module: undefined });
    expect(client.isPending(CODE)).toBe(false);
  });

  it("that comes with others becomes a part of one module, whose regions call each other directly", () => {
    write(CODE, "e8 fb000000 c3");
    write(CODE + 0x100, "b8 01000000 c3");
    client.request(request(CODE, 20_000));
    client.request(request(CODE + 0x100, 20_007));
    const batch = client.poll();
    expect(batch?.regions.map(({ slot }) => slot)).toEqual([20_000, 20_007]);
    const [caller] = batch?.regions ?? [];
    expect(caller.calls.map(({ target }) => target)).toEqual([CODE + 0x100]);
    const { code } = functionsOf(() => batch?.moduleBytes)(0);
    const { slotAt } = caller.calls[0];
    const digits = [...code.subarray(slotAt, slotAt + SLOT_BYTES)].map((byte) => byte & 0x7f);
    expect(digits.reduce((value, digit, i) => value | (digit << (7 * i)), 0)).toBe(20_007);
  });

  it("waits for pages that nobody thought of", () => {
    // lea rdx, [rip+…]; jmp [rdx+rcx*8]: a jump table, and two cases.
    const table = Buffer.alloc(4);
    table.writeInt32LE(TABLE - (CODE + 7));
    write(CODE, `488d15${table.toString("hex")} ff24ca`);
    write(CODE + 0x20, "b8 01000000 c3");
    write(CODE + 0x30, "b8 02000000 c3");
    const words = Buffer.alloc(16);
    words.writeBigUInt64LE(BigInt(CODE + 0x20), 0);
    words.writeBigUInt64LE(BigInt(CODE + 0x30), 8);
    write(TABLE, words.toString("hex"), false);
    pages.get(TABLE / PAGE_SIZE)?.bytes.fill(0, 16);
    client.request(request(CODE, 20_000));
    expect(client.poll()).toMatchObject({ regions: [], refused: [], module: undefined });
    expect(thread.replies[0].missing).toEqual([TABLE / PAGE_SIZE]);
    expect(client.isPending(CODE)).toBe(true);
    expect(client.poll()?.regions).toMatchObject([{ instructions: 6, isCurrent: true, pages: [PAGE] }]);
  });

  it("asks again for a page that could not be executed before", () => {
    pages.set(PAGE, { bytes: new Uint8Array(PAGE_SIZE), isExecutable: false, isReadable: true });
    client.request(request(CODE, 20_000));
    expect(client.poll()?.refused).toHaveLength(1);
    write(CODE, "b8 01000000 c3");
    client.request(request(CODE, 20_000));
    const answers = [client.poll(), client.poll()].flatMap((batch) => batch?.regions ?? []);
    expect(answers).toMatchObject([{ isCurrent: true, instructions: 2 }]);
  });

  it("sees an instruction that reaches into the next page", () => {
    write(CODE + PAGE_SIZE - 3, "b8 0102");
    write(CODE + PAGE_SIZE, "0304 c3");
    client.request({ ...request(CODE + PAGE_SIZE - 3, 20_000), bounds: undefined });
    expect(client.poll()?.regions).toEqual([]);
    expect(client.poll()?.regions).toMatchObject([{ instructions: 2, pages: [PAGE, PAGE + 1], isCurrent: true }]);
  });
});

describe("code that changes", () => {
  beforeEach(() => {
    write(CODE, "b8 01000000 c3");
    client.request(request(CODE, 20_000));
  });

  it("before the answer makes it useless, and the next one right", () => {
    client.invalidate(PAGE);
    write(CODE, "b8 01000000 90 c3");
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: false, instructions: 2 }]);
    client.request(request(CODE, 20_001));
    expect(thread.messages.at(-1)).toMatchObject({ forget: [PAGE] });
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: true, instructions: 3, slot: 20_001 }]);
  });

  it("and is sent again meanwhile does not make the old answer right", () => {
    // The thread has taken the first request, but nobody has seen the answer yet.
    const early = thread.receive();
    client.invalidate(PAGE);
    client.request(request(CODE + 0x10, 20_001));
    thread.receive = () => early;
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: false }]);
  });

  it("unseen, when nobody watches over it any more, makes all answers useless", () => {
    client.forgetAll();
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: false }]);
    client.request(request(CODE, 20_001));
    expect(thread.messages.at(-1)?.forget).toBe("all");
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: true }]);
  });

  it("is not sent twice as long as it stays", () => {
    client.poll();
    client.request(request(CODE + 0x10, 20_001));
    expect(thread.messages.at(-1)?.pages).toEqual([]);
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: true }]);
  });
});

describe("links", () => {
  it("go on from those of an earlier run", () => {
    const earlier = new RegionLinks();
    earlier.callCell(0x1234);
    client = new CompileClient(thread, [], copy, earlier);
    write(CODE, "e8 fb000000 c3");
    client.request(request(CODE, 20_000));
    client.poll();
    expect(thread.messages[0].begin?.targets).toEqual([0x1234]);
    expect(earlier.targets).toEqual([0x1234, CODE + 0x100]);
  });

  it("are kept even if the regions are not", () => {
    write(CODE, "e8 fb000000 c3");
    client.request(request(CODE, 20_000));
    client.invalidate(PAGE);
    expect(client.poll()?.regions).toMatchObject([{ isCurrent: false }]);
    expect(links.targets).toEqual([CODE + 0x100]);
  });
});
