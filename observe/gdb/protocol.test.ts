import { afterEach, expect, test } from "vitest";
import { bytesOf, frame } from "./packets.ts";
import { DebuggedGuest, RawClient } from "./testing.ts";

const guests: DebuggedGuest[] = [];
afterEach(() => {
  for (const guest of guests.splice(0)) guest.kill();
});

async function start(...args: Parameters<typeof DebuggedGuest.start>): Promise<[DebuggedGuest, RawClient]> {
  const guest = await DebuggedGuest.start(...args);
  guests.push(guest);
  return [guest, await RawClient.connect(guest.port)];
}

const WORK = "fixtures/bin/work";

test("bad packets get an error or nothing, and the guest is unharmed", { timeout: 60_000 }, async () => {
  const [guest, client] = await start(WORK);
  client.raw("garbage$m0,4#00");
  const refused: [string, string][] = [
    ["qSupported:multiprocess+", "PacketSize="],
    ["vMustReplyEmpty", ""],
    ["!", ""],
    ["", ""],
    ["m", "E16"],
    ["m0,4", "E0e"],
    ["mffffffffffffffff,4", "E16"],
    ["m7ffffffffff0,ffffffff", "E0e"],
    ["M0,1:zz", "E16"],
    ["M400000,2:00", "E16"],
    ["M0,1:00", "E0e"],
    ["X0,1:a", "E0e"],
    ["p", "E16"],
    ["pfff", "E16"],
    ["P0=00", "E16"],
    ["G00", "E16"],
    ["Hgp1.ffff", "E03"],
    ["Hx0", ""],
    ["T7fffffff", "E03"],
    ["Z0,0,1", "E0e"],
    ["Z0,zz,1", "E16"],
    ["Z9,400000,1", ""],
    ["Z2,400000,0", "E16"],
    ["vCont;q", "E16"],
    ["vCont;C8f", "E16"],
    ["vCont;c:pzz", "E16"],
    ["vFile:open:2f,0,zz:", "F"],
    ["vFile:open:2f6e6f6e65,0,0", "F-1,2"],
    ["vFile:open:2f746d70,1,1ff", "F-1,d"],
    ["vFile:pread:5,10,0", "F-1,9"],
    ["vFile:unlink:2f746d70", ""],
    ["qXfer:features:read:none.xml:0,10", "E00"],
    ["qXfer:features:read:target.xml:zz,10", ""],
    ["qXfer:nothing:read::0,10", ""],
    ["qRcmd,zz", "E16"],
    ["QCatchSyscalls:2", "E16"],
  ];
  for (const [packet, reply] of refused) {
    const got = await client.ask(packet);
    expect([packet, reply === "PacketSize=" || reply === "F" ? got.slice(0, reply.length) : got]).toEqual([
      packet,
      reply,
    ]);
  }
  expect(client.acknowledgements).toContain("-");
  expect(await client.ask("D")).toBe("OK");
  expect(await guest.status()).toBe(0);
  expect(guest.stdout).toContain("hello, world in goroutine main");
});

test("registers and memory can be read and written", { timeout: 60_000 }, async () => {
  const [, client] = await start(WORK);
  expect(await client.ask("QStartNoAckMode")).toBe("OK");
  expect(await client.ask("P3=efbeadde00000000")).toBe("OK");
  expect(await client.ask("p3")).toBe("efbeadde00000000");
  const all = await client.ask("g");
  expect(all.slice(3 * 16, 4 * 16)).toBe("efbeadde00000000");
  const changed = `0100000000000000${all.slice(16)}`;
  expect(await client.ask(`G${changed}`)).toBe("OK");
  expect(await client.ask("g")).toBe(changed);
  const rsp = Buffer.from((await client.ask("p7")).slice(0, 16), "hex")
    .readBigUInt64LE()
    .toString(16);
  expect(await client.ask(`M${rsp},4:01020304`)).toBe("OK");
  expect(await client.ask(`m${rsp},4`)).toBe("01020304");
  expect(await client.ask(`X${rsp},2:}\x03a`)).toBe("OK");
  expect(await client.ask(`x${rsp},4`)).toBe("b#a\x03\x04");
  expect(await client.ask("qC")).toMatch(/^QC[0-9a-f]+$/);
});

test("steps one instruction, a range, and past a system call", { timeout: 60_000 }, async () => {
  const [, client] = await start("fixtures/bin/work-stripped");
  const pc = async (): Promise<number> => Number(Buffer.from(await client.ask("p10"), "hex").readBigUInt64LE());
  await client.ask("QStartNoAckMode");
  const entry = await pc();
  expect(await client.ask("vCont;s")).toMatch(/^T05thread:/);
  const next = await pc();
  // The first instruction is a jump.
  expect(next).not.toBe(entry);
  const stopped = await client.ask(`vCont;r${next.toString(16)},${(next + 8).toString(16)}`);
  expect(stopped).toMatch(/^T05thread:/);
  expect(await pc()).toBeGreaterThanOrEqual(next + 8);
  await client.ask("QCatchSyscalls:1");
  expect(await client.ask("vCont;c")).toMatch(/^T05syscall_entry:[0-9a-f]+;/);
  const behind = await pc();
  expect(await client.ask("vCont;s")).toMatch(/^T05syscall_return:/);
  expect(await pc()).toBe(behind);
  await client.ask("QCatchSyscalls:0");
  expect(await client.ask("vCont;s")).toMatch(/^T05thread:/);
  expect(await pc()).not.toBe(behind);
});

test("a client that goes away leaves the guest as it was before", { timeout: 60_000 }, async () => {
  const [guest, client] = await start(WORK);
  await client.ask("?");
  client.close();
  // It has never been let go: it still waits.
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(guest.stdout).toBe("");
  const second = await RawClient.connect(guest.port);
  expect(await second.ask("Z0,401000,1")).toBe("OK");
  second.raw(frame(bytesOf("vCont;c")));
  await new Promise((resolve) => setTimeout(resolve, 50));
  second.close();
  // Now it has, and runs to its end.
  expect(await guest.status()).toBe(0);
  expect(guest.stdout).toContain("hello, world in goroutine main");
});

test("the exit status and the signal of the end are told", { timeout: 60_000 }, async () => {
  const [guest, client] = await start("fixtures/bin/args-env-exit");
  await client.ask("qSupported:multiprocess+");
  expect(await client.ask("QPassSignals:10")).toBe("OK");
  expect(await client.ask("vCont;c")).toMatch(/^W03;process:[0-9a-f]+$/);
  expect(await guest.status()).toBe(3);
  const [killed, killer] = await start(WORK);
  await killer.ask("?");
  expect(await killer.ask("vCont;C09")).toBe("X09");
  expect(await killed.status()).toBe(137);
});

test("a second client is turned away", { timeout: 60_000 }, async () => {
  const [guest, client] = await start(WORK);
  await client.ask("?");
  const second = await RawClient.connect(guest.port);
  const closed = await Promise.race([second.ask("?"), second.closed]);
  expect(closed).toBe("closed");
  expect(await client.ask("D")).toBe("OK");
  expect(await guest.status()).toBe(0);
});

test("a guest that waits for its first client can be ended by a signal", { timeout: 60_000 }, async () => {
  const guest = await DebuggedGuest.start(WORK);
  guests.push(guest);
  guest.kill("SIGTERM");
  expect(await guest.status()).toBe(143);
});
