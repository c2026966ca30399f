import process from "node:process";
import { describe } from "vitest";
import { DATA, expectOutcomes, guestTest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import { kill } from "../testing/processes.ts";

const SYS = {
  getppid: 110,
  prctl: 157,
  getuid: 102,
  setuid: 105,
  setreuid: 113,
  getgroups: 115,
  setgroups: 116,
  setresuid: 117,
  getresuid: 118,
  setresgid: 119,
  setfsuid: 122,
  capget: 125,
  capset: 126,
} as const;
const PR = { GET_KEEPCAPS: 7, SET_KEEPCAPS: 8, CAP_AMBIENT: 47 } as const;
/** include/uapi/linux/prctl.h. */
const AMBIENT = { IS_SET: 1, RAISE: 2, LOWER: 3, CLEAR_ALL: 4 } as const;
const IDS = DATA;
const HEADER = DATA + 0x40;
const SETS = DATA + 0x80;
const VERSION_3 = 0x2008_0522;

/** A test of what root may do: natively only where tests run as root. */
const root = {
  ids: { pid: 1000, ppid: 1, uid: 0, gid: 0, euid: 0, egid: 0 },
  native: process.getuid?.() === 0,
};

describe("credentials", () => {
  guestTest(
    "root becomes somebody else, for good",
    (a) => {
      a.put(IDS, 5n | (3n << 32n))
        .syscall(SYS.setgroups, 2, IDS)
        .record();
      a.put(IDS, 0).syscall(SYS.getgroups, 2, IDS).record();
      recordWord(a, IDS);
      a.syscall(SYS.setresgid, 65_534, 65_534, 65_534).record();
      a.syscall(SYS.setresuid, 65_534, 65_534, 65_534).record();
      a.syscall(SYS.getuid).record();
      a.syscall(SYS.setuid, 0).record();
      a.syscall(SYS.setgroups, 0, 0).record();
      a.syscall(SYS.setfsuid, 7).record();
      a.syscall(SYS.setfsuid, -1).record();
    },
    (run) => expectOutcomes(run, [0, 2, 3 + 5 * 2 ** 32, 0, 0, 65_534, "EPERM", "EPERM", 65_534, 65_534]),
    root,
  );

  guestTest(
    "the effective id comes back from the saved one",
    (a) => {
      a.syscall(SYS.setresuid, 1, 2, 3).record();
      a.syscall(SYS.setreuid, -1, 3).record();
      a.syscall(SYS.getresuid, IDS, IDS + 4, IDS + 8).record();
      recordWord(a, IDS);
      a.load32("rax", IDS + 8).record();
      a.syscall(SYS.setuid, 2).record();
      a.syscall(SYS.setresuid, 3, 1, 1).record();
    },
    (run) => expectOutcomes(run, [0, 0, 0, 1 + 3 * 2 ** 32, 3, "EPERM", 0]),
    root,
  );

  guestTest(
    "capabilities go with the last id of root, unless they are kept",
    (a) => {
      const permitted = (): void => {
        a.put(HEADER, VERSION_3).syscall(SYS.capget, HEADER, SETS);
        // CAP_KILL in both sets, effective and permitted.
        a.load("rax", SETS)
          .mov("rcx", (1n << 5n) | (1n << 37n))
          .bytes(0x48, 0x21, 0xc8)
          .record();
      };
      permitted();
      a.syscall(SYS.prctl, PR.SET_KEEPCAPS, 1, 0, 0, 0).record();
      a.syscall(SYS.prctl, PR.GET_KEEPCAPS, 0, 0, 0, 0).record();
      a.syscall(SYS.setresuid, 4, 4, 4).record();
      permitted();
      a.syscall(SYS.setuid, 0).record();
      // What is permitted can be made effective again.
      a.load32("rax", SETS + 4)
        .store32(SETS, "rax")
        .syscall(SYS.capset, HEADER, SETS)
        .record();
      a.syscall(SYS.setuid, 0).record();
    },
    (run) => {
      const both = 2 ** 5 + 2 ** 37;
      expectOutcomes(run, [both, 0, 1, 0, 2 ** 37, "EPERM", 0, 0]);
    },
    root,
  );

  guestTest(
    "ambient capabilities are among the permitted and the inheritable ones",
    (a) => {
      const KILL = 5;
      const ambient = (operation: number, capability: number, rest = 0): void => {
        a.syscall(SYS.prctl, PR.CAP_AMBIENT, operation, capability, rest, 0).record();
      };
      const inherit = (set: number): void => {
        a.put(HEADER, VERSION_3).syscall(SYS.capget, HEADER, SETS);
        a.mov("rax", set)
          .store32(SETS + 8, "rax")
          .syscall(SYS.capset, HEADER, SETS)
          .record();
      };
      inherit(0);
      ambient(AMBIENT.RAISE, KILL);
      inherit(1 << KILL);
      ambient(AMBIENT.RAISE, KILL);
      ambient(AMBIENT.IS_SET, KILL);
      ambient(AMBIENT.LOWER, KILL);
      ambient(AMBIENT.IS_SET, KILL);
      ambient(AMBIENT.RAISE, KILL);
      inherit(0);
      ambient(AMBIENT.IS_SET, KILL);
      inherit(1 << KILL);
      ambient(AMBIENT.RAISE, KILL);
      ambient(AMBIENT.CLEAR_ALL, KILL);
      ambient(AMBIENT.CLEAR_ALL, 0);
      ambient(AMBIENT.IS_SET, KILL);
      // Somebody else has none, even one who keeps those that are permitted.
      ambient(AMBIENT.RAISE, KILL);
      a.syscall(SYS.prctl, PR.SET_KEEPCAPS, 1, 0, 0, 0).syscall(SYS.setresuid, 4, 4, 4);
      ambient(AMBIENT.IS_SET, KILL);
      ambient(AMBIENT.RAISE, KILL);
      ambient(AMBIENT.IS_SET, 64);
      ambient(AMBIENT.IS_SET, KILL, 1);
      ambient(5, KILL);
    },
    (run) =>
      expectOutcomes(run, [
        ...[0, "EPERM", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, "EINVAL", 0, 0, 0, 0, 0, "EINVAL", "EINVAL", "EINVAL"],
      ]),
    root,
  );

  guestTest(
    "nobody but root sends signals to processes of others",
    (a) => {
      a.syscall(57);
      a.bytes(0x48, 0x85, 0xc0).jcc("e", "child").copy("rbx", "rax");
      a.put(IDS, 0).syscall(61, -1, IDS, 0, 0);
      a.load32("rax", IDS).record();
      a.jmp("finish");
      a.label("child").syscall(SYS.setresuid, 9, 9, 9).syscall(SYS.getppid).copy("rbx", "rax");
      kill(a, "rbx", 0);
      a.mov("rcx", 0).sub("rcx", "rax").copy("rdi", "rcx").mov("rax", 231).bytes(0x0f, 0x05);
    },
    // EPERM as a status.
    (run) => expectOutcomes(run, [1 << 8]),
    root,
  );
});
