// chroot(2), unshare(2) and what a machine without mounts and namespaces says, as guests that the host's kernel runs, too.
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import type { Assembler } from "../testing/assembler.ts";
import { buildGuest, DATA, type GuestRun, hostIsNative, outcome, runGuest, runNatively } from "../testing/guest.ts";
import { exitWith, fork, recordStatus, wait } from "../testing/processes.ts";
import { TestHost } from "../testing/test-host.ts";
import { CLONE } from "../threads/clone-flags.ts";

const SYS = {
  open: 2,
  close: 3,
  fork: 57,
  execve: 59,
  getcwd: 79,
  chdir: 80,
  fchdir: 81,
  mkdir: 83,
  rmdir: 84,
  readlink: 89,
  umask: 95,
  setresuid: 117,
  pivot_root: 155,
  chroot: 161,
  mount: 165,
  umount2: 166,
  unshare: 272,
  setns: 308,
} as const;
const O_PATH = 0o10000000;

const folder = realpathSync(mkdtempSync(join(tmpdir(), "goemu-chroot-")));
afterAll(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, "new/in/deep"), { recursive: true });
mkdirSync(join(folder, "out"));
writeFileSync(join(folder, "new/file"), "");
writeFileSync(join(folder, "secret"), "");
symlinkSync("/in/deep", join(folder, "new/absolute"));
symlinkSync("../../../..", join(folder, "new/in/up"));
symlinkSync(join(folder, "secret"), join(folder, "new/outside"));
symlinkSync("loop", join(folder, "new/loop"));

let strings = 0;
/** Puts a text into memory; its address. */
function text(a: Assembler, value: string): number {
  const at = DATA + 0x1000 + strings * 0x100;
  strings++;
  const bytes = new Uint8Array(Math.ceil((value.length + 1) / 8) * 8);
  new TextEncoder().encodeInto(value, bytes);
  const words = new BigUint64Array(bytes.buffer);
  for (const [i, word] of words.entries()) a.put(at + i * 8, word);
  return at;
}
const path = (a: Assembler, number: number, value: string, ...rest: number[]): Assembler =>
  a.syscall(number, text(a, value), ...rest);
/** Does a path lead to something? 1, or the error. */
function there(a: Assembler, value: string): void {
  path(a, SYS.open, value, O_PATH);
  const failed = a.fresh();
  a.bytes(0x48, 0x85, 0xc0).jcc("l", failed).copy("rdi", "rax").mov("rax", SYS.close).bytes(0x0f, 0x05).mov("rax", 1);
  a.label(failed).record();
}
/** Records the working directory's first bytes at an offset. */
function cwd(a: Assembler, offset = 0): void {
  a.put(DATA, 0);
  a.syscall(SYS.getcwd, DATA, 0x400)
    .record()
    .load("rax", DATA + offset)
    .record();
}
/** Eight bytes of a text, as a word. */
const word = (value: string): number | string => {
  const bytes = new Uint8Array(8);
  new TextEncoder().encodeInto(value.slice(0, 8), bytes);
  return outcome(new DataView(bytes.buffer).getBigUint64(0, true));
};

function rooted(name: string, build: (a: Assembler) => void, expected: readonly (string | number)[]): void {
  describe(name, () => {
    strings = 0;
    const guest = buildGuest(build);
    const check = (run: GuestRun): void => {
      expect(run.words.map(outcome)).toEqual(expected);
      expect(run.status).toEqual({ kind: "exited", status: 0 });
    };
    it("in goemu", async () => {
      const host = Object.assign(new TestHost(), { files: new NodeHost().files });
      const ids = { pid: 1000, ppid: 1, uid: 0, gid: 0, euid: 0, egid: 0 };
      check(await runGuest(guest, { host, ids }));
    });
    it.skipIf(!hostIsNative || process.getuid?.() !== 0)(
      "on the host's kernel (skipped unless the host is Linux on x86-64 and the user root)",
      () => check(runNatively(guest)),
    );
  });
}

rooted(
  "paths begin at the root of chroot(2), and links and .. do not lead out of it",
  (a) => {
    path(a, SYS.chdir, join(folder, "new/in"));
    path(a, SYS.chroot, join(folder, "new")).record();
    for (const name of [
      "/file",
      "/in/deep",
      "/absolute",
      "/../file",
      "../../../file",
      "/in/up/file",
      "deep/../../file",
    ]) {
      there(a, name);
    }
    for (const name of [
      `${folder}/secret`,
      "/outside",
      "/absolute/../../../secret",
      "/loop",
      "/file/x",
      "/proc/self",
    ]) {
      there(a, name);
    }
    cwd(a);
    path(a, SYS.mkdir, "/in/up/made", 0o755).record();
    there(a, "/made");
    there(a, "made");
    path(a, SYS.rmdir, "/made");
    path(a, SYS.chdir, "/absolute").record();
    cwd(a);
  },
  [
    ...[0, 1, 1, 1, 1, 1, 1, 1],
    ...["ENOENT", "ENOENT", "ENOENT", "ELOOP", "ENOTDIR", "ENOENT"],
    ...[4, word("/in")],
    ...[0, 1, "ENOENT", 0, 9, word("/in/deep")],
  ],
);

