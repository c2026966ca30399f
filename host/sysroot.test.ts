import { beforeEach, expect, it } from "vitest";
import { SyscallError } from "../syscalls/abi/errno.ts";
import { O_CREAT, O_RDONLY, O_WRONLY } from "../syscalls/abi/fcntl.ts";
import type { HostFileSystem } from "./host.ts";
import { MemoryHost } from "./memory/memory-host.ts";
import { SysrootFiles } from "./sysroot.ts";

const text = (string: string): Uint8Array => new TextEncoder().encode(string);
let host: HostFileSystem;
let files: SysrootFiles;

beforeEach(() => {
  host = new MemoryHost({
    files: {
      "/lib/libc.so": text("the host's"),
      "/etc/hosts": text("hosts"),
      "/root/lib/real.so": text("the folder's"),
      "/root/lib/first": text("x"),
    },
  }).files;
  host.symlink("/lib/real.so", "/root/lib/libc.so");
  host.symlink("../lib", "/root/lib/up");
  host.symlink("/lib/loop", "/root/lib/loop");
  files = new SysrootFiles(host, "/root");
});

function content(path: string): string {
  const file = files.open(path, O_RDONLY, 0);
  const bytes = new Uint8Array(100);
  return new TextDecoder().decode(bytes.subarray(0, file.read(bytes, 0)));
}

it("has what the folder has, and the host's for the rest", () => {
  expect(content("/lib/real.so")).toBe("the folder's");
  expect(content("/etc/hosts")).toBe("hosts");
  expect(content("/root/lib/real.so")).toBe("the folder's");
  expect(() => content("/lib/none")).toThrow("ENOENT");
});

it("keeps absolute links within the folder", () => {
  expect(content("/lib/libc.so")).toBe("the folder's");
  expect(content("/lib/up/libc.so")).toBe("the folder's");
  expect(files.readLink("/lib/libc.so")).toBe("/lib/real.so");
  expect(files.stat("/lib/libc.so", true).size).toBe("the folder's".length);
  expect(files.realPath("/lib/libc.so")).toBe("/root/lib/real.so");
  expect(() => files.stat("/lib/loop", true)).toThrow(SyscallError);
});

it("leaves the folder alone when something is made or removed", () => {
  files.open("/lib/first", O_WRONLY | O_CREAT, 0o644).close();
  files.unlink("/lib/first");
  expect(host.stat("/root/lib/first", true).size).toBe(1);
});
