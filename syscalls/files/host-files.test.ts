import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { Block } from "../block.ts";
import { FakeProcess } from "./fake-process.ts";

let directory: string;
let p: FakeProcess;
beforeAll(() => {
  directory = fs.mkdtempSync(`${os.tmpdir()}/goemu-host-files-`);
});
afterAll(() => fs.rmSync(directory, { recursive: true }));
beforeEach(() => {
  p = new FakeProcess(new NodeHost());
});
afterEach(() => {
  p.dispose();
});

const open = (path: string, flags: number): number => p.call("openat", abi.AT_FDCWD, path, flags, 0o644);

/** What a file holds, by the guest's own calls; or a negative error number. */
function content(path: string): string | number {
  const fd = open(path, abi.O_RDONLY);
  if (fd < 0) return fd;
  const buffer = p.room(64);
  const count = p.call("read", fd, buffer, 64);
  p.call("close", fd);
  return p.text(buffer, count);
}

/** Error number, or inode, that stat(2) or lstat(2) tells. */
function inode(call: "stat" | "lstat", path: string): number | bigint {
  const at = p.room(144);
  const result = p.call(call, path, at);
  return result === 0 ? p.memory.readU64(at + 8) : result;
}

describe("what the host changes is seen at once", () => {
  it("a file that is replaced, removed, written to", () => {
    const path = `${directory}/file`;
    fs.writeFileSync(path, "one");
    const fd = open(path, abi.O_RDONLY);
    expect(content(path)).toBe("one");
    const before = inode("stat", path);
    fs.writeFileSync(`${path}.new`, "two");
    fs.renameSync(`${path}.new`, path);
    expect(content(path)).toBe("two");
    expect(inode("stat", path)).toBe(fs.statSync(path, { bigint: true }).ino);
    // What was opened before is still the old file.
    const at = p.room(144);
    expect(p.call("fstat", fd, at)).toBe(0);
    expect([p.memory.readU64(at + 8), p.memory.readU64(at + 16)]).toEqual([before, 0n]);
    fs.appendFileSync(path, "!");
    expect(content(path)).toBe("two!");
    fs.unlinkSync(path);
    expect([content(path), inode("stat", path), inode("lstat", path)]).toEqual(Array(3).fill(-errno.ENOENT));
    fs.writeFileSync(path, "three");
    expect(content(path)).toBe("three");
  });

  it("the size of an open file", () => {
    const path = `${directory}/grows`;
    fs.writeFileSync(path, "12");
    const fd = open(path, abi.O_RDONLY);
    fs.appendFileSync(path, "345");
    const at = p.room(144);
    p.call("fstat", fd, at);
    expect(p.memory.readU64(at + 48)).toBe(5n);
    expect(p.call("lseek", fd, 0, abi.SEEK_END)).toBe(5);
  });

  it("a directory that is renamed, a symbolic link that leads elsewhere", () => {
    for (const name of ["a", "b"]) {
      fs.mkdirSync(`${directory}/${name}`);
      fs.writeFileSync(`${directory}/${name}/x`, name);
    }
    const link = `${directory}/link`;
    fs.symlinkSync("a", link);
    expect([content(`${link}/x`), content(`${directory}/a/x`)]).toEqual(["a", "a"]);
    fs.unlinkSync(link);
    fs.symlinkSync("b", link);
    expect(content(`${link}/x`)).toBe("b");
    fs.unlinkSync(link);
    fs.symlinkSync("/proc/self", link);
    expect(content(`${link}/comm`)).toBe("guest\n");
    fs.renameSync(`${directory}/a`, `${directory}/c`);
    expect([content(`${directory}/a/x`), content(`${directory}/c/x`)]).toEqual([-errno.ENOENT, "a"]);
  });
});

