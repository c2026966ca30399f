import * as fs from "node:fs";
import * as os from "node:os";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PROT_READ } from "../../emu/layout.ts";
import { NodeHost } from "../../host/node/host.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { FakeProcess } from "./fake-process.ts";

let directory: string;
let p: FakeProcess;
beforeAll(() => {
  directory = fs.mkdtempSync(`${os.tmpdir()}/goemu-files-`);
});
afterAll(() => fs.rmSync(directory, { recursive: true }));
beforeEach(() => {
  p = new FakeProcess(new NodeHost());
});
afterEach(() => {
  p.dispose();
});

const open = (name: string, flags: number, mode = 0o644): number =>
  p.call("openat", abi.AT_FDCWD, `${directory}/${name}`, flags, mode);

describe("host files", () => {
  it("writes, seeks, reads back, and stops at the end", () => {
    const fd = open("a", abi.O_RDWR | abi.O_CREAT | abi.O_TRUNC);
    expect(fd).toBe(3);
    expect(p.call("write", fd, "hello world", 11)).toBe(11);
    expect(p.call("lseek", fd, 6, abi.SEEK_SET)).toBe(6);
    const buffer = p.room(64);
    expect(p.call("read", fd, buffer, 64)).toBe(5);
    expect(p.text(buffer, 5)).toBe("world");
    expect(p.call("read", fd, buffer, 64)).toBe(0);
    expect(p.call("pread64", fd, buffer, 5, 0)).toBe(5);
    expect(p.text(buffer, 5)).toBe("hello");
    expect(p.call("lseek", fd, 0, abi.SEEK_CUR)).toBe(11);
    expect(p.call("pwrite64", fd, "J", 1, 0)).toBe(1);
    expect(fs.readFileSync(`${directory}/a`, "utf8")).toBe("Jello world");
    expect(p.call("close", fd)).toBe(0);
    expect(p.call("close", fd)).toBe(-errno.EBADF);
  });

  it("appends where the file ends, and says so in F_GETFL", () => {
    fs.writeFileSync(`${directory}/log`, "one\n");
    const fd = open("log", abi.O_WRONLY | abi.O_APPEND);
    expect(p.call("fcntl", fd, abi.F_GETFL)).toBe(abi.O_WRONLY | abi.O_APPEND | abi.O_LARGEFILE);
    expect(p.call("write", fd, "two\n", 4)).toBe(4);
    expect(p.call("lseek", fd, 0, abi.SEEK_CUR)).toBe(8);
    expect(p.call("fcntl", fd, abi.F_SETFL, 0)).toBe(0);
    expect(p.call("pwrite64", fd, "ONE", 3, 0)).toBe(3);
    expect(fs.readFileSync(`${directory}/log`, "utf8")).toBe("ONE\ntwo\n");
  });

  it("scatters and gathers", () => {
    const fd = open("vectors", abi.O_RDWR | abi.O_CREAT | abi.O_TRUNC);
    const iovecs = (parts: [number, number][]): number => {
      const words = new BigUint64Array(parts.flat().map(BigInt));
      return p.put(new Uint8Array(words.buffer));
    };
    const [a, b] = [p.put("abc"), p.put("defg")];
    const out = iovecs([[a, 3], [0, 0], [b, 4]]); // biome-ignore format: pairs
    expect(p.call("writev", fd, out, 3)).toBe(7);
    const [x, y] = [p.room(16), p.room(16)];
    expect(p.call("preadv", fd, iovecs([[x, 2], [y, 16]]), 2, 0)).toBe(7); // biome-ignore format: pairs
    expect(p.text(x, 2) + p.text(y, 5)).toBe("abcdefg");
    expect(p.call("writev", fd, out, 1025)).toBe(-errno.EINVAL);
    expect(p.call("writev", fd, iovecs([[a, 3]]), -1)).toBe(-errno.EINVAL); // biome-ignore format: pairs
    expect(p.call("readv", fd, 0x50_0000, 1)).toBe(-errno.EFAULT);
    expect(p.call("preadv2", fd, out, 1, 0, 0, 8)).toBe(-errno.ENOTSUP);
  });

  it("transfers up to a bad page, and fails only if nothing could be moved", () => {
    const fd = open("big", abi.O_RDWR | abi.O_CREAT | abi.O_TRUNC);
    const end = p.scratch + 0x1_0000;
    p.memory.writeBytes(end - 4, new Uint8Array([1, 2, 3, 4]));
    expect(p.call("write", fd, end - 4, 100)).toBe(4);
    expect(p.call("write", fd, end, 100)).toBe(-errno.EFAULT);
    expect(p.call("lseek", fd, 0, abi.SEEK_SET)).toBe(0);
    expect(p.call("read", fd, end - 3, 100)).toBe(3);
    expect(p.call("read", fd, end, 100)).toBe(-errno.EFAULT);
    expect(p.call("lseek", fd, 0, abi.SEEK_END)).toBe(4);
    // At the end of the file nothing is copied, so the pointer does no harm.
    expect(p.call("read", fd, end, 100)).toBe(0);
    expect(p.call("read", fd, 0x7fff_ffff_f000, 1)).toBe(-errno.EFAULT);
    p.memory.space.protect(p.scratch, 4096, PROT_READ);
    p.call("lseek", fd, 0, abi.SEEK_SET);
    expect(p.call("read", fd, p.scratch, 4)).toBe(-errno.EFAULT);
    p.memory.space.protect(p.scratch, 4096, 3);
  });

  it("checks in Linux's order", () => {
    const readOnly = open("a", abi.O_RDONLY);
    expect(p.call("write", readOnly, 0, 1)).toBe(-errno.EBADF);
    expect(p.call("read", 99, 0, 1)).toBe(-errno.EBADF);
    expect(p.call("pread64", readOnly, 0, 1, -1)).toBe(-errno.EINVAL);
    expect(p.call("pread64", 99, 0, 1, -1)).toBe(-errno.EINVAL);
    expect(p.call("lseek", readOnly, 0, 9)).toBe(-errno.EINVAL);
    expect(p.call("lseek", readOnly, -1, abi.SEEK_SET)).toBe(-errno.EINVAL);
    expect(p.call("lseek", readOnly, 11, abi.SEEK_DATA)).toBe(-errno.ENXIO);
    expect(p.call("lseek", readOnly, 3, abi.SEEK_HOLE)).toBe(11);
    const dir = p.call("open", directory, abi.O_RDONLY | abi.O_DIRECTORY, 0);
    expect(p.call("read", dir, 0, 1)).toBe(-errno.EISDIR);
    expect(p.call("open", directory, abi.O_RDWR, 0)).toBe(-errno.EISDIR);
    expect(open("a", abi.O_RDONLY | abi.O_DIRECTORY)).toBe(-errno.ENOTDIR);
    expect(open("none", abi.O_RDONLY)).toBe(-errno.ENOENT);
    expect(open("a/b", abi.O_RDONLY)).toBe(-errno.ENOTDIR);
    expect(open("a", abi.O_RDWR | abi.O_CREAT | abi.O_EXCL)).toBe(-errno.EEXIST);
    expect(open("n".repeat(256), abi.O_RDONLY)).toBe(-errno.ENAMETOOLONG);
    expect(p.call("open", "", 0)).toBe(-errno.ENOENT);
    expect(p.call("open", p.put("x".repeat(4096)), 0)).toBe(-errno.ENAMETOOLONG);
    expect(p.call("open", 0x50_0000, 0)).toBe(-errno.EFAULT);
    expect(p.call("openat", 99, "a", 0)).toBe(-errno.EBADF);
    expect(p.call("openat", readOnly, "a", 0)).toBe(-errno.ENOTDIR);
    fs.symlinkSync("loop", `${directory}/loop`);
    expect(open("loop", abi.O_RDONLY)).toBe(-errno.ELOOP);
    const path = open("a", abi.O_PATH);
    expect(p.call("read", path, p.room(8), 1)).toBe(-errno.EBADF);
    expect(p.call("fstat", path, p.room(144))).toBe(0);
  });

  it("opens below a directory that has been renamed", () => {
    fs.mkdirSync(`${directory}/old`);
    fs.writeFileSync(`${directory}/old/inside`, "x");
    const dir = p.call("open", `${directory}/old`, abi.O_RDONLY | abi.O_DIRECTORY, 0);
    fs.renameSync(`${directory}/old`, `${directory}/new`);
    expect(p.call("openat", dir, "inside", abi.O_RDONLY)).toBe(dir + 1);
  });

  it("tells the file in struct stat", () => {
    const fd = open("a", abi.O_RDONLY);
    const at = p.room(144);
    const real = fs.statSync(`${directory}/a`, { bigint: true });
    for (const call of [
      () => p.call("fstat", fd, at),
      () => p.call("stat", `${directory}/a`, at),
      () => p.call("newfstatat", fd, "", at, abi.AT_EMPTY_PATH),
    ]) {
      expect(call()).toBe(0);
      const m = p.memory;
      expect([m.readU64(at), m.readU64(at + 8), m.readU64(at + 16)]).toEqual([real.dev, real.ino, real.nlink]);
      expect([m.readU32(at + 24), m.readU64(at + 48)]).toEqual([Number(real.mode), real.size]);
      expect(m.readU64(at + 88) * 1_000_000_000n + m.readU64(at + 96)).toBe(real.mtimeNs);
      m.writeBytes(at, new Uint8Array(144));
    }
  });
});

