import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Machine } from "../../syscalls/machine.ts";
import { Random } from "../../syscalls/testing/random.ts";
import { TestHost } from "../../syscalls/testing/test-host.ts";
import { Debugger } from "../debugger/debugger.ts";
import { describeThread } from "../debugger/go-view.ts";
import { bytesOf, frame } from "./packets.ts";
import { Session } from "./session.ts";
import { inRepository } from "./testing.ts";
import { MachineThreads } from "./threads.ts";

const PROGRAM = inRepository("fixtures/bin/work");
const ROUNDS = 20_000;

/** Packets to start from: every kind that the server knows. */
const SEEDS = [
  ...[
    "?",
    "g",
    "p10",
    "P10=a0b2480000000000",
    "m400000,40",
    "x400000,40",
    "M600000,2:abcd",
    "X600000,2:ab",
    "Hgp0.0",
    "Hc-1",
  ],
  ...["T1", "Z0,48b2a0,1", "z0,48b2a0,1", "Z1,48b2a0,1", "Z2,580000,8", "z2,580000,8", "Z3,580000,8", "Z4,580000,8"],
  ...[
    "qSupported:multiprocess+;swbreak+;hwbreak+",
    "qC",
    "qAttached:1",
    "qfThreadInfo",
    "qsThreadInfo",
    "qOffsets",
    "qSymbol::",
  ],
  ...[
    "qThreadExtraInfo,1",
    "qXfer:features:read:target.xml:0,fff",
    "qXfer:auxv:read::0,fff",
    "qXfer:exec-file:read:1:0,fff",
  ],
  ...[
    "qXfer:threads:read::0,fff",
    "qXfer:siginfo:read::0,fff",
    "qRcmd,68656c70",
    "qRegisterInfo10",
    "qThreadStopInfo1",
    "qProcessInfo",
  ],
  ...["QStartNoAckMode", "QPassSignals:e;10;14", "QProgramSignals:0;1", "QCatchSyscalls:1;1", "QThreadSuffixSupported"],
  ...[
    "QListThreadsInStopReply",
    "vCont?",
    "vCont;c",
    "vCont;s:p1.1;c",
    "vCont;r48b2a0,48b2a5",
    "vCont;C0b:1",
    "vMustReplyEmpty",
  ],
  ...[
    "vFile:setfs:0",
    "vFile:open:2f70726f632f73656c662f6d617073,0,0",
    "vFile:pread:3,ff,0",
    "vFile:fstat:3",
    "vFile:close:3",
  ],
  ...["vFile:readlink:2f70726f632f73656c662f657865", "c48b2a0", "s", "C05", "S05;48b2a0", "p10;thread:1;", "vCtrlC"],
];

function mutate(packet: string, random: Random): string {
  const characters = "0123456789abcdef;:,-.=pQzZ\x00\xff}";
  let text = packet;
  for (let changes = random.below(4); changes >= 0; changes--) {
    const at = random.below(text.length + 1);
    const character = random.pick([...characters]);
    const kind = random.below(4);
    if (kind === 0) text = text.slice(0, at) + character + text.slice(at);
    else if (kind === 1) text = text.slice(0, at) + text.slice(at + 1);
    else if (kind === 2) text = text.slice(0, at) + character + text.slice(at + 1);
    else text = text.slice(0, at) + "f".repeat(random.below(20)) + text.slice(at);
  }
  return text;
}

test.each([
  ["without signals", /^([kDMXGP}]|vKill)|[CS]/],
  ["with signals", /^([kDMXGP}]|vKill)/],
])("mutated packets never break the server nor the guest: %s", { timeout: 120_000 }, async (_, excluded) => {
  const machine = new Machine({ program: readFileSync(PROGRAM), path: PROGRAM, host: new TestHost() });
  const debug = new Debugger(machine);
  debug.interrupt();
  let sent = 0;
  const session = new Session({
    debug,
    threads: new MachineThreads(debug, (thread) => describeThread(machine, thread)),
    connection: {
      send: (bytes) => {
        sent += bytes.length;
      },
      close: () => {},
    },
    attached: false,
    bias: 0,
  });
  const { u8 } = machine.mainThread.cpu;
  const registers = u8.slice();
  const random = new Random(20261123);
  for (let i = 0; i < ROUNDS; i++) {
    const text = mutate(random.pick(SEEDS), random);
    // These end the session, or change the guest as they are meant to; so may an escaped first character.
    if (excluded.test(text)) continue;
    session.receive(frame(bytesOf(text)));
  }
  session.receive(Uint8Array.from({ length: 10_000 }, () => random.below(256)));
  expect(session.closed).toBe(false);
  expect(sent).toBeGreaterThan(ROUNDS);
  session.end();
  u8.set(registers);
  debug.detach();
  const end = await machine.run();
  // Signals that were asked for may have killed it.
  if (excluded.test("C05")) expect(end).toEqual({ kind: "exited", status: 0 });
  else expect(["exited", "signaled"]).toContain(end.kind);
});