describe("paths", () => {
  it("fail as Linux says", () => {
    const file = `${directory}/plain`;
    fs.writeFileSync(file, "x");
    fs.symlinkSync("nowhere", `${directory}/dangling`);
    fs.symlinkSync("plain/below", `${directory}/through`);
    for (const call of ["stat", "lstat"] as const) {
      expect(inode(call, `${file}/below`)).toBe(-errno.ENOTDIR);
      expect(inode(call, `${directory}/none`)).toBe(-errno.ENOENT);
      expect(inode(call, `${directory}/none/below`)).toBe(-errno.ENOENT);
      expect(inode(call, `${directory}/${"n".repeat(256)}`)).toBe(-errno.ENAMETOOLONG);
    }
    expect(inode("stat", `${directory}/dangling`)).toBe(-errno.ENOENT);
    expect(inode("stat", `${directory}/through`)).toBe(-errno.ENOTDIR);
    expect(inode("lstat", `${directory}/dangling`)).toBe(fs.lstatSync(`${directory}/dangling`, { bigint: true }).ino);
  });

  it("lead into the machine's own trees however they are written", () => {
    for (const path of ["/proc/self/comm", "//proc/self/comm", "/./proc/self/comm", "/proc/./self//comm"])
      expect(content(path)).toBe("guest\n");
    expect(content(`${directory}/../../../../../../../../proc/self/comm`)).toBe("guest\n");
    expect(content("/tmp/../dev/null")).toBe("");
    expect(content("/process/none")).toBe(-errno.ENOENT);
  });

  it("are bytes, and may lie on two pages", () => {
    for (const name of ["caf\xe9", "\xc3\xbc", ".hidden", "a b\n"]) {
      const fd = open(`${directory}/${name}`, abi.O_WRONLY | abi.O_CREAT | abi.O_EXCL);
      expect(fd).toBeGreaterThan(2);
      expect(fs.existsSync(Buffer.from(`${directory}/${name}`, "latin1"))).toBe(true);
      expect(p.call("unlink", `${directory}/${name}`)).toBe(0);
    }
    const path = `${directory}/pages`;
    fs.writeFileSync(path, "across");
    const at = p.scratch + 0x8000 - 5;
    p.memory.writeBytes(at, Buffer.from(`${path}\0`));
    const fd = p.call("open", at, abi.O_RDONLY, 0);
    expect(fd).toBeGreaterThan(2);
  });

  it("of removals and renamings end in a name", () => {
    fs.mkdirSync(`${directory}/empty`);
    expect(p.call("rename", `${directory}/empty//`, `${directory}/moved/`)).toBe(0);
    expect(p.call("rename", `${directory}/moved/.`, `${directory}/x`)).toBe(-errno.EBUSY);
    expect(p.call("rmdir", `${directory}/moved/./`)).toBe(-errno.EINVAL);
    expect(p.call("rmdir", `${directory}/moved/..//`)).toBe(-errno.ENOTEMPTY);
    expect(p.call("unlink", "/")).toBe(-errno.EISDIR);
    expect(p.call("rmdir", `${directory}/moved/`)).toBe(0);
  });
});

describe("opening", () => {
  it("waits for the other end of a FIFO without holding the host up, and shows no O_NONBLOCK", () => {
    const path = `${directory}/fifo`;
    execFileSync("mkfifo", [path]);
    const writer = p.start("open", path, abi.O_WRONLY, 0);
    expect(writer).toBeInstanceOf(Block);
    (writer as Block).cleanup?.();
    expect(p.call("open", path, abi.O_WRONLY | abi.O_NONBLOCK, 0)).toBe(-errno.ENXIO);
    const reader = p.wait("open", path, abi.O_RDONLY, 0);
    const writing = open(path, abi.O_WRONLY);
    expect(reader.result).toBeGreaterThan(0);
    const folder = open(`${directory}/../${directory.split("/").at(-1)}`, abi.O_RDONLY);
    for (const fd of [writing, reader.result ?? -1, folder]) {
      expect(p.call("fcntl", fd, abi.F_GETFL) & abi.O_NONBLOCK).toBe(0);
      p.call("close", fd);
    }
  });
});

describe("transfers", () => {
  it("take memory that lies anywhere", () => {
    const path = `${directory}/pieces`;
    const bytes = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
    fs.writeFileSync(path, bytes);
    const fd = open(path, abi.O_RDWR);
    const { space } = p.memory;
    // Above the window pages lie wherever there is room; the second mapping's frames come first.
    const high = space.map({ address: 0x7000_0000_0000, length: 0x8000, prot: 3, fixed: true });
    for (const page of [3, 1, 4, 0, 2]) p.memory.writeU8(high + page * 4096, 1);
    for (const at of [p.scratch + 123, high + 123]) {
      expect(p.call("pread64", fd, at, 16_000, 5)).toBe(16_000);
      expect(p.memory.readBytes(at, 16_000)).toEqual(bytes.subarray(5, 16_005));
      expect(p.call("pread64", fd, at, 16_000, 15_000)).toBe(5000);
      expect(p.call("pwrite64", fd, at, 5000, 1)).toBe(5000);
      expect(new Uint8Array(fs.readFileSync(path)).subarray(1, 5001)).toEqual(bytes.subarray(15_000));
      expect(p.call("pread64", fd, at, 0, 0)).toBe(0);
      fs.writeFileSync(path, bytes);
    }
    space.unmap(high, 0x8000);
  });
});

describe("errors of system calls", () => {
  it("record no stack, and leave that of others alone", () => {
    const limit = Error.stackTraceLimit;
    expect(new SyscallError("ENOENT").stack).not.toMatch(/\n\s+at /);
    expect(inode("stat", `${directory}/none`)).toBe(-errno.ENOENT);
    expect(Error.stackTraceLimit).toBe(limit);
    expect(new Error("other").stack).toMatch(/\n\s+at /);
  });
});
