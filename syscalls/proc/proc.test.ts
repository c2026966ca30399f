import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PROT_EXEC, PROT_READ } from "../../emu/layout.ts";
import { MemoryHost } from "../../host/memory/memory-host.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { FakeProcess } from "../files/fake-process.ts";

let p: FakeProcess;
let host: MemoryHost;
beforeEach(() => {
  host = new MemoryHost({ files: { "/bin/guest": "program", "/etc/hosts": "localhost" }, hostName: "box" });
  host.files.symlink("../proc/self/mounts", "/etc/mtab");
  p = new FakeProcess(host);
});
afterEach(() => p.dispose());

const open = (path: string, flags = 0): number => p.call("openat", abi.AT_FDCWD, path, flags, 0);

function cat(path: string): string {
  const fd = open(path);
  if (fd < 0) return `error ${fd}`;
  let text = "";
  const buffer = p.room(1024);
  for (let count = p.call("read", fd, buffer, 1024); count > 0; count = p.call("read", fd, buffer, 1024)) {
    text += p.text(buffer, count);
  }
  p.call("close", fd);
  return text;
}

function readLink(path: string): string | number {
  const buffer = p.room(256);
  const count = p.call("readlink", path, buffer, 256);
  return count < 0 ? count : p.text(buffer, count);
}

function list(path: string): string[] {
  const fd = open(path, abi.O_DIRECTORY);
  const buffer = p.room(4096);
  const names: string[] = [];
  for (let count = p.call("getdents64", fd, buffer, 200); count > 0; count = p.call("getdents64", fd, buffer, 200)) {
    for (let at = 0; at < count; at += p.memory.readU16(buffer + at + 16)) {
      const name = p.memory.readCString(buffer + at + 19, 256) ?? new Uint8Array(0);
      names.push(`${p.memory.readU8(buffer + at + 18)} ${new TextDecoder().decode(name)}`);
    }
  }
  p.call("close", fd);
  return names;
}

describe("/proc/self", () => {
  it("shows arguments, environment, auxiliary vector, executable", () => {
    expect(cat("/proc/self/cmdline")).toBe("guest\0-x\0");
    expect(cat("/proc/4242/environ")).toBe("HOME=/root\0");
    expect(cat("/proc/self/auxv")).toHaveLength(16);
    expect(cat("/proc/self/comm")).toBe("guest\n");
    expect(cat("/proc/self/task/4242/comm")).toBe("guest\n");
    expect(readLink("/proc/self/exe")).toBe("/bin/guest");
    expect(cat("/proc/self/exe")).toBe("program");
    expect(readLink("/proc/self")).toBe("4242");
    expect(cat("/proc/1/comm")).toBe(`error ${-errno.ENOENT}`);
    expect(cat("/proc/self/cgroup")).toBe("0::/\n");
    expect(cat("/proc/self/stat")).toMatch(/^4242 \(guest\) R 1 4242 4242 0 -1 /);
    expect(cat("/proc/self/stat").trim().split(" ")).toHaveLength(52);
    expect(cat("/proc/self/status")).toContain("Threads:\t1\n");
    expect(cat("/proc/self/limits")).toContain(
      "Max open files            1024                 1048576              files",
    );
  });

  it("maps in the kernel's format, without the emulator's own mapping", () => {
    const { space } = p.memory;
    const backing = { path: "/bin/guest" };
    space.map({
      address: 0x40_0000,
      length: 0x2000,
      prot: PROT_READ | PROT_EXEC,
      fixed: true,
      backing,
      offset: 0x1000,
    });
    space.map({ address: 0x50_0000, length: 0x1000, prot: 0, fixed: true });
    space.map({ address: 0x60_0000, length: 0x1000, prot: 3, fixed: true, name: "[stack]" });
    space.map({ address: 0x70_0000, length: 0x1000, prot: 0, fixed: true, name: "[goemu frames]" });
    expect(cat("/proc/self/maps")).toBe(
      [
        "00200000-00210000 rw-p 00000000 00:00 0 ",
        "00400000-00402000 r-xp 00001000 00:00 0                                  /bin/guest",
        "00500000-00501000 ---p 00000000 00:00 0 ",
        "00600000-00601000 rw-p 00000000 00:00 0                                  [stack]",
        "",
      ].join("\n"),
    );
    space.unmap(0x40_0000, 0x40_0000);
  });

  it("lists and opens descriptors", () => {
    const file = open("/etc/hosts");
    const at = p.room(8);
    p.call("pipe2", at, 0);
    expect(list("/proc/self/fd")).toEqual(["4 .", "4 ..", ...[0, 1, 2, 3, 4, 5, 6].map((fd) => `10 ${fd}`)]);
    expect(readLink(`/proc/self/fd/${file}`)).toBe("/etc/hosts");
    expect(readLink("/proc/self/fd/4")).toMatch(/^pipe:\[\d+\]$/);
    expect(readLink("/proc/self/fd/9")).toBe(-errno.ENOENT);
    expect(readLink("/proc/self/fd/04")).toBe(-errno.ENOENT);
    expect(cat(`/proc/self/fd/${file}`)).toBe("localhost");
    expect(cat(`/dev/fd/${file}`)).toBe("localhost");
    // The end of a pipe opened again writes into the same pipe.
    const again = open("/proc/self/fd/5", abi.O_WRONLY);
    expect(p.call("write", again, "x", 1)).toBe(1);
    expect(p.call("read", 4, at, 8)).toBe(1);
    const out = open("/dev/stdout", abi.O_WRONLY);
    expect(p.call("write", out, "hello", 5)).toBe(5);
    expect(host.text("stdout")).toBe("hello");
    const event = p.call("eventfd2", 0, 0);
    expect(open(`/proc/self/fd/${event}`)).toBe(-errno.ENXIO);
  });
});

