import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PROT_EXEC, PROT_READ, PROT_WRITE } from "../../emu/layout.ts";
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
    expect(cat("/proc/uptime")).toMatch(/^\d+\.\d\d \d+\.\d\d\n$/);
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

/** The fields of each line behind the first, cut at spaces. */
function rows(path: string): string[][] {
  const lines = cat(path).trimEnd().split("\n").slice(1);
  return lines.map((line) => line.trim().split(/\s+/));
}

describe("what monitoring programs read", () => {
  const address4 = (port: number, ip = [127, 0, 0, 1]): number =>
    p.put(new Uint8Array([2, 0, port >> 8, port & 0xff, ...ip, 0, 0, 0, 0, 0, 0, 0, 0]));

  it("is each socket, with its addresses, state and inode", () => {
    const listener = p.call("socket", 2, 1, 0);
    expect(p.call("bind", listener, address4(8080), 16)).toBe(0);
    expect(p.call("listen", listener, 5)).toBe(0);
    const client = p.call("socket", 2, 1, 0);
    expect(p.call("connect", client, address4(8080), 16)).toBe(0);
    const server = p.call("accept4", listener, 0, 0, 0);
    expect(p.call("sendto", client, "abc", 3, 0, 0, 0)).toBe(3);
    const inode = (fd: number): string => /\[(\d+)\]/.exec(String(readLink(`/proc/self/fd/${fd}`)))?.[1] ?? "";
    const tcp = rows("/proc/net/tcp");
    const [port] = tcp[1].slice(1, 2).map((text) => text.slice(9));
    const shown = tcp.map((row) => [row[1], row[2], row[3], row[4], row[7], row[9]]);
    expect(shown).toEqual([
      ["0100007F:1F90", "00000000:0000", "0A", "00000000:00000000", "1000", inode(listener)],
      [`0100007F:${port}`, "0100007F:1F90", "01", "00000000:00000000", "1000", inode(client)],
      ["0100007F:1F90", `0100007F:${port}`, "01", "00000000:00000003", "1000", inode(server)],
    ]);
    // The kernel fills up each line for IPv4 to 149 characters.
    for (const line of cat("/proc/net/tcp").trimEnd().split("\n")) expect(line.padEnd(149)).toHaveLength(149);
    expect(cat("/proc/net/sockstat")).toContain("sockets: used 3\nTCP: inuse 3 orphan 0 tw 0 alloc 3 mem 0\n");
    expect(cat("/proc/net/snmp")).toMatch(/\nTcp: 1 200 120000 -1 0 0 0 0 2 0 /);

    const six = p.call("socket", 10, 1, 0);
    const loopback6 = new Uint8Array(28);
    loopback6.set([10, 0, 0x1f, 0x91]);
    loopback6[23] = 1;
    expect(p.call("bind", six, p.put(loopback6), 28)).toBe(0);
    expect(p.call("listen", six, 5)).toBe(0);
    expect(rows("/proc/net/tcp6").map((row) => row.slice(0, 4))).toEqual([
      ["0:", "00000000000000000000000001000000:1F91", `${"0".repeat(32)}:0000`, "0A"],
    ]);

    const udp = p.call("socket", 2, 2, 0);
    expect(p.call("bind", udp, address4(5353, [0, 0, 0, 0]), 16)).toBe(0);
    expect(rows("/proc/net/udp").map((row) => [...row.slice(0, 4), row[9]])).toEqual([
      ["5353:", "00000000:14E9", "00000000:0000", "07", inode(udp)],
    ]);
    expect(rows("/proc/net/udp6")).toEqual([]);

    const name = p.put(new Uint8Array([1, 0, 0, 0x68, 0x69]));
    const unix = p.call("socket", 1, 1, 0);
    expect(p.call("bind", unix, name, 5)).toBe(0);
    expect(p.call("listen", unix, 1)).toBe(0);
    expect(rows("/proc/net/unix")).toEqual([
      [`${"0".repeat(16)}:`, "00000002", "00000000", "00010000", "0001", "01", inode(unix), "@hi"],
    ]);
  });

  it("is each interface", () => {
    expect(rows("/proc/net/dev").slice(1)).toEqual([["lo:", ...new Array(16).fill("0")]]);
    expect(list("/sys/class/net")).toEqual(["4 .", "4 ..", "4 lo"]);
    const lo = ["address", "flags", "ifindex", "mtu", "operstate", "type", "statistics/rx_bytes"];
    expect(lo.map((name) => cat(`/sys/class/net/lo/${name}`).trimEnd())).toEqual(
      "00:00:00:00:00:00 0x9 1 65536 unknown 772 0".split(" "),
    );
    expect(cat("/proc/net/route")).toMatch(/^Iface\tDestination\tGateway \tFlags\t/);
  });

  it("is how much of each mapping is in memory", () => {
    const { space } = p.memory;
    const start = space.map({ address: 0x40_0000, length: 0x8000, prot: PROT_READ | PROT_WRITE, fixed: true });
    p.memory.writeU8(start, 1);
    const pages = space.pages.resident(start, start + 0x8000);
    // A first write brings its neighbourhood along.
    expect(pages).toBeGreaterThanOrEqual(1);
    const text = cat("/proc/self/smaps");
    const at = text.indexOf("00400000-00408000 rw-p");
    expect(text.slice(at)).toMatch(
      new RegExp(`^.*\nSize: +32 kB\nKernelPageSize: +4 kB\nMMUPageSize: +4 kB\nRss: +${pages * 4} kB\n`),
    );
    expect(text.slice(at)).toContain("VmFlags: rd wr mr mw me \n");
    const sum = [...text.matchAll(/^Rss: +(\d+) kB$/gm)].reduce((total, [, value]) => total + Number(value), 0);
    expect(sum * 1024).toBe(space.residentBytes);
    const rollup = cat("/proc/self/smaps_rollup");
    expect(rollup).toMatch(/^[0-9a-f]{8,}-[0-9a-f]+ ---p 00000000 00:00 0 +\[rollup\]\n/);
    expect(rollup).toMatch(new RegExp(`\nRss: +${sum} kB\nPss: +${sum} kB\n`));
    space.unmap(start, 0x8000);
  });

  it("is CPU time and when the process began, in ticks of 10 ms", () => {
    p.cpuTime = 1_230_000_000;
    p.startNs = 4_560_000_000;
    const fields = cat("/proc/self/stat").trim().split(" ");
    expect([fields[13], fields[21]]).toEqual(["123", "456"]);
    expect(cat("/proc/stat")).toMatch(/^cpu {2}123 0 0 \d+ 0 0 0 0 0 0\ncpu0 61 0 0 /);
    expect(cat("/proc/self/schedstat")).toBe("1230000000 0 0\n");
  });

  it("is what was read and written, by calls that waited too", () => {
    const counted = (): number[] => Object.values(p.files.io);
    const before = counted();
    const at = p.room(16);
    p.call("pipe2", at, 0);
    const [reader, writer] = [p.memory.readI32(at), p.memory.readI32(at + 4)];
    const waiting = p.wait("read", reader, at, 16);
    expect(p.call("write", writer, "abcde", 5)).toBe(5);
    expect(waiting.result).toBe(5);
    expect(p.call("write", writer, "xy", 2)).toBe(2);
    expect(p.call("read", reader, at, 1)).toBe(1);
    expect(counted().map((value, i) => value - before[i])).toEqual([6, 7, 2, 2]);
    const text = cat("/proc/self/io");
    expect(text).toMatch(
      new RegExp(`^rchar: ${before[0] + 6}\nwchar: ${before[1] + 7}\nsyscr: \\d+\nsyscw: ${before[3] + 2}\n`),
    );
  });

  it("has the kernel's formats where there is nothing", () => {
    expect(cat("/proc/diskstats")).toBe("");
    expect(rows("/proc/swaps")).toEqual([]);
    expect(rows("/proc/softirqs")).toHaveLength(10);
    expect(cat("/proc/vmstat")).toContain(`\nnr_anon_pages ${p.memory.space.residentBytes / 4096}\n`);
    expect(cat("/proc/self/io")).toMatch(/^rchar: \d+\nwchar: \d+\nsyscr: /);
    expect(cat("/proc/mounts")).toBe(cat("/proc/self/mounts"));
    expect(readLink("/proc/self/ns/net")).toBe("net:[4026531840]");
    const namespace = open("/proc/self/ns/net");
    expect(namespace).toBeGreaterThan(2);
    expect(p.call("read", namespace, p.room(8), 8)).toBe(-errno.EINVAL);
    const boot = cat("/proc/sys/kernel/random/boot_id");
    expect(boot).toMatch(/^[0-9a-f-]{36}\n$/);
    expect(cat("/proc/sys/kernel/random/boot_id")).toBe(boot);
    expect(cat("/proc/sys/net/ipv4/ip_local_port_range")).toBe("32768\t60999\n");
  });
});

describe("the machine's part of /dev", () => {
  it("asks the host for the session's terminal where /dev/tty is meant, and not for each file in /dev/shm", () => {
    let asked = 0;
    const job = { group: p.pid, session: p.pid, terminal: 0n, foreground: p.pid };
    const tell = (): typeof job => {
      asked++;
      return job;
    };
    Object.defineProperty(host, "job", { value: tell });
    expect(open("/dev/shm/none")).toBe(-errno.ENOENT);
    expect(open("/dev/null")).toBeGreaterThan(2);
    expect(p.call("access", "/dev/shm", 0)).toBe(-errno.ENOENT);
    expect(asked).toBe(0);
    expect(open("/dev/tty")).toBe(-errno.ENOENT);
    expect(asked).toBeGreaterThan(0);
  });
});
