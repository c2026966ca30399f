import { writeSync } from "node:fs";
import { O_WRONLY } from "../../syscalls/abi/fcntl.ts";
import { Block } from "../../syscalls/block.ts";
import { FakeProcess, Waiting } from "../../syscalls/files/fake-process.ts";
import { NodeHost, NodeInherited } from "./host.ts";

/**
 * A guest for the tests of the standard streams, run as a program of its own:
 *   copy N    copies standard input to standard output, N bytes at a time
 *   once N    copies at most N bytes and ends
 *   poll      waits until standard input is ready, then copies 2 bytes at a time
 *   leave     asks for input, does not wait for it, and ends
 *   write N   writes N bytes and tells the result on standard error
 *   inherit N writes N bytes to what another goemu has given it for a pipe, and tells of each piece and of the error
 *   seek      writes, seeks back, writes over it
 */
const p = new FakeProcess(new NodeHost());
const [command, size] = [process.argv[2], Number(process.argv[3] ?? 2)];
const buffer = p.room(0x8000);

async function finish(name: string, ...values: number[]): Promise<number> {
  const result = p.start(name, ...values);
  return result instanceof Block ? new Waiting(p, result).done() : Number(result);
}

async function copy(count: number): Promise<number> {
  const got = await finish("read", 0, buffer, count);
  if (got > 0) await finish("write", 1, buffer, got);
  return got;
}

if (command === "copy") while ((await copy(size)) > 0);
else if (command === "once") await copy(size);
else if (command === "poll") {
  const fds = p.put(new Uint8Array([0, 0, 0, 0, 1, 0, 0, 0]));
  await finish("poll", fds, 1, -1);
  while ((await copy(2)) > 0);
} else if (command === "leave") {
  p.start("read", 0, buffer, 1);
} else if (command === "write") {
  let left = size;
  let result = 0;
  while (left > 0 && result >= 0) {
    result = await finish("write", 1, buffer, Math.min(left, 0x8000));
    left -= result;
  }
  writeSync(2, `${result} ${p.signals.join(",")}`);
} else if (command === "inherit") {
  const stream = new NodeInherited(1, O_WRONLY);
  const piece = new Uint8Array(0x8000);
  try {
    for (let left = size; left > 0; left -= piece.length) {
      stream.write(piece);
      writeSync(2, ".");
    }
  } catch (error) {
    writeSync(2, (error as Error).message);
  }
} else if (command === "seek") {
  await finish("write", 1, p.put("first"), 5);
  await finish("lseek", 1, -5, 1);
  await finish("write", 1, p.put("F"), 1);
  writeSync(2, String(p.call("lseek", 1, 0, 1)));
}
process.exit(0);
