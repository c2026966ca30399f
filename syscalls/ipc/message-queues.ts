import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import {
  IPC,
  type IpcObject,
  IpcTable,
  PERM_READ,
  PERM_SIZE,
  PERM_WRITE,
  requireOwner,
  secondsNow,
  setPerm,
  writePerm,
} from "./objects.ts";

/** msgrcv(2) (include/uapi/linux/msg.h). */
const MSG = { NOERROR: 0o10000, EXCEPT: 0o20000, COPY: 0o40000 } as const;
/** Most queues, bytes of a message, and of a queue. */
const [MSGMNI, MSGMAX, MSGMNB] = [32_000, 8192, 16_384];
const MSQID_SIZE = 120;

interface Message {
  readonly type: bigint;
  readonly text: Uint8Array;
}

/** A queue of messages (Linux: struct msg_queue). */
interface MessageQueue extends IpcObject {
  messages: Message[];
  bytes: number;
  capacity: number;
  sent: bigint;
  received: bigint;
  lastSender: number;
  lastReceiver: number;
  readonly queue: WaitQueue;
}

/** The message queues of a machine. */
export class MessageQueues {
  readonly table = new IpcTable<MessageQueue>(MSGMNI);
}

function msgget(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const make = (base: IpcObject): MessageQueue => {
    const none = { sent: 0n, received: 0n, lastSender: 0, lastReceiver: 0 };
    return { ...base, ...none, messages: [], bytes: 0, capacity: MSGMNB, queue: new WaitQueue() };
  };
  const { table } = process.kernel.messageQueues;
  return table.get(process, args.i32(0), args.u32(1), () => {}, make).id;
}

/** Waits for what `attempt` returns; undefined for not yet. Signals end it: it does not start again (signal(7)). */
function orWait(queue: MessageQueue, waits: boolean, no: number, attempt: () => number | undefined): SyscallResult {
  const first = attempt();
  if (first !== undefined) return first;
  if (!waits) return no;
  return new Block({
    on: [queue.queue],
    retry: () => (queue.isRemoved ? -errno.EIDRM : (attempt() ?? null)),
    onSignal: "eintr",
  });
}

function msgsnd(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [id, address, size, flags] = [args.i32(0), args.address(1), args.address(2), args.u32(3)];
  const type = process.memory.readI64(address);
  if (size > MSGMAX || id < 0 || type < 1n) throw new SyscallError("EINVAL");
  const text = process.memory.readBytes(address + 8, size);
  const queue = process.kernel.messageQueues.table.use(process, id, PERM_WRITE);
  return orWait(queue, (flags & IPC.NOWAIT) === 0, -errno.EAGAIN, () => {
    // Empty messages count as one byte each, so that they do not fill the machine.
    if (queue.bytes + size > queue.capacity || queue.messages.length + 1 > queue.capacity) return undefined;
    queue.messages.push({ type, text });
    queue.bytes += size;
    queue.sent = secondsNow(process);
    queue.lastSender = process.pid;
    queue.queue.wake();
    return 0;
  });
}

/** Which message a type asks for (ipc/msg.c, convert_mode and testmsg). */
function choose({ messages }: MessageQueue, wanted: bigint, flags: number): Message | undefined {
  if (flags & MSG.COPY) return messages[Number(wanted)];
  if (wanted === 0n) return messages[0];
  if (wanted > 0n) return messages.find(({ type }) => (type === wanted) !== ((flags & MSG.EXCEPT) !== 0));
  let least: Message | undefined;
  for (const message of messages) {
    if (message.type <= -wanted && (least === undefined || message.type < least.type)) least = message;
  }
  return least;
}

function msgrcv(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [id, address, size, flags] = [args.i32(0), args.address(1), args.address(2), args.u32(4)];
  const wanted = args.i64(3);
  if (id < 0 || size > 0x7fff_ffff) throw new SyscallError("EINVAL");
  if (flags & MSG.COPY && (flags & MSG.EXCEPT || !(flags & IPC.NOWAIT))) throw new SyscallError("EINVAL");
  const queue = process.kernel.messageQueues.table.use(process, id, PERM_READ);
  return orWait(queue, (flags & IPC.NOWAIT) === 0, -errno.ENOMSG, () => {
    const message = choose(queue, wanted, flags);
    if (message === undefined) return undefined;
    if (message.text.length > size && !(flags & MSG.NOERROR)) return -errno.E2BIG;
    const text = message.text.subarray(0, size);
    if (!(flags & MSG.COPY)) {
      queue.messages = queue.messages.filter((each) => each !== message);
      queue.bytes -= message.text.length;
      queue.received = secondsNow(process);
      queue.lastReceiver = process.pid;
      queue.queue.wake();
    }
    process.memory.writeU64(address, BigInt.asUintN(64, message.type));
    process.memory.writeBytes(address + 8, text);
    return text.length;
  });
}

function msgctl(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [id, command, address] = [args.i32(0), args.i32(1), args.address(2)];
  const { table } = process.kernel.messageQueues;
  switch (command) {
    case IPC.RMID: {
      const queue = table.find(id);
      requireOwner(process, queue);
      table.remove(queue);
      queue.queue.wake();
      return 0;
    }
    case IPC.SET: {
      const queue = table.find(id);
      setPerm(process, queue, address);
      queue.capacity = Number(process.memory.readU64(address + PERM_SIZE + 40));
      queue.queue.wake();
      return 0;
    }
    case IPC.STAT:
      process.memory.writeBytes(address, describe(table.use(process, id, PERM_READ)));
      return 0;
    default:
      throw new SyscallError("EINVAL");
  }
}

/** struct msqid64_ds (include/uapi/asm-generic/msgbuf.h). */
function describe(queue: MessageQueue): Uint8Array {
  const bytes = new Uint8Array(MSQID_SIZE);
  const view = new DataView(bytes.buffer);
  writePerm(view, queue);
  view.setBigInt64(PERM_SIZE, queue.sent, true);
  view.setBigInt64(PERM_SIZE + 8, queue.received, true);
  view.setBigInt64(PERM_SIZE + 16, queue.changed, true);
  view.setBigUint64(PERM_SIZE + 24, BigInt(queue.bytes), true);
  view.setBigUint64(PERM_SIZE + 32, BigInt(queue.messages.length), true);
  view.setBigUint64(PERM_SIZE + 40, BigInt(queue.capacity), true);
  view.setInt32(PERM_SIZE + 48, queue.lastSender, true);
  view.setInt32(PERM_SIZE + 52, queue.lastReceiver, true);
  return bytes;
}

const NOTE = "among the processes of the machine, not with those of the host; no limits to be asked for (IPC_INFO)";

export const MESSAGE_SYSCALLS = [
  row(68, "msgget", ["int", "octal"], msgget, NOTE),
  row(69, "msgsnd", ["int", "address", "size", "hex"], msgsnd),
  row(70, "msgrcv", ["int", "address", "size", "long", "hex"], msgrcv),
  row(71, "msgctl", ["int", "int", "address"], msgctl, NOTE),
];
