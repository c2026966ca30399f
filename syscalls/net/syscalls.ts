import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import { restartUnless } from "../files/blocking.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { readAddress, storeAddress } from "./address.ts";
import { NetlinkSocket } from "./netlink.ts";
import { getOption, readOption, setOption } from "./options.ts";
import type { Pending } from "./pending.ts";
import { IN_PROGRESS, Socket } from "./socket.ts";
import { TcpSocket } from "./tcp.ts";
import { TRANSFER_SYSCALLS } from "./transfer.ts";
import { UdpSocket } from "./udp.ts";
import { UnixSocket } from "./unix.ts";

/** @throws SyscallError EBADF, ENOTSOCK */
export function socketOf(process: Process, fd: number): Socket {
  const description = process.files.table.get(fd);
  if (!(description instanceof Socket)) throw new SyscallError("ENOTSOCK");
  return description;
}

/** Splits `type` into the type and its flags. @throws SyscallError EINVAL for unknown flags */
function splitType(type: number): { type: number; flags: number } {
  const flags = type & ~abi.SOCK_TYPE_MASK;
  if (flags & ~(abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC)) throw new SyscallError("EINVAL");
  return { type: type & abi.SOCK_TYPE_MASK, flags };
}

function makeSocket(process: Process, family: number, type: number, protocol: number, flags: number): Socket {
  const { network } = process;
  if (type > 10) throw new SyscallError("EINVAL");
  switch (family) {
    case abi.AF_INET:
    case abi.AF_INET6:
      if (type === abi.SOCK_STREAM && (protocol === 0 || protocol === abi.IPPROTO_TCP)) {
        return new TcpSocket(network, family, flags);
      }
      if (type === abi.SOCK_DGRAM && (protocol === 0 || protocol === abi.IPPROTO_UDP)) {
        return new UdpSocket(network, family, flags);
      }
      // Raw sockets are for the superuser.
      if (type === abi.SOCK_RAW) throw new SyscallError("EPERM");
      if (type === abi.SOCK_STREAM || type === abi.SOCK_DGRAM) throw new SyscallError("EPROTONOSUPPORT");
      throw new SyscallError("ESOCKTNOSUPPORT");
    case abi.AF_UNIX:
      if (protocol !== 0 && protocol !== abi.AF_UNIX) throw new SyscallError("EPROTONOSUPPORT");
      if (type === abi.SOCK_RAW) return new UnixSocket(network, abi.SOCK_DGRAM, flags);
      if (type !== abi.SOCK_STREAM && type !== abi.SOCK_DGRAM && type !== abi.SOCK_SEQPACKET) {
        throw new SyscallError("ESOCKTNOSUPPORT");
      }
      return new UnixSocket(network, type, flags);
    case abi.AF_NETLINK:
      if (type !== abi.SOCK_RAW && type !== abi.SOCK_DGRAM) throw new SyscallError("ESOCKTNOSUPPORT");
      if (protocol !== abi.NETLINK_ROUTE) throw new SyscallError("EPROTONOSUPPORT");
      return new NetlinkSocket(network, type, flags);
    default:
      throw new SyscallError("EAFNOSUPPORT");
  }
}

const socket: Handler = (process, _thread, args) => {
  const { type, flags } = splitType(args.u32(1));
  const made = makeSocket(process, args.i32(0), type, args.i32(2), flags);
  return process.files.table.install(made, (flags & abi.SOCK_CLOEXEC) !== 0);
};

/** socketpair(2): only Unix domain sockets have pairs. */
const socketpair: Handler = (process, _thread, args) => {
  const { type, flags } = splitType(args.u32(1));
  const family = args.i32(0);
  const { table } = process.files;
  const numbers = [table.lowestFree()];
  numbers.push(table.lowestFree(numbers[0] + 1));
  // The numbers are stored before anything is made (net/socket.c, __sys_socketpair).
  process.memory.writeBytes(args.address(3), new Uint8Array(Int32Array.from(numbers).buffer));
  const probe = makeSocket(process, family, type, args.i32(2), flags);
  if (!(probe instanceof UnixSocket)) return -errno.ENOTSUP;
  const pair = UnixSocket.pair(process.network, probe.type, flags);
  for (const end of pair) table.install(end, (flags & abi.SOCK_CLOEXEC) !== 0);
  return 0;
};

/** Waits for the host's answer, then goes on with `finish`. A call that a signal ends finds it again (Socket.underway). */
function settle(target: Socket, pending: Pending | undefined, finish: () => number = () => 0): SyscallResult {
  if (pending === undefined) return finish();
  const complete = (): number => {
    target.underway = undefined;
    pending.check();
    return finish();
  };
  if (pending.done) return complete();
  target.acquire();
  return new Block({
    on: [pending.queue],
    retry: () => (pending.done ? complete() : null),
    cleanup: () => target.release(),
  });
}

const bind: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  const address = readAddress(process.memory, args.address(1), args.i32(2));
  if (address === undefined) return -errno.EINVAL;
  return settle(target, target.bind(address));
};

const listen: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  const backlog = args.i32(1);
  return settle(target, target.listen(backlog), () => {
    // A socket that had no address has one now.
    if (!target.isListening) target.listen(backlog);
    return 0;
  });
};

