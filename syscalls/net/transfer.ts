import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import { Block, type SyscallResult } from "../block.ts";
import { restartUnless, withBrokenPipe, writeOrWait } from "../files/blocking.ts";
import { WOULD_BLOCK } from "../files/description.ts";
import { IoVector } from "../files/io-vector.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { Thread } from "../thread.ts";
import { readTimespec } from "../time/timespec.ts";
import { readAddress, storeAddress } from "./address.ts";
import { readControl } from "./control.ts";
import { type MessageHeader, MSGHDR_SIZE, readHeader, rightsOf, storeControl, vectorOf } from "./message.ts";
import { NO_OPTIONS, type Received, type SendOptions, Socket } from "./socket.ts";

/** sizeof(struct mmsghdr): a msghdr, the length (u32), padding. */
const MMSGHDR_SIZE = 64;
const FOREVER = Number.POSITIVE_INFINITY;

function socketOf(process: Process, fd: number): Socket {
  const description = process.files.table.get(fd);
  if (!(description instanceof Socket)) throw new SyscallError("ENOTSOCK");
  return description;
}

/** Sends all that a stream is given, or a message, and waits if it may. EPIPE comes with SIGPIPE on streams. */
function sendOrWait(
  process: Process,
  thread: Thread,
  socket: Socket,
  from: IoVector,
  options: SendOptions,
): SyscallResult {
  const impatient = (options.flags & abi.MSG_DONTWAIT) !== 0 || socket.nonblocking;
  const quiet = (options.flags & abi.MSG_NOSIGNAL) !== 0 || socket.type !== abi.SOCK_STREAM;
  let first = true;
  const attempt = (): number => {
    // Descriptors go with the first bytes.
    const count = socket.send(from, first ? options : { ...options, rights: [] });
    if (count !== WOULD_BLOCK) first = false;
    return count;
  };
  const signalled = quiet ? undefined : process;
  if (!impatient) return writeOrWait(signalled, thread, socket, from, attempt);
  return sendNow(socket, from, () => withBrokenPipe(signalled, thread, attempt));
}

/** As much as can be sent at once. */
function sendNow(socket: Socket, from: IoVector, attempt: () => number): number {
  let moved = 0;
  for (;;) {
    try {
      const count = attempt();
      if (count === WOULD_BLOCK) return moved > 0 ? moved : count;
      moved += count;
      if (count === 0 || from.remaining === 0 || !socket.writesAll) return moved;
    } catch (error) {
      if (moved > 0) return moved;
      throw error;
    }
  }
}

const sendto: Handler = (process, thread, args) => {
  const from = IoVector.guest(process.memory, args.address(1), args.address(2), "in");
  const socket = socketOf(process, args.i32(0));
  const to = args.address(4) === 0 ? undefined : readAddress(process.memory, args.address(4), args.i32(5));
  return sendOrWait(process, thread, socket, from, { ...NO_OPTIONS, flags: args.u32(3), to });
};

function sendHeader(process: Process, thread: Thread, socket: Socket, address: number, flags: number): SyscallResult {
  const { memory } = process;
  const header = readHeader(memory, address);
  const to =
    header.name === 0 ? undefined : readAddress(memory, header.name, Math.min(header.nameLength, abi.SOCKADDR_MAX));
  const from = vectorOf(memory, header, "in");
  const control = readControl(memory, header);
  const rights = socket.family === abi.AF_UNIX ? rightsOf(control, process.files.table) : [];
  return sendOrWait(process, thread, socket, from, { flags, to, rights, control });
}

const sendmsg: Handler = (process, thread, args) => {
  const socket = socketOf(process, args.i32(0));
  return sendHeader(process, thread, socket, args.address(1), args.u32(2));
};

/** Where what was received is told, once it is there. */
type Deliver = (received: Received) => number;

/** Receives, and waits if it may. With MSG_WAITALL a stream goes on until all is there. */
function receiveOrWait(socket: Socket, to: IoVector, flags: number, deliver: Deliver): SyscallResult {
  const impatient = (flags & abi.MSG_DONTWAIT) !== 0 || socket.nonblocking;
  const all = (flags & abi.MSG_WAITALL) !== 0 && socket.type === abi.SOCK_STREAM && !(flags & abi.MSG_PEEK);
  let total = 0;
  const got = (received: Received): number => deliver({ ...received, length: received.length + total });
  const nothing: Received = { count: 0, length: 0, from: undefined, flags: 0, rights: [] };
  const attempt = (): number | null => {
    for (;;) {
      let received: Received | undefined;
      try {
        received = socket.receive(to, flags);
      } catch (error) {
        if (total > 0) return got(nothing);
        throw error;
      }
      if (received === undefined) return null;
      if (!all || received.length === 0 || to.remaining === 0 || received.rights.length > 0) return got(received);
      total += received.length;
    }
  };
  const result = attempt();
  if (result !== null) return result;
  const partly = (): number => (total > 0 ? got(nothing) : WOULD_BLOCK);
  if (impatient) return partly();
  const deadline = socket.readDeadline();
  socket.acquire();
  return new Block({
    on: [socket.queue],
    retry: attempt,
    deadline,
    timeout: partly,
    onSignal: restartUnless(deadline),
    cleanup: () => socket.release(),
  });
}

const recvfrom: Handler = (process, _thread, args) => {
  const { memory } = process;
  const to = IoVector.guest(memory, args.address(1), args.address(2), "out");
  const socket = socketOf(process, args.i32(0));
  const [at, lengthAt] = [args.address(4), args.address(5)];
  return receiveOrWait(socket, to, args.u32(3), (received) => {
    for (const description of received.rights) description.release();
    if (at !== 0) {
      if (received.from !== undefined) storeAddress(memory, received.from, at, lengthAt);
      else memory.writeU32(lengthAt, 0);
    }
    return received.length;
  });
};

