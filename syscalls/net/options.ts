import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/socket.ts";
import { InetSocket } from "./inet.ts";
import { IP_OPTIONS, IPV6_OPTIONS, UDP_OPTIONS } from "./ip-options.ts";
import { int, type Option } from "./option-kinds.ts";
import type { Socket } from "./socket.ts";
import { SOCKET_OPTIONS } from "./socket-options.ts";
import { TcpSocket } from "./tcp.ts";
import { TCP_OPTIONS } from "./tcp-options.ts";
import { UdpSocket } from "./udp.ts";

/** The option of a level. @throws SyscallError ENOPROTOOPT, or EOPNOTSUPP where the family has no such level */
function find(socket: Socket, level: number, name: number, reads: boolean): Option {
  let table: Readonly<Record<number, Option>> | undefined;
  if (level === abi.SOL_SOCKET) table = SOCKET_OPTIONS;
  else if (!(socket instanceof InetSocket)) throw new SyscallError("ENOTSUP");
  else if (level === abi.IPPROTO_TCP) table = socket instanceof TcpSocket ? TCP_OPTIONS : undefined;
  else if (level === abi.IPPROTO_UDP) table = socket instanceof UdpSocket ? UDP_OPTIONS : undefined;
  else if (level === abi.IPPROTO_IP) table = IP_OPTIONS;
  else if (level === abi.IPPROTO_IPV6) table = socket.family === abi.AF_INET6 ? IPV6_OPTIONS : undefined;
  const option = table?.[name];
  if (option !== undefined) return option;
  // A level that a socket does not have can't be read; it is no option that can be set (net/ipv4/ip_sockglue.c).
  throw new SyscallError(table === undefined && reads ? "ENOTSUP" : "ENOPROTOOPT");
}

const MAX_OPTION = 256;

/** setsockopt(2). IP options may be given as a single byte (net/ipv4/ip_sockglue.c). */
export function setOption(socket: Socket, level: number, name: number, value: Uint8Array): void {
  const option = find(socket, level, name, false);
  const { set, store, size = 4 } = option;
  if (set === undefined && store === undefined) throw new SyscallError("ENOPROTOOPT");
  const isByte = level === abi.IPPROTO_IP && value.length >= 1 && value.length < size && size === 4;
  const bytes = isByte ? int(value[0]) : value.slice(0, MAX_OPTION);
  if (bytes.length < size) throw new SyscallError("EINVAL");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept = store?.(view.getInt32(0, true), socket);
  set?.(socket, view);
  if (kept !== undefined) socket.remembered.set(`${level}:${name}`, int(kept));
}

/** getsockopt(2): the value cut to the room there. */
export function getOption(socket: Socket, level: number, name: number): Uint8Array {
  const { get, initial } = find(socket, level, name, true);
  if (get !== undefined) return get(socket);
  if (initial === undefined) throw new SyscallError("ENOPROTOOPT");
  return socket.remembered.get(`${level}:${name}`) ?? int(initial);
}

/** Reads the value of setsockopt. @throws SyscallError EINVAL for a negative length */
export function readOption(memory: GuestMemory, address: number, length: number): Uint8Array {
  if (length < 0) throw new SyscallError("EINVAL");
  return memory.readBytes(address, Math.min(length, MAX_OPTION));
}