const connect: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  const address = readAddress(process.memory, args.address(1), args.i32(2));
  if (address === undefined) return -errno.EINVAL;
  if (target.connect(address) !== IN_PROGRESS) return 0;
  if (target.nonblocking) return -errno.EINPROGRESS;
  const result = target.connectResult();
  if (result !== null) return result;
  const deadline = target.writeDeadline();
  target.acquire();
  return new Block({
    on: [target.queue],
    retry: () => target.connectResult(),
    deadline,
    timeout: () => -errno.EINPROGRESS,
    onSignal: restartUnless(deadline),
    cleanup: () => target.release(),
  });
};

function acceptOn(process: Process, args: Args, flags: number): SyscallResult {
  if (flags & ~(abi.SOCK_NONBLOCK | abi.SOCK_CLOEXEC)) return -errno.EINVAL;
  const listener = socketOf(process, args.i32(0));
  const [at, lengthAt] = [args.address(1), args.address(2)];
  const attempt = (): number | null => {
    process.files.table.lowestFree();
    const accepted = listener.accept(flags & abi.SOCK_NONBLOCK);
    if (accepted === undefined) return null;
    let fd = -1;
    try {
      fd = process.files.table.install(accepted, (flags & abi.SOCK_CLOEXEC) !== 0);
      if (at !== 0) storeAddress(process.memory, peerOf(accepted), at, lengthAt);
      return fd;
    } catch (error) {
      if (fd >= 0) process.files.table.close(fd);
      throw error;
    } finally {
      // The queue's reference.
      accepted.release();
    }
  };
  const fd = attempt();
  if (fd !== null) return fd;
  if (listener.nonblocking) return -errno.EAGAIN;
  const deadline = listener.readDeadline();
  listener.acquire();
  return new Block({
    on: [listener.queue],
    retry: attempt,
    deadline,
    timeout: () => -errno.EAGAIN,
    onSignal: restartUnless(deadline),
    cleanup: () => listener.release(),
  });
}

/** The peer's address; one that is gone already is told as well (tcp's inet_csk_accept does not ask). */
function peerOf(accepted: Socket): ReturnType<Socket["peerAddress"]> {
  try {
    return accepted.peerAddress();
  } catch (error) {
    if (accepted instanceof TcpSocket) return accepted.lastPeerAddress();
    throw error;
  }
}

const accept: Handler = (process, _thread, args) => acceptOn(process, args, 0);
const accept4: Handler = (process, _thread, args) => acceptOn(process, args, args.u32(3));

const getsockname: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  storeAddress(process.memory, target.localAddress(), args.address(1), args.address(2));
  return 0;
};

const getpeername: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  storeAddress(process.memory, target.peerAddress(), args.address(1), args.address(2));
  return 0;
};

const shutdown: Handler = (process, _thread, args) => {
  const how = args.i32(1);
  const target = socketOf(process, args.i32(0));
  if (how < 0 || how > 2) return -errno.EINVAL;
  target.shutdown(how);
  return 0;
};

const setsockopt: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  const value = readOption(process.memory, args.address(3), args.i32(4));
  setOption(target, args.i32(1), args.i32(2), value);
  return 0;
};

const getsockopt: Handler = (process, _thread, args) => {
  const target = socketOf(process, args.i32(0));
  const { memory } = process;
  const [at, lengthAt] = [args.address(3), args.address(4)];
  const room = memory.readI32(lengthAt);
  if (room < 0) return -errno.EINVAL;
  const value = getOption(target, args.i32(1), args.i32(2)).subarray(0, room);
  memory.writeBytes(at, value);
  memory.writeU32(lengthAt, value.length);
  return 0;
};

const OPTION_NOTE =
  "options that would only change packets on a wire are remembered; of the host's sockets, TTL, multicast and broadcast are set and TOS is not, and with IP_RECVERR only connected ones are told errors; no filters, SO_PEEK_OFF, SO_ZEROCOPY, SO_TIMESTAMPING, UDP_CORK";

export const NETWORK_SYSCALLS: readonly SyscallRow[] = [
  row(
    41,
    "socket",
    ["socketFamily", "socketType", "int"],
    socket,
    "AF_INET, AF_INET6 (TCP, UDP), AF_UNIX, AF_NETLINK (interfaces only)",
  ),
  row(42, "connect", ["fd", "sockaddr", "uint"], connect),
  row(43, "accept", ["fd", "sockaddrOut", "lengthOut"], accept),
  row(48, "shutdown", ["fd", "shutdownHow"], shutdown),
  row(49, "bind", ["fd", "sockaddr", "uint"], bind),
  row(50, "listen", ["fd", "int"], listen),
  row(51, "getsockname", ["fd", "sockaddrOut", "lengthOut"], getsockname),
  row(52, "getpeername", ["fd", "sockaddrOut", "lengthOut"], getpeername),
  row(53, "socketpair", ["socketFamily", "socketType", "int", "fdPair"], socketpair),
  row(54, "setsockopt", ["fd", "socketLevel", "socketOption", "optionIn", "uint"], setsockopt, OPTION_NOTE),
  row(55, "getsockopt", ["fd", "socketLevel", "socketOption", "optionOut", "lengthOut"], getsockopt, OPTION_NOTE),
  row(288, "accept4", ["fd", "sockaddrOut", "lengthOut", "socketFlags"], accept4),
  ...TRANSFER_SYSCALLS,
];
