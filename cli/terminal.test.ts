// Terminals: what a program sees and does on one, in goemu as natively.
import { describe, expect, it } from "vitest";
import { hostIsNative } from "../syscalls/testing/guest.ts";
import { COMMAND } from "./testing/goemu.ts";
import { drive, driveBoth, TERMINAL } from "./testing/terminal.ts";

const READY = 'wait "ready"';

/** Program, arguments, script: the session has to be the same natively and in goemu. */
const SESSIONS: Record<string, { run: string[]; script: string[]; files?: string[] }> = {
  "keys through a second, non-blocking /dev/tty": {
    run: ["keys"],
    script: [READY, 'send "a"', 'wait "read"', 'send "\\x1b[A"', 'wait "read"', 'send "ö"', 'wait "read"', "end"],
  },
  "keys, told of by edges": {
    run: ["edges"],
    script: [READY, 'send "abc"', 'wait "waits"', 'send "\\x1b"', 'wait "waits"', 'send "\\x1b[A"', "end"],
  },
  "questions whether there are more keys": { run: ["queries"], script: [READY, 'send "\\x1b[A"', "end"] },
  "a read with a deadline": { run: ["deadline"], script: [READY, 'send "x"', "end"] },
  "the requests of ioctl_tty(2)": { run: ["ioctls"], script: ["end"] },
  "the requests of ioctl_tty(2) where no stream is a terminal": {
    run: ["ioctls"],
    script: ["end"],
    files: ["-stdin=/dev/null", "-stdout=/dev/null", "-stderr=/dev/null"],
  },
  "all settings, written and read back": { run: ["settings"], script: ["end"] },
  "output with and without processing": { run: ["raw-output"], script: ["end"] },
  "a read for one byte": { run: ["minimum", "1", "0"], script: [READY, 'send "k"', "end"] },
  "a read for three bytes": {
    run: ["minimum", "3", "0"],
    script: [READY, 'send "ab"', "pause 50", 'send "c"', "end"],
  },
  "a read for at least three bytes into room for two": {
    run: ["minimum", "3", "0", "2"],
    script: [READY, 'send "a"', "pause 20", 'send "b"', "end"],
  },
  "a read that does not wait for anything": { run: ["minimum", "0", "0"], script: ["end"] },
  "a read that waits for a while": { run: ["minimum", "0", "1"], script: ["end"] },
  "a read that waits for a while between bytes": {
    run: ["minimum", "9", "1"],
    script: [READY, 'send "ab"', "end"],
  },
  "a non-blocking read with nothing there": { run: ["minimum", "2", "0", "9", "nonblocking"], script: ["end"] },
  "sizes, from every descriptor": { run: ["sizes"], script: [READY, "size 30 99", "end"] },
  "the size from /dev/tty where the streams are none": {
    run: ["sizes"],
    script: [READY, "size 31 101", "end"],
    files: ["-stdin=/dev/null", "-stdout=/dev/null", "-stderr=/dev/null"],
  },
  "keys of signals": {
    run: ["interrupt"],
    script: [READY, 'send "\\x03"', 'wait "interrupt"', 'send "\\x1c"', 'wait "quit"', 'send "\\x1a"', "end"],
  },
  "^Z and fg": { run: ["line"], script: [READY, 'send "\\x1a"', "stopped", "continue", 'send "x\\nmore\\n"', "end"] },
  "a stop in raw mode, and fg": {
    run: ["suspend"],
    script: [READY, 'send "a"', "stopped", "continue", 'wait "true"', 'send "b"', "end"],
  },
  "a stop of the process group": {
    run: ["suspend", "group"],
    script: [READY, 'send "a"', "stopped", "size 25 81", "continue", 'wait "true"', 'send "b"', "end"],
  },
  "what was typed ahead is left": {
    run: ["line"],
    script: [
      READY,
      'send "one\\n"',
      'wait "nil>"',
      'wait "nil>\\r\\n"',
      'send "two\\n"',
      'wait "more"',
      'send "three\\n"',
      // The kernel takes what is typed a little later; "left" changes the settings.
      'wait "three\\r\\n"',
      "end",
      "left",
    ],
  },
  "an edited line, and the end of the file": {
    run: ["line"],
    script: [READY, 'send "onf\\x7fe\\x04"', 'wait "nil>"', 'wait "nil>\\r\\n"', 'send "\\n"', "end"],
  },
  "typed ahead is thrown away": {
    run: ["flush"],
    script: [
      READY,
      'send "one\\n"',
      'wait "one\\\\n"',
      'send "two\\nunfinished"',
      'wait "unfinished"',
      "signal 10",
      'wait "queued"',
      'send "three\\n"',
      "end",
    ],
  },
  "the end while others wait for keys": { run: ["leave"], script: ["end"] },
  "a terminal that goes away": { run: ["hangup"], script: [READY, "hangup", "end"] },
};

describe.skipIf(!hostIsNative)("a terminal (skipped unless the host is Linux on x86-64)", () => {
  it.concurrent.each(Object.entries(SESSIONS))("%s", async (_, { run, script, files }) => {
    const { native, emulated } = await driveBoth([TERMINAL, ...run], script, { files });
    expect(native.error).toBeUndefined();
    expect(emulated).toEqual(native);
  });

  it.concurrent.each(Object.entries(SESSIONS))("of the machine: %s", async (_, { run, script, files = [] }) => {
    const native = await drive([...files, TERMINAL, ...run], script);
    const within = await drive([...files, TERMINAL, ...run], script, [process.execPath, COMMAND, TERMINAL]);
    expect(native.error).toBeUndefined();
    expect(within).toEqual(native);
  });

  it("interrupts a program without a handler", async () => {
    const session = await drive([process.execPath, COMMAND, TERMINAL, "line"], [READY, 'send "\\x03"', "end"]);
    expect(session.events[0]).toMatch(/^exit 130, /);
    expect(session.output).toMatch(/\^Cgoemu: .*terminal: Interrupt \(killed by signal 2\)\r\n$/);
  });

  it.concurrent.each([
    ["the guest dies in raw mode", 'send "x"', 137],
    ["goemu is sent SIGHUP", "signal 1", 129],
    ["goemu is sent SIGTERM", "signal 15", 143],
  ])("is as before when %s", async (_, step, status) => {
    const { events } = await drive(
      [process.execPath, COMMAND, TERMINAL, "crash"],
      ["modes", READY, "modes", step, "end"],
    );
    expect(events[1]).not.toBe(events[0]);
    expect(events[2]).toBe(`exit ${status}, ${events[0]}`);
  });
});
