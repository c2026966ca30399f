// Which thread takes a signal that was sent to the process (complete_signal in kernel/signal.c): the first one if it can.

import { describe } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest } from "../testing/guest.ts";
import { handlers, install, setMask } from "../testing/handlers.ts";
import { CLONE } from "../threads/clone-flags.ts";

const { SIGUSR1 } = SIGNAL;
const SYS = { pause: 34, getpid: 39, clone: 56, exit: 60, kill: 62, gettid: 186 } as const;
const THREAD = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.SYSVSEM | CLONE.THREAD;
/** The thread that ran the handler, and whether it has; whether the other thread may send the signal. */
const [TAKER, DONE, GO] = [DATA + 0x800, DATA + 0x810, DATA + 0x820];

/** Runs in a circle until a word is not 0. */
function await_(a: Assembler, word: number): void {
  const [again, done] = [a.fresh(), a.fresh()];
  a.label(again).load("rax", word).bytes(0x48, 0x85, 0xc0).jcc("ne", done).jmp(again).label(done);
}

/** Another thread sends SIGUSR1 to the process, while this one does `meanwhile`; records how far the taker's id is from `of`. */
function sent(a: Assembler, meanwhile: () => void, of: "leader" | "sender"): void {
  handlers(a, () => {
    a.label("handler").syscall(SYS.gettid).store(TAKER, "rax").put(DONE, 1).ret();
    a.label("sender");
    await_(a, GO);
    a.syscall(SYS.getpid).copy("rdi", "rax").mov("rsi", SIGUSR1).mov("rax", SYS.kill).bytes(0x0f, 0x05);
    await_(a, DONE);
    a.syscall(SYS.exit, 0);
  });
  install(a, SIGUSR1, "handler");
  a.syscall(SYS.clone, THREAD, DATA + 0x2_0000)
    .bytes(0x48, 0x85, 0xc0)
    .jcc("e", "sender");
  a.copy("r12", "rax");
  meanwhile();
  await_(a, DONE);
  if (of === "leader") a.syscall(SYS.getpid).copy("r12", "rax");
  a.load("rax", TAKER).sub("rax", "r12").record();
}

describe("a signal from another thread, for the process, goes to the first thread", () => {
  guestTest(
    "while that runs",
    (a) => sent(a, () => a.put(GO, 1), "leader"),
    (run) => expectOutcomes(run, [0]),
  );

  guestTest(
    "while that waits",
    (a) => sent(a, () => a.put(GO, 1).syscall(SYS.pause), "leader"),
    (run) => expectOutcomes(run, [0]),
    // Between the store and pause(2) the signal may come, and pause waits for ever.
    { native: false },
  );

  guestTest(
    "unless that blocks it",
    (a) =>
      sent(
        a,
        () => {
          setMask(a, 0, SIGUSR1);
          a.put(GO, 1);
        },
        "sender",
      ),
    (run) => expectOutcomes(run, [0]),
  );
});