describe("descriptors", () => {
  it("gives the lowest free number and EMFILE at the limit", () => {
    const fds = [0, 1, 2].map(() => open("a", abi.O_RDONLY));
    expect(fds).toEqual([3, 4, 5]);
    p.call("close", 4);
    expect(p.call("dup", 0)).toBe(4);
    expect(p.call("fcntl", 0, abi.F_DUPFD_CLOEXEC, 10)).toBe(10);
    expect(p.call("fcntl", 10, abi.F_GETFD)).toBe(1);
    expect(p.call("fcntl", 10, abi.F_SETFD, 0)).toBe(0);
    expect(p.call("fcntl", 10, abi.F_GETFD)).toBe(0);
    p.files.table.limit = 7;
    expect(open("a", abi.O_RDONLY)).toBe(6);
    expect(open("a", abi.O_RDONLY)).toBe(-errno.EMFILE);
    expect(open("none", abi.O_RDONLY)).toBe(-errno.EMFILE);
    expect(p.call("dup2", 0, 7)).toBe(-errno.EBADF);
    expect(p.call("fcntl", 0, abi.F_DUPFD, 7)).toBe(-errno.EINVAL);
  });

  it("dup2 and dup3 replace, share the offset, and differ on equal numbers", () => {
    const fd = open("a", abi.O_RDONLY);
    expect(p.call("dup2", fd, 9)).toBe(9);
    expect(p.call("lseek", 9, 4, abi.SEEK_SET)).toBe(4);
    expect(p.call("lseek", fd, 0, abi.SEEK_CUR)).toBe(4);
    expect(p.call("dup2", 9, 9)).toBe(9);
    expect(p.call("dup2", 50, 50)).toBe(-errno.EBADF);
    expect(p.call("dup3", 9, 9, 0)).toBe(-errno.EINVAL);
    expect(p.call("dup3", 9, fd, abi.O_CLOEXEC)).toBe(fd);
    expect(p.call("fcntl", fd, abi.F_GETFD)).toBe(1);
    expect(p.call("close_range", 9, 100, 0)).toBe(0);
    expect(p.call("lseek", 9, 0, abi.SEEK_CUR)).toBe(-errno.EBADF);
    expect(p.call("close_range", 5, 4, 0)).toBe(-errno.EINVAL);
  });
});

describe("links that lead into the host's own /proc", () => {
  it("show the guest's", () => {
    fs.symlinkSync("/proc/self/comm", `${directory}/comm`);
    fs.symlinkSync("/proc/self", `${directory}/me`);
    const buffer = p.room(64);
    for (const name of ["comm", "me/comm"]) {
      const fd = open(name, abi.O_RDONLY);
      expect(p.call("read", fd, buffer, 64)).toBe(6);
      expect(p.text(buffer, 6)).toBe("guest\n");
    }
    expect(open("me/clear_refs", abi.O_RDONLY)).toBe(-errno.ENOENT);
    const at = p.room(144);
    expect(p.call("stat", `${directory}/me`, at)).toBe(0);
    expect(p.memory.readU32(at + 24)).toBe(0o040555);
    fs.unlinkSync(`${directory}/comm`);
    fs.unlinkSync(`${directory}/me`);
  });
});
