import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryHost } from "../../host/memory/memory-host.ts";
import { NodeLocks } from "../../host/node/locks.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { FakeProcess } from "./fake-process.ts";
import { FileLocks } from "./locks.ts";

const [SH, EX, UN, NB] = [1, 2, 8, 4];
let p: FakeProcess;
beforeEach(() => {
  p = new FakeProcess(new MemoryHost({ files: { "/f": "content", "/g": "" } }));
});
afterEach(() => p.dispose());

const open = (flags = abi.O_RDWR, path = "/f"): number => p.call("openat", abi.AT_FDCWD, path, flags, 0);
const flock = (fd: number, operation: number): number => p.call("flock", fd, operation);

function flockStruct(type: number, start: bigint, length: bigint, whence = 0): number {
  const view = new DataView(new ArrayBuffer(32));
  view.setInt16(0, type, true);
  view.setInt16(2, whence, true);
  view.setBigInt64(8, start, true);
  view.setBigInt64(16, length, true);
  return p.put(new Uint8Array(view.buffer));
}
const set = (fd: number, command: number, type: number, start = 0n, length = 0n, whence = 0): number =>
  p.call("fcntl", fd, command, flockStruct(type, start, length, whence));

/** Type, start, length and pid that F_GETLK tells. */
function get(fd: number, command: number, type: number, start = 0n, length = 0n): (number | bigint)[] {
  const at = flockStruct(type, start, length);
  expect(p.call("fcntl", fd, command, at)).toBe(0);
  const { memory } = p;
  return [memory.readU16(at), memory.readI64(at + 8), memory.readI64(at + 16), memory.readI32(at + 24)];
}
const { F_SETLK, F_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_OFD_GETLK, F_RDLCK, F_WRLCK, F_UNLCK } = abi;

describe("flock", () => {
  it("belongs to the open file description: its copies share it, others do not", () => {
    const [a, b] = [open(), open(abi.O_RDONLY)];
    expect(flock(a, EX)).toBe(0);
    expect(flock(b, SH | NB)).toBe(-errno.EAGAIN);
    const copy = p.call("dup", a);
    expect(flock(copy, EX | NB)).toBe(0);
    p.call("close", a);
    expect(flock(b, EX | NB)).toBe(-errno.EAGAIN);
    p.call("close", copy);
    expect(flock(b, EX | NB)).toBe(0);
    expect(flock(open(abi.O_RDWR, "/g"), EX | NB)).toBe(0);
    expect(flock(b, 3)).toBe(-errno.EINVAL);
    expect(flock(99, EX)).toBe(-errno.EBADF);
  });

  it("waits until it is given back; one that can't become another kind is lost", () => {
    const [a, b] = [open(), open()];
    flock(a, SH);
    flock(b, SH);
    expect(flock(a, EX | NB)).toBe(-errno.EAGAIN);
    expect(flock(b, EX | NB)).toBe(0);
    const waiting = p.wait("flock", a, SH);
    expect(waiting.result).toBeUndefined();
    expect(flock(b, UN)).toBe(0);
    expect(waiting.result).toBe(0);
  });
});

