import { TASK_SIZE } from "../../emu/layout.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { errno } from "../abi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_PATH } from "../abi/fcntl.ts";
import * as abi from "../abi/poll.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import { setUserMask } from "../signals/user-mask.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { readTimespec } from "../time/timespec.ts";
import { Epoll } from "./epoll.ts";
import { EventFd } from "./eventfd.ts";

const create = (process: Process, flags: number): number => {
  if (flags & ~abi.EPOLL_CLOEXEC) return -errno.EINVAL;
  return process.files.table.install(new Epoll(process.files.anonymousInode()), flags !== 0);
};

const epollCreate: Handler = (process, _thread, args) => (args.i32(0) <= 0 ? -errno.EINVAL : create(process, 0));
const epollCreate1: Handler = (process, _thread, args) => create(process, args.u32(0));

/** epoll_ctl(2), with the order of checks of fs/eventpoll.c, do_epoll_ctl. */
const epollCtl: Handler = (process, _thread, args) => {
  const [operation, fd, address] = [args.u32(1), args.u32(2), args.address(3)];
  const isDeletion = operation === abi.EPOLL_CTL_DEL;
  const events = isDeletion ? 0 : process.memory.readU32(address);
  const data = isDeletion ? 0n : process.memory.readU64(address + 4);
  const { table } = process.files;
  const set = table.get(args.u32(0));
  const target = table.get(fd);
  if (target.flags & O_PATH) return -errno.EBADF;
  if (!target.pollable) return -errno.EPERM;
  if (set === target || !(set instanceof Epoll)) return -errno.EINVAL;
  switch (operation) {
    case abi.EPOLL_CTL_ADD:
      set.add(fd, target, events, data);
      return 0;
    case abi.EPOLL_CTL_MOD:
      set.modify(fd, target, events, data);
      return 0;
    case abi.EPOLL_CTL_DEL:
      set.delete(fd, target);
      return 0;
    default:
      return -errno.EINVAL;
  }
};

/** Where one struct epoll_event after the other is put together. */
const eventBytes = new Uint8Array(abi.EPOLL_EVENT_SIZE);
const eventView = new DataView(eventBytes.buffer);

/**
 * Waits for events (fs/eventpoll.c, do_epoll_wait).
 * @param timeoutNs how long at most; Infinity for ever, 0 not at all
 */
function wait(process: Process, args: Args, timeoutNs: number): SyscallResult {
  const [address, max] = [args.address(1), args.i32(2)];
  if (max <= 0 || max > Math.floor(0x7fff_ffff / abi.EPOLL_EVENT_SIZE)) return -errno.EINVAL;
  if (address + max * abi.EPOLL_EVENT_SIZE > TASK_SIZE) throw new GuestFault(address);
  const set = process.files.table.get(args.u32(0));
  if (!(set instanceof Epoll)) return -errno.EINVAL;
  const collect = (): number =>
    set.collect(max, (index, events, data) => {
      eventView.setUint32(0, events, true);
      eventView.setBigUint64(4, data, true);
      process.memory.writeBytes(address + index * abi.EPOLL_EVENT_SIZE, eventBytes);
    });
  const count = collect();
  if (count > 0 || timeoutNs === 0) return count;
  set.acquire();
  return new Block({
    on: [set.queue],
    retry: () => collect() || null,
    deadline: process.clock.monotonicNs() + timeoutNs,
    timeout: collect,
    onSignal: "eintr",
    cleanup: () => set.release(),
  });
}

const milliseconds = (timeout: number): number => (timeout < 0 ? Number.POSITIVE_INFINITY : timeout * 1e6);

const epollWait: Handler = (process, _thread, args) => wait(process, args, milliseconds(args.i32(3)));

const epollPwait: Handler = (process, thread, args) => {
  setUserMask(process, thread, args.address(4), args.u64(5));
  return wait(process, args, milliseconds(args.i32(3)));
};

const epollPwait2: Handler = (process, thread, args) => {
  const address = args.address(3);
  const timeout = address === 0 ? Number.POSITIVE_INFINITY : readTimespec(process.memory, address);
  setUserMask(process, thread, args.address(4), args.u64(5));
  return wait(process, args, timeout);
};

function makeEventFd(process: Process, initial: number, flags: number): number {
  if (flags & ~(abi.EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK)) return -errno.EINVAL;
  const eventFd = new EventFd(initial, flags, process.files.anonymousInode());
  return process.files.table.install(eventFd, (flags & O_CLOEXEC) !== 0);
}

const eventfd: Handler = (process, _thread, args) => makeEventFd(process, args.u32(0), 0);
const eventfd2: Handler = (process, _thread, args) => makeEventFd(process, args.u32(0), args.u32(1));

export const EPOLL_SYSCALLS: readonly SyscallRow[] = [
  row(213, "epoll_create", ["int"], epollCreate),
  row(232, "epoll_wait", ["fd", "epollEventsOut", "int", "int"], epollWait),
  row(233, "epoll_ctl", ["fd", "epollOp", "fd", "epollEvent"], epollCtl, "EPOLLEXCLUSIVE wakes all"),
  row(281, "epoll_pwait", ["fd", "epollEventsOut", "int", "int", "sigset", "size"], epollPwait),
  row(284, "eventfd", ["uint"], eventfd),
  row(290, "eventfd2", ["uint", "eventfdFlags"], eventfd2),
  row(291, "epoll_create1", ["openFlags"], epollCreate1),
  row(441, "epoll_pwait2", ["fd", "epollEventsOut", "int", "timespec", "sigset", "size"], epollPwait2),
];