describe("the rest of /proc, /sys and /dev", () => {
  it("describes the machine", () => {
    expect(cat("/proc/cpuinfo").match(/model name\t: Test CPU\n/g)).toHaveLength(2);
    expect(cat("/proc/cpuinfo")).toContain("flags\t\t: fpu sse2\n");
    expect(cat("/proc/meminfo")).toMatch(/^MemTotal: {8}4194304 kB\n/);
    expect(cat("/proc/uptime")).toMatch(/^\d+\.\d\d 0\.00\n$/);
    expect(cat("/proc/sys/kernel/hostname")).toBe("box\n");
    expect(cat("/proc/sys/kernel/random/uuid")).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-.{12}\n$/,
    );
    expect(cat("/proc/sys/net/core/somaxconn")).toBe("4096\n");
    expect(cat("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")).toBe("2097152\n");
    expect(cat("/sys/devices/system/cpu/online")).toBe("0-1\n");
    expect(cat("/sys/fs/cgroup/memory.max")).toBe("max\n");
    expect(cat("/sys/fs/cgroup/memory.current")).toBe(`${p.memory.space.residentBytes}\n`);
    expect(cat("/proc/self/mountinfo")).toContain(" /sys/fs/cgroup ro");
    expect(cat("/proc/kcore")).toBe(`error ${-errno.ENOENT}`);
    expect(open("/proc/cpuinfo", abi.O_RDWR)).toBe(-errno.EACCES);
    expect(open("/proc/new", abi.O_CREAT | abi.O_RDWR)).toBe(-errno.ENOENT);
    expect(open("/proc/version/x")).toBe(-errno.ENOTDIR);
    expect(p.call("unlink", "/proc/version")).toBe(-errno.EPERM);
    expect(p.call("mkdir", "/proc/self", 0o755)).toBe(-errno.EEXIST);
  });

  it("is reached by any path", () => {
    const proc = open("/proc", abi.O_DIRECTORY);
    const fd = p.call("openat", proc, "self/comm", 0, 0);
    expect(fd).toBe(proc + 1);
    expect(p.call("openat", proc, "../etc/hosts", 0, 0)).toBe(fd + 1);
    expect(cat("/etc/../proc/./self//comm")).toBe("guest\n");
    expect(p.call("chdir", "/proc/self/task")).toBe(0);
    const buffer = p.room(64);
    expect(p.call("getcwd", buffer, 64)).toBe(16);
    expect(p.text(buffer, 15)).toBe("/proc/4242/task");
    expect(cat("4242/comm")).toBe("guest\n");
    expect(cat("../../../etc/hosts")).toBe("localhost");
    expect(p.call("chdir", "/etc")).toBe(0);
    expect(cat("../proc/self/comm")).toBe("guest\n");
    expect(cat("hosts")).toBe("localhost");
    expect(readLink("/proc/self/cwd")).toBe("/etc");
    expect(cat("/proc/self/cwd/hosts")).toBe("localhost");
  });

  it("has the memory devices", () => {
    const buffer = p.put(new Uint8Array(16).fill(9));
    const zero = open("/dev/zero", abi.O_RDWR);
    expect(p.call("read", zero, buffer, 8)).toBe(8);
    expect(p.memory.readU64(buffer)).toBe(0n);
    expect(p.call("write", zero, 0, 100)).toBe(100);
    expect(p.call("read", open("/dev/null"), buffer, 8)).toBe(0);
    expect(p.call("write", open("/dev/full", abi.O_WRONLY), buffer, 1)).toBe(-errno.ENOSPC);
    expect(p.call("read", open("/dev/urandom"), buffer, 16)).toBe(16);
    expect(p.memory.readU64(buffer) | p.memory.readU64(buffer + 8)).not.toBe(0n);
    const stat = p.room(144);
    expect(p.call("stat", "/dev/null", stat)).toBe(0);
    expect([p.memory.readU32(stat + 24), p.memory.readU64(stat + 40)]).toEqual([0o020666, 0x103n]);
    expect(open("/dev/nothing")).toBe(-errno.ENOENT);
    expect(p.call("ioctl", zero, 0x5401, buffer)).toBe(-errno.ENOTTY);
  });
});
