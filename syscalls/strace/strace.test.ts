import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import { errno } from "../abi/errno.ts";
import { Args } from "../args.ts";
import { FakeProcess } from "../files/fake-process.ts";
import { FILE_SYSCALLS } from "../files/index.ts";
import { Strace } from "./strace.ts";

let p: FakeProcess;
let lines: string[];
let strace: Strace;
beforeEach(() => {
  p = new FakeProcess(new NodeHost());
  lines = [];
  strace = new Strace((line) => lines.push(line));
});
afterEach(() => p.dispose());

const rows = new Map(FILE_SYSCALLS.map((row) => [row.name, row]));

/** Enters a call, carries it out, leaves it; returns its line. */
function trace(name: string, ...values: (number | string)[]): string {
  const words = values.map((value) => (typeof value === "string" ? p.put(value) : value));
  const row = rows.get(name);
  const args = new Args(BigUint64Array.from(words.map((word) => BigInt.asUintN(64, BigInt(word)))));
  strace.enter(p, p.thread, row, 0, args);
  strace.leave(p, p.thread, p.call(name, ...words));
  return lines[lines.length - 1];
}

/** The expected lines were printed by strace 6.1 for a C program that makes these calls. */
describe("lines", () => {
  it("have arguments decoded and results aligned", () => {
    expect(trace("openat", -100, "/etc/passwd", 0o2000000, 0)).toBe(
      '4242 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3',
    );
    expect(trace("lseek", 3, 0, 0)).toBe("4242 lseek(3, 0, SEEK_SET)              = 0");
    expect(trace("read", 3, p.room(64), 5)).toBe('4242 read(3, "root:", 5)                = 5');
    expect(trace("read", 3, p.room(128), 33)).toMatch(
      /^4242 read\(3, "x:0:0:root:\/root:\/bin\/bash\\n.*"\.\.\., 33\) = 33$/,
    );
    expect(trace("openat", -100, "/nonexist/x", 0o102, 0o644)).toBe(
      '4242 openat(AT_FDCWD, "/nonexist/x", O_RDWR|O_CREAT, 0644) = -1 ENOENT (No such file or directory)',
    );
    expect(trace("openat", -100, 1, 0, 0)).toBe("4242 openat(AT_FDCWD, 0x1, O_RDONLY)    = -1 EFAULT (Bad address)");
    expect(trace("fcntl", 3, 3, 0)).toBe(
      "4242 fcntl(3, F_GETFL)                  = 0x8000 (flags O_RDONLY|O_LARGEFILE)",
    );
    expect(trace("fcntl", 3, 4, 0o4000)).toBe("4242 fcntl(3, F_SETFL, O_RDONLY|O_NONBLOCK) = 0");
    expect(trace("fcntl", 3, 2, 1)).toBe("4242 fcntl(3, F_SETFD, FD_CLOEXEC)      = 0");
    expect(trace("close", 3)).toBe("4242 close(3)                           = 0");
    expect(trace("newfstatat", -100, "/", p.room(144), 0x100)).toMatch(
      /^4242 newfstatat\(AT_FDCWD, "\/", \{st_mode=S_IFDIR\|0\d{3}, st_size=\d+, \.\.\.\}, AT_SYMLINK_NOFOLLOW\) = 0$/,
    );
    expect(trace("newfstatat", -100, "/nonexist", 0x100010, 0)).toBe(
      '4242 newfstatat(AT_FDCWD, "/nonexist", 0x100010, 0) = -1 ENOENT (No such file or directory)',
    );
    expect(trace("pipe2", p.room(8), 0o2004000)).toBe("4242 pipe2([3, 4], O_NONBLOCK|O_CLOEXEC) = 0");
    expect(trace("read", 3, 0x100020, 5)).toBe(
      "4242 read(3, 0x100020, 5)               = -1 EAGAIN (Resource temporarily unavailable)",
    );
    expect(trace("epoll_create1", 0o2000000)).toBe("4242 epoll_create1(EPOLL_CLOEXEC)       = 5");
    const event = p.put(new Uint8Array([5, 0x20, 0, 0x80, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0]));
    expect(trace("epoll_ctl", 5, 1, 3, event)).toBe(
      "4242 epoll_ctl(5, EPOLL_CTL_ADD, 3, {events=EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET, " +
        "data={u32=305419896, u64=305419896}}) = 0",
    );
    expect(trace("write", 4, 'hi\n\t"\\\x01\x012\x80x\n', 12)).toBe(
      '4242 write(4, "hi\\n\\t\\"\\\\\\1\\0012\\200x\\n", 12) = 12',
    );
    expect(trace("epoll_wait", 5, p.room(60), 5, 0)).toBe(
      "4242 epoll_wait(5, [{events=EPOLLIN, data={u32=305419896, u64=305419896}}], 5, 0) = 1",
    );
    expect(trace("write", 4, "a".repeat(100), 100)).toBe(
      '4242 write(4, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"..., 100) = 100',
    );
    const polled = p.put(new Uint8Array([3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0]));
    expect(trace("poll", polled, 2, 100)).toBe(
      "4242 poll([{fd=3, events=POLLIN}, {fd=4, events=POLLOUT}], 2, 100) = 2 " +
        "([{fd=3, revents=POLLIN}, {fd=4, revents=POLLOUT}])",
    );
    const old = p.files.umask;
    trace("umask", 0o22);
    expect(trace("umask", old)).toMatch(/^4242 umask\(0\d\d\d?\) {20,}= 022$/);
    expect(trace("faccessat", -100, "/etc", 5)).toBe('4242 faccessat(AT_FDCWD, "/etc", R_OK|X_OK) = 0');
    const set = p.put(new Uint8Array(8));
    expect(trace("getdents64", p.call("open", "/proc/self/task", 0, 0), p.room(512), 512)).toMatch(
      /^4242 getdents64\(6, 0x[0-9a-f]+ \/\* 3 entries \*\/, 512\) = 72$/,
    );
    expect(trace("select", 0, set, 0, 0, p.put(new Uint8Array(16)))).toContain("= 0 (Timeout)");
  });

  it("split when another thread comes between", () => {
    const other = { tid: 4243, name: "b", signalMask: 0n, savedMask: undefined };
    const at = p.put("data");
    const read = { name: "read", args: rows.get("read")?.args ?? [] };
    const close = { name: "close", args: rows.get("close")?.args ?? [] };
    strace.enter(p, p.thread, read, 0, new Args(BigUint64Array.of(3n, BigInt(at), 4n)));
    strace.enter(p, other, close, 3, new Args(BigUint64Array.of(9n)));
    strace.leave(p, other, -errno.EBADF);
    strace.leave(p, p.thread, 4);
    expect(lines).toEqual([
      "4242 read(3, <unfinished ...>",
      "4243 close(9)                           = -1 EBADF (Bad file descriptor)",
      '4242 <... read resumed>"data", 4)       = 4',
    ]);
  });

  it("tell unknown calls, signals and the end", () => {
    strace.enter(p, p.thread, undefined, 0x1bf, new Args(BigUint64Array.of(1n, 2n, 0n, 4n, 5n, 6n)));
    strace.leave(p, p.thread, -errno.ENOSYS);
    strace.signal(p, p.thread, { signal: 23, code: -6, pid: 4242, uid: 1000 });
    strace.signal(p, p.thread, { signal: 11, code: 1, address: 0n });
    strace.enter(p, p.thread, { name: "exit_group", args: ["status"] }, 231, new Args(BigUint64Array.of(3n)));
    strace.processExit(p, { kind: "exited", status: 3 });
    strace.processExit(p, { kind: "signaled", signal: 11 });
    expect(lines).toEqual([
      "4242 syscall_0x1bf(0x1, 0x2, 0, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)",
      "4242 --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=4242, si_uid=1000} ---",
      "4242 --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---",
      "4242 exit_group(3)                      = ?",
      "4242 +++ exited with 3 +++",
      "4242 +++ killed by SIGSEGV +++",
    ]);
  });

  it("decode signal sets, actions, limits, futexes and mappings", () => {
    const call = (name: string, args: Parameters<typeof strace.enter>[2], ...v: bigint[]) => {
      strace.enter(p, p.thread, args, 0, new Args(BigUint64Array.from(v)));
      strace.leave(p, p.thread, 0);
      return lines[lines.length - 1].replace(/ += 0$/, "").replace(`4242 ${name}`, "");
    };
    const words = (...values: bigint[]): bigint => BigInt(p.put(new Uint8Array(BigUint64Array.from(values).buffer)));
    const urgent = words((1n << 22n) | 1n);
    const masks = { name: "rt_sigprocmask", args: ["sigmaskHow", "sigset", "sigset", "size"] } as const;
    expect(call("rt_sigprocmask", masks, 0n, urgent, words(0xffff_fffe_7fff_ffffn), 8n)).toBe(
      "(SIG_BLOCK, [HUP URG], ~[RTMIN RT_1], 8)",
    );
    const action = { name: "rt_sigaction", args: ["signal", "sigaction", "sigaction", "size"] } as const;
    expect(call("rt_sigaction", action, 10n, words(1n, 0x1c00_0004n, 0x7000n, 0n), 0n, 8n)).toBe(
      "(SIGUSR1, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=SA_RESTORER|SA_ONSTACK|SA_RESTART|SA_SIGINFO, " +
        "sa_restorer=0x7000}, NULL, 8)",
    );
    const limits = { name: "prlimit64", args: ["int", "resource", "rlimit", "rlimit"] } as const;
    expect(call("prlimit64", limits, 0n, 3n, 0n, words(8388608n, 0xffff_ffff_ffff_ffffn))).toBe(
      "(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY})",
    );
    const futex = { name: "futex", args: ["address", "futexOp", "uint", "timespec", "address", "hex"] } as const;
    expect(call("futex", futex, 0x1000n, 128n, 5n, words(1n, 500n), 0n, 0n)).toBe(
      "(0x1000, FUTEX_WAIT_PRIVATE, 5, {tv_sec=1, tv_nsec=500})",
    );
    expect(call("futex", futex, 0x1000n, 129n, 1n, 0n, 0n, 0n)).toBe("(0x1000, FUTEX_WAKE_PRIVATE, 1)");
    const mmap = { name: "mmap", args: ["address", "size", "prot", "mapFlags", "fd", "hex"] } as const;
    expect(call("mmap", mmap, 0xc0_0000_0000n, 4096n, 3n, 0x4032n, 0xffff_ffff_ffff_ffffn, 0n)).toBe(
      "(0xc000000000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0)",
    );
  });
});