/** Stores the sender's address and what else a msghdr has room for. */
function storeHeader(
  process: Process,
  socket: Socket,
  header: MessageHeader,
  received: Received,
  flags: number,
): number {
  const { memory } = process;
  if (header.name !== 0) {
    if (received.from === undefined) memory.writeU32(header.address + 8, 0);
    else storeAddress(memory, received.from, header.name, header.address + 8);
  }
  storeControl(process, socket, header, received, flags);
  return received.length;
}

const recvmsg: Handler = (process, _thread, args) => {
  const socket = socketOf(process, args.i32(0));
  const header = readHeader(process.memory, args.address(1));
  const flags = args.u32(2);
  const to = vectorOf(process.memory, header, "out");
  return receiveOrWait(socket, to, flags, (received) => storeHeader(process, socket, header, received, flags));
};

/** sendmmsg(2): the first message may wait; then as many as can be sent at once. */
const sendmmsg: Handler = (process, thread, args) => {
  const socket = socketOf(process, args.i32(0));
  const [address, count, flags] = [args.address(1), Math.min(args.u32(2), 1024), args.u32(3)];
  if (count === 0) return 0;
  const store = (index: number, sent: number): void =>
    process.memory.writeU32(address + index * MMSGHDR_SIZE + MSGHDR_SIZE, sent);
  const rest = (): number => {
    let done = 1;
    for (; done < count; done++) {
      try {
        const sent = sendHeader(process, thread, socket, address + done * MMSGHDR_SIZE, flags | abi.MSG_DONTWAIT);
        if (typeof sent !== "number" || sent < 0) break;
        store(done, sent);
      } catch {
        break;
      }
    }
    return done;
  };
  const first = sendHeader(process, thread, socket, address, flags);
  const finish = (sent: number | bigint | null): number | null => {
    if (sent === null) return null;
    if (sent < 0) return Number(sent);
    store(0, Number(sent));
    return rest();
  };
  if (!(first instanceof Block)) return finish(first) as number;
  return follow(first, finish);
};

/** A wait whose result goes through `finish`. */
function follow(block: Block, finish: (result: number | bigint | null) => number | null): Block {
  return new Block({
    on: block.on,
    retry: () => finish(block.retry()),
    deadline: block.deadline,
    timeout: () => finish(block.timeout()) ?? 0,
    onSignal: block.onSignal,
    cleanup: () => block.cleanup?.(),
  });
}

/** recvmmsg(2): waits until all messages are there, the time is up, or with MSG_WAITFORONE for one. */
const recvmmsg: Handler = (process, _thread, args) => {
  const socket = socketOf(process, args.i32(0));
  const { memory } = process;
  const [address, count] = [args.address(1), Math.min(args.u32(2), 1024)];
  const timeoutAt = args.address(4);
  const end = timeoutAt === 0 ? FOREVER : process.clock.monotonicNs() + readTimespec(memory, timeoutAt);
  const flags = args.u32(3) & ~abi.MSG_WAITFORONE;
  const one = (args.u32(3) & abi.MSG_WAITFORONE) !== 0;
  const impatient = (flags & abi.MSG_DONTWAIT) !== 0 || socket.nonblocking;
  let done = 0;
  const attempt = (): number | null => {
    while (done < count) {
      const at = address + done * MMSGHDR_SIZE;
      try {
        const header = readHeader(memory, at);
        const received = socket.receive(vectorOf(memory, header, "out"), flags);
        if (received === undefined) return done > 0 && (one || impatient) ? done : null;
        memory.writeU32(at + MSGHDR_SIZE, storeHeader(process, socket, header, received, flags));
        done++;
        if (received.length === 0 && socket.type === abi.SOCK_STREAM) break;
      } catch (error) {
        if (done > 0) return done;
        throw error;
      }
    }
    return done;
  };
  const result = attempt();
  if (result !== null) return result;
  if (impatient) return -errno.EAGAIN;
  const deadline = Math.min(end, socket.readDeadline());
  socket.acquire();
  return new Block({
    on: [socket.queue],
    retry: attempt,
    deadline,
    timeout: () => (done > 0 ? done : WOULD_BLOCK),
    onSignal: restartUnless(deadline),
    cleanup: () => socket.release(),
  });
};

const SEND_NOTE =
  "a source address, TTL or TOS given with a message is the packet's within the machine; on the host the socket's own, or the host's choice";
const RECEIVE_NOTE =
  "of datagrams from the host, TTL is told as 64, TOS as 0, and the destination, at a wildcard address, as the address that answers come from";

export const TRANSFER_SYSCALLS: readonly SyscallRow[] = [
  row(44, "sendto", ["fd", "bufferIn", "size", "messageFlags", "sockaddr", "uint"], sendto),
  row(45, "recvfrom", ["fd", "bufferOut", "size", "messageFlags", "sockaddrOut", "lengthOut"], recvfrom),
  row(46, "sendmsg", ["fd", "msghdrIn", "messageFlags"], sendmsg, SEND_NOTE),
  row(47, "recvmsg", ["fd", "msghdrOut", "messageFlags"], recvmsg, RECEIVE_NOTE),
  row(299, "recvmmsg", ["fd", "address", "uint", "messageFlags", "timespec"], recvmmsg, RECEIVE_NOTE),
  row(307, "sendmmsg", ["fd", "address", "uint", "messageFlags"], sendmmsg, SEND_NOTE),
];