rooted(
  "who stands outside of its root is not led back, and can be told so",
  (a) => {
    path(a, SYS.chdir, join(folder, "out"));
    path(a, SYS.chroot, join(folder, "new")).record();
    cwd(a);
    a.load("rax", DATA + 8).record();
    there(a, "../secret");
    there(a, "..");
    path(a, SYS.chdir, "/..").record();
    there(a, "../secret");
    cwd(a);
  },
  [0, 13 + folder.length + 5, word("(unreach"), word(`able)${folder}`), 1, 1, 0, "ENOENT", 2, word("/")],
);

rooted(
  "a child begins with the root of its parent, and has one of its own",
  (a) => {
    path(a, SYS.chroot, join(folder, "new"));
    path(a, SYS.chdir, "/");
    fork(a, "child");
    wait(a);
    recordStatus(a);
    there(a, "/file");
    there(a, "/deep");
    a.jmp("finish");
    a.label("child");
    path(a, SYS.open, "/file", O_PATH).copy("rbx", "rax");
    path(a, SYS.chroot, "in");
    path(a, SYS.open, "/deep", O_PATH).sub("rax", "rbx");
    exitWith(a, "rax");
  },
  [0x100, 1, "ENOENT"],
);

rooted(
  "chroot(2) fails as it should",
  (a) => {
    path(a, SYS.chroot, join(folder, "none")).record();
    path(a, SYS.chroot, join(folder, "new/file")).record();
    path(a, SYS.chroot, "").record();
    a.syscall(SYS.chroot, 0x10).record();
    a.syscall(SYS.setresuid, 1000, 1000, 1000).record();
    path(a, SYS.chroot, "/").record();
  },
  ["ENOENT", "ENOTDIR", "ENOENT", "EFAULT", 0, "EPERM"],
);

rooted(
  "what needs namespaces or mounts says that there are none",
  (a) => {
    a.syscall(SYS.setresuid, 1000, 1000, 1000);
    a.syscall(SYS.unshare, 0x1).record();
    a.syscall(SYS.unshare, CLONE.NEWUTS).record();
    a.syscall(SYS.unshare, CLONE.NEWNS | CLONE.FS).record();
    a.syscall(SYS.setns, 99, 0).record();
    a.syscall(SYS.setns, 1, 0).record();
    path(a, SYS.mount, "none", text(a, "/tmp"), text(a, "tmpfs"), 0, 0).record();
    path(a, SYS.umount2, "/", 0x100).record();
    path(a, SYS.umount2, "/", 0).record();
    path(a, SYS.pivot_root, "/", text(a, "/")).record();
    a.syscall(SYS.unshare, CLONE.FS | CLONE.FILES | CLONE.SYSVSEM).record();
  },
  ["EINVAL", "EPERM", "EPERM", "EBADF", "EINVAL", "EPERM", "EINVAL", "EPERM", "EPERM", 0],
);

/** What Go's runtime passes (runtime/os_linux.go, cloneFlags), and how the thread's end is told. */
const THREAD = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.SYSVSEM | CLONE.THREAD;
const TID = DATA + 0x800;

rooted(
  "a thread has directories of its own after unshare(2) with CLONE_FS",
  (a) => {
    path(a, SYS.chdir, folder);
    a.put(TID, 1).syscall(56, THREAD | CLONE.CHILD_CLEARTID, DATA + 0x2_0000, 0, TID);
    a.bytes(0x48, 0x85, 0xc0).jcc("e", "thread");
    // FUTEX_WAIT until the kernel has stored 0.
    a.syscall(202, TID, 0, 1, 0);
    there(a, "secret");
    there(a, "file");
    a.syscall(SYS.umask, 0o22).record();
    a.jmp("finish");
    a.label("thread");
    a.syscall(SYS.umask, 0o77);
    a.syscall(SYS.unshare, CLONE.FS).record();
    a.syscall(SYS.umask, 0o7);
    path(a, SYS.chdir, "new");
    there(a, "file");
    a.syscall(60, 0);
  },
  [1, "ENOENT", 0o77, 0, 1],
);