describe("record locks", () => {
  it("of the process never are in its own way, of descriptions they are", () => {
    const [a, b] = [open(), open()];
    expect(set(a, F_SETLK, F_WRLCK, 100n, 20n)).toBe(0);
    expect(set(b, F_SETLK, F_WRLCK, 110n, 1n)).toBe(0);
    expect(get(b, F_GETLK, F_WRLCK)[0]).toBe(F_UNLCK);
    expect(set(b, F_OFD_SETLK, F_RDLCK, 119n, 5n)).toBe(-errno.EAGAIN);
    expect(get(b, F_OFD_GETLK, F_RDLCK)).toEqual([F_WRLCK, 100n, 20n, 4242]);
    expect(set(b, F_OFD_SETLK, F_WRLCK, 200n)).toBe(0);
    expect(get(a, F_GETLK, F_RDLCK, 150n)).toEqual([F_WRLCK, 200n, 0n, -1]);
    expect(set(a, F_SETLK, F_WRLCK, -1n, 1n, abi.SEEK_END)).toBe(0);
  });

  it("split and merge, and wait", () => {
    const [a, b] = [open(), open()];
    set(a, F_SETLK, F_WRLCK, 0n, 10n);
    set(a, F_SETLK, F_WRLCK, 10n, 10n);
    expect(get(b, F_OFD_GETLK, F_RDLCK)).toEqual([F_WRLCK, 0n, 20n, 4242]);
    set(a, F_SETLK, F_UNLCK, 5n, 5n);
    expect(get(b, F_OFD_GETLK, F_RDLCK)).toEqual([F_WRLCK, 0n, 5n, 4242]);
    expect(get(b, F_OFD_GETLK, F_RDLCK, 5n)).toEqual([F_WRLCK, 10n, 10n, 4242]);
    expect(set(b, F_OFD_SETLK, F_WRLCK, 5n, 5n)).toBe(0);
    set(a, F_SETLK, F_RDLCK, 10n, 2n);
    expect(set(b, F_OFD_SETLK, F_RDLCK, 10n, 2n)).toBe(0);
    const waiting = p.wait("fcntl", b, F_OFD_SETLKW, flockStruct(F_WRLCK, 15n, 1n));
    set(a, F_SETLK, F_UNLCK, 15n, 1n);
    expect(waiting.result).toBe(0);
  });

  it("are gone when the process closes any descriptor of the file", () => {
    const [a, b, c] = [open(), open(), open()];
    set(a, F_SETLK, F_WRLCK);
    expect(set(b, F_OFD_SETLK, F_WRLCK)).toBe(-errno.EAGAIN);
    p.call("close", c);
    expect(set(b, F_OFD_SETLK, F_WRLCK)).toBe(0);
  });

  it("refuse what makes no sense", () => {
    const [a, readOnly] = [open(), open(abi.O_RDONLY)];
    expect(set(a, F_SETLK, 7)).toBe(-errno.EINVAL);
    expect(set(a, F_SETLK, F_RDLCK, -1n)).toBe(-errno.EINVAL);
    expect(set(a, F_SETLK, F_RDLCK, 5n, -6n)).toBe(-errno.EINVAL);
    expect(set(a, F_SETLK, F_RDLCK, 1n << 62n, (1n << 62n) + 1n)).toBe(-errno.EOVERFLOW);
    expect(set(readOnly, F_SETLK, F_WRLCK)).toBe(-errno.EBADF);
    expect(p.call("fcntl", a, F_SETLK, 0x10)).toBe(-errno.EFAULT);
  });
});

describe("between machines", () => {
  it("locks are seen, deadlocks too, and what a machine held that is gone is free", () => {
    const folder = mkdtempSync(join(tmpdir(), "goemu-locks-"));
    try {
      const store = (pid: number): NodeLocks => NodeLocks.open(folder, pid) as NodeLocks;
      // This process, its parent, and one that does not exist.
      const [ours, theirs, gone] = [store(process.pid), store(process.ppid), store(2 ** 22 + 1)];
      const all = [ours, theirs, gone].map((locks) => new FileLocks({ locks }, () => {}));
      const description = p.files.table.get(open());
      const other = p.files.table.get(open(abi.O_RDWR, "/g"));
      const request = (type: "exclusive" | "none") =>
        ({ kind: "record", type, start: 1n, end: 9n, byDescription: false }) as const;
      expect(all[2].set(description, request("exclusive"), false, 3)).toBe(0);
      expect(all[0].set(description, request("exclusive"), false, 1)).toBe(0);
      expect(all[1].conflict(description, request("exclusive"))).toMatchObject({ pid: 1, start: 1n, end: 9n });
      expect(() => all[1].set(description, request("exclusive"), false, 2)).toThrow("EAGAIN");
      expect(all[1].set(other, request("exclusive"), false, 2)).toBe(0);
      const waiting = all[1].set(description, request("exclusive"), true, 2);
      expect(() => all[0].set(other, request("exclusive"), true, 1)).toThrow("EDEADLK");
      expect(typeof waiting === "object" && waiting.retry()).toBeNull();
      ours.close();
      expect(typeof waiting === "object" && waiting.retry()).toBe(0);
      if (typeof waiting === "object") waiting.cleanup?.();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
