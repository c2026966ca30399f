import * as fs from "node:fs";
import * as os from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Host } from "../../host/host.ts";
import { MemoryHost } from "../../host/memory/memory-host.ts";
import { NodeHost } from "../../host/node/host.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { FakeProcess } from "./fake-process.ts";

const hosts: [string, () => [Host, string]][] = [
  ["in memory", () => [new MemoryHost({ files: { "/top/seed": "" } }), "/top"]],
  ["of Node", () => [new NodeHost(), fs.mkdtempSync(`${os.tmpdir()}/goemu-names-`)]],
];

/** The same calls on both hosts, so that the one in memory answers as the kernel does. */
describe.each(hosts)("files %s", (kind, make) => {
  let p: FakeProcess;
  let top: string;
  beforeEach(() => {
    const [host, directory] = make();
    top = directory;
    p = new FakeProcess(host);
    p.call("chdir", top);
    p.call("umask", 0o22);
  });
  afterEach(() => {
    p.dispose();
    if (kind === "of Node") fs.rmSync(top, { recursive: true });
  });

  const create = (name: string, text = ""): void => {
    const fd = p.call("open", name, abi.O_CREAT | abi.O_WRONLY | abi.O_TRUNC, 0o666);
    p.call("write", fd, text, text.length);
    p.call("close", fd);
  };
  const mode = (name: string): number => {
    const at = p.room(144);
    const result = p.call("lstat", name, at);
    return result < 0 ? result : p.memory.readU32(at + 24);
  };
  const names = (): string[] => {
    const fd = p.call("open", ".", abi.O_DIRECTORY, 0);
    const at = p.room(1024);
    const count = p.call("getdents64", fd, at, 1024);
    const found: string[] = [];
    for (let i = 0; i < count; i += p.memory.readU16(at + i + 16)) {
      found.push(new TextDecoder().decode(p.memory.readCString(at + i + 19, 256)));
    }
    p.call("close", fd);
    return found.filter((name) => name !== "seed").sort();
  };

  it("makes and removes directories and files", () => {
    expect(p.call("mkdir", "d", 0o777)).toBe(0);
    expect(mode("d")).toBe(0o040755);
    expect(p.call("mkdir", "d", 0o777)).toBe(-errno.EEXIST);
    expect(p.call("mkdir", "no/d", 0o777)).toBe(-errno.ENOENT);
    create("d/f", "text");
    expect(mode("d/f")).toBe(0o100644);
    expect(p.call("rmdir", "d")).toBe(-errno.ENOTEMPTY);
    expect(p.call("rmdir", "d/f")).toBe(-errno.ENOTDIR);
    expect(p.call("unlink", "d")).toBe(-errno.EISDIR);
    expect(p.call("unlinkat", abi.AT_FDCWD, "d/f", 0)).toBe(0);
    expect(p.call("unlink", "d/f")).toBe(-errno.ENOENT);
    expect(p.call("rmdir", "d/.")).toBe(-errno.EINVAL);
    expect(p.call("unlinkat", abi.AT_FDCWD, "d", 1)).toBe(-errno.EINVAL);
    expect(p.call("unlinkat", abi.AT_FDCWD, "d", abi.AT_REMOVEDIR)).toBe(0);
    expect(names()).toEqual([".", ".."]);
    expect(p.call("unlink", "")).toBe(-errno.ENOENT);
  });

  it("renames, links, follows symbolic links", () => {
    create("a", "A");
    create("b", "B");
    expect(p.call("renameat2", abi.AT_FDCWD, "a", abi.AT_FDCWD, "b", abi.RENAME_NOREPLACE)).toBe(-errno.EEXIST);
    expect(p.call("renameat2", abi.AT_FDCWD, "a", abi.AT_FDCWD, "c", abi.RENAME_NOREPLACE)).toBe(0);
    expect(p.call("rename", "c", "b")).toBe(0);
    expect(names()).toEqual([".", "..", "b"]);
    expect(p.call("link", "b", "hard")).toBe(0);
    expect(p.call("link", "b", "hard")).toBe(-errno.EEXIST);
    const at = p.room(144);
    p.call("stat", "hard", at);
    expect(p.memory.readU64(at + 16)).toBe(2n);
    expect(p.call("symlink", "b", "soft")).toBe(0);
    expect(p.call("symlink", "b", "soft")).toBe(-errno.EEXIST);
    expect(p.call("readlink", "soft", at, 100)).toBe(1);
    expect(p.call("readlink", "b", at, 100)).toBe(-errno.EINVAL);
    expect(p.call("readlink", "soft", at, 0)).toBe(-errno.EINVAL);
    expect(mode("soft")).toBe(0o120777);
    expect(p.call("open", "soft", abi.O_NOFOLLOW, 0)).toBe(-errno.ELOOP);
    expect(p.call("open", "soft", abi.O_CREAT | abi.O_EXCL | abi.O_RDWR, 0)).toBe(-errno.EEXIST);
    expect(p.call("open", "soft", 0, 0)).toBeGreaterThan(2);
    p.call("symlink", "/proc/self/comm", "out");
    expect(p.call("rename", "none", "x")).toBe(-errno.ENOENT);
    expect(p.call("rename", ".", "x")).toBe(-errno.EBUSY);
  });

  it("changes modes, times and sizes", () => {
    create("f", "0123456789");
    expect(p.call("chmod", "f", 0o600)).toBe(0);
    expect(mode("f")).toBe(0o100600);
    expect(p.call("fchmodat", abi.AT_FDCWD, "f", 0o751)).toBe(0);
    expect(p.call("access", "f", abi.X_OK)).toBe(0);
    expect(p.call("access", "none", 0)).toBe(-errno.ENOENT);
    expect(p.call("access", "f", 8)).toBe(-errno.EINVAL);
    const times = p.put(new Uint8Array(new BigInt64Array([1_000_000_000n, 0n, 1_234_567_890n, 500_000_000n]).buffer));
    expect(p.call("utimensat", abi.AT_FDCWD, "f", times, 0)).toBe(0);
    const at = p.room(144);
    p.call("stat", "f", at);
    expect([p.memory.readU64(at + 72), p.memory.readU64(at + 88), p.memory.readU64(at + 96)]).toEqual([
      1_000_000_000n,
      1_234_567_890n,
      500_000_000n,
    ]);
    expect(p.call("truncate", "f", 4)).toBe(0);
    const fd = p.call("open", "f", abi.O_RDWR, 0);
    expect(p.call("lseek", fd, 0, abi.SEEK_END)).toBe(4);
    expect(p.call("ftruncate", fd, 6)).toBe(0);
    expect(p.call("pread64", fd, at, 10, 0)).toBe(6);
    expect(p.text(at, 6)).toBe("0123\0\0");
    expect(p.call("ftruncate", fd, -1)).toBe(-errno.EINVAL);
    expect(p.call("ftruncate", p.call("open", "f", 0, 0), 1)).toBe(-errno.EINVAL);
    expect(p.call("fallocate", fd, 0, 0, 20)).toBe(0);
    expect(p.call("lseek", fd, 0, abi.SEEK_END)).toBe(20);
    expect(p.call("truncate", ".", 1)).toBe(-errno.EISDIR);
    expect(p.call("fsync", fd)).toBe(0);
    expect(p.call("fsync", p.call("eventfd2", 0, 0))).toBe(-errno.EINVAL);
    const x = p.room(256);
    expect(p.call("statx", abi.AT_FDCWD, "f", 0, 0xfff, x)).toBe(0);
    expect([p.memory.readU16(x + 28), p.memory.readU64(x + 40), p.memory.readU64(x + 112)]).toEqual([
      0o100751,
      20n,
      p.memory.readU64(x + 112),
    ]);
    expect(p.call("statx", abi.AT_FDCWD, "f", 0, 0x8000_0000, x)).toBe(-errno.EINVAL);
    expect(p.call("newfstatat", abi.AT_FDCWD, "f", x, 1)).toBe(-errno.EINVAL);
  });

  it("copies from file to file", () => {
    create("from", "0123456789");
    const source = p.call("open", "from", 0, 0);
    const sink = p.call("open", "to", abi.O_CREAT | abi.O_RDWR, 0o644);
    expect(p.call("sendfile", sink, source, 0, 4)).toBe(4);
    expect(p.call("copy_file_range", source, 0, sink, 0, 100, 0)).toBe(6);
    expect(p.call("copy_file_range", source, 0, sink, 0, 100, 0)).toBe(0);
    const at = p.put(new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0]));
    expect(p.call("sendfile", sink, source, at, 3)).toBe(3);
    expect(p.memory.readU64(at)).toBe(5n);
    const buffer = p.room(32);
    expect(p.call("pread64", sink, buffer, 32, 0)).toBe(13);
    expect(p.text(buffer, 13)).toBe("0123456789234");
    expect(p.call("copy_file_range", source, 0, 0, 0, 1, 0)).toBe(-errno.EINVAL);
    const memory = p.call("memfd_create", "m", 0);
    expect(p.call("sendfile", memory, source, at, 100)).toBe(5);
    expect(p.call("pread64", memory, buffer, 32, 0)).toBe(5);
    expect(p.text(buffer, 5)).toBe("56789");
  });

  it("works in directories deeper than the longest path", () => {
    const name = "n".repeat(250);
    for (let i = 0; i < 18; i++) {
      expect(p.call("mkdir", name, 0o755)).toBe(0);
      expect(p.call("chdir", name)).toBe(0);
      p.reset();
    }
    create("deep", "x");
    expect(mode("deep")).toBe(0o100644);
    for (let i = 0; i < 18; i++) {
      expect(p.call("unlink", "deep")).toBe(i === 0 ? 0 : -errno.ENOENT);
      expect(p.call("chdir", "..")).toBe(0);
      expect(p.call("rmdir", name)).toBe(0);
    }
    expect(names()).toEqual([".", ".."]);
  });

  it("walks directories by descriptor, getcwd and fchdir", () => {
    p.call("mkdir", "sub", 0o755);
    create("sub/x");
    const sub = p.call("open", "sub", abi.O_DIRECTORY, 0);
    expect(p.call("openat", sub, "x", 0, 0)).toBe(sub + 1);
    expect(p.call("fchdir", sub)).toBe(0);
    expect(names()).toEqual([".", "..", "x"]);
    const buffer = p.room(256);
    expect(p.call("getcwd", buffer, 256)).toBe(`${top}/sub`.length + 1);
    expect(p.call("getcwd", buffer, 3)).toBe(-errno.ERANGE);
    expect(p.call("fchdir", sub + 1)).toBe(-errno.ENOTDIR);
    expect(p.call("chdir", "nowhere")).toBe(-errno.ENOENT);
    expect(p.call("getdents64", sub, buffer, 20)).toBe(-errno.EINVAL);
    expect(p.call("getdents64", sub, buffer, 24)).toBe(24);
    expect(p.call("getdents64", sub, 0x50_0000, 240)).toBe(-errno.EFAULT);
    expect(p.call("getdents64", sub + 1, buffer, 24)).toBe(-errno.ENOTDIR);
    expect(p.call("getdents64", sub, buffer, 256)).toBe(48);
    expect(p.call("getdents64", sub, buffer, 256)).toBe(0);
    create("later");
    expect(p.call("lseek", sub, 0, abi.SEEK_SET)).toBe(0);
    expect(p.call("getdents64", sub, buffer, 256)).toBe(104);
  });
});
