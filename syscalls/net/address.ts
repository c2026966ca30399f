import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import { AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC, SOCKADDR_MAX, UNIX_PATH_MAX } from "../abi/socket.ts";
import { bytesToPath, pathToBytes } from "../files/path.ts";
import { ANY4, ANY6, type IpAddress, ipFromBytes, ipv4Bytes, ipv6Bytes, isIpv4 } from "./ip.ts";

/** Where an IP socket is, or whom it talks to. */
export interface Endpoint {
  readonly ip: IpAddress;
  readonly port: number;
  /** Number of the interface that a link-local address belongs to (sin6_scope_id). */
  readonly scope?: number;
}

export interface InetAddress extends Endpoint {
  readonly family: typeof AF_INET | typeof AF_INET6;
}

/** `path` is a byte string (path.ts); it begins with NUL for an abstract name and is empty for none (unix(7)). */
export interface UnixAddress {
  readonly family: typeof AF_UNIX;
  readonly path: string;
}

export interface NetlinkAddress {
  readonly family: typeof AF_NETLINK;
  readonly port: number;
  readonly groups: number;
}

export interface OtherAddress {
  readonly family: typeof AF_UNSPEC | -1;
}

/** What a struct sockaddr says. Family -1 is one that goemu does not know. */
export type SocketAddress = InetAddress | UnixAddress | NetlinkAddress | OtherAddress;

export const NO_NAME: UnixAddress = { family: AF_UNIX, path: "" };

/**
 * Reads a struct sockaddr.
 * @returns undefined for a length of 0
 * @throws SyscallError EINVAL for a length that no such address has
 */
export function readAddress(memory: GuestMemory, address: number, length: number): SocketAddress | undefined {
  if (length < 0 || length > SOCKADDR_MAX) throw new SyscallError("EINVAL");
  if (length === 0) return undefined;
  return decodeAddress(memory.readBytes(address, length));
}

export function decodeAddress(bytes: Uint8Array): SocketAddress {
  if (bytes.length < 2) throw new SyscallError("EINVAL");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.getUint16(0, true);
  switch (family) {
    case AF_INET: {
      // struct sockaddr_in: port at 2 and address at 4, both in network order, 16 bytes in all.
      if (bytes.length < 16) throw new SyscallError("EINVAL");
      return { family, ip: ipFromBytes(bytes.subarray(4, 8)), port: view.getUint16(2) };
    }
    case AF_INET6: {
      // struct sockaddr_in6: port at 2, flow at 4, address at 8, scope at 24 (which may be left out: RFC 2133).
      if (bytes.length < 24) throw new SyscallError("EINVAL");
      const scope = bytes.length >= 28 ? view.getUint32(24, true) : 0;
      return { family, ip: ipFromBytes(bytes.subarray(8, 24)), port: view.getUint16(2), scope };
    }
    case AF_UNIX: {
      const name = bytes.subarray(2, 2 + UNIX_PATH_MAX);
      if (name.length === 0 || name[0] === 0) return { family, path: bytesToPath(name) };
      const end = name.indexOf(0);
      return { family, path: bytesToPath(end < 0 ? name : name.subarray(0, end)) };
    }
    case AF_NETLINK:
      if (bytes.length < 12) throw new SyscallError("EINVAL");
      return { family, port: view.getUint32(4, true), groups: view.getUint32(8, true) };
    case AF_UNSPEC:
      return { family };
    default:
      return { family: -1 };
  }
}

/** The bytes of a struct sockaddr. */
export function encodeAddress(address: SocketAddress): Uint8Array {
  switch (address.family) {
    case AF_INET: {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, AF_INET, true);
      view.setUint16(2, address.port);
      bytes.set(ipv4Bytes(address.ip), 4);
      return bytes;
    }
    case AF_INET6: {
      const bytes = new Uint8Array(28);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, AF_INET6, true);
      view.setUint16(2, address.port);
      bytes.set(ipv6Bytes(address.ip), 8);
      view.setUint32(24, address.scope ?? 0, true);
      return bytes;
    }
    case AF_UNIX: {
      const name = pathToBytes(address.path);
      // A path is followed by its NUL; abstract names go by their length.
      const terminated = name.length > 0 && name[0] !== 0 ? 1 : 0;
      const bytes = new Uint8Array(2 + name.length + terminated);
      bytes[0] = AF_UNIX;
      bytes.set(name, 2);
      return bytes;
    }
    case AF_NETLINK: {
      const bytes = new Uint8Array(12);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, AF_NETLINK, true);
      view.setUint32(4, address.port, true);
      view.setUint32(8, address.groups, true);
      return bytes;
    }
    default:
      return new Uint8Array(2);
  }
}

/**
 * Stores an address where a call wants it, cut to the room there, and its whole length (net/socket.c,
 * move_addr_to_user).
 */
export function storeAddress(memory: GuestMemory, address: SocketAddress, at: number, lengthAt: number): void {
  const bytes = encodeAddress(address);
  const room = memory.readI32(lengthAt);
  if (room < 0) throw new SyscallError("EINVAL");
  if (room > 0) memory.writeBytes(at, bytes.subarray(0, room));
  memory.writeU32(lengthAt, bytes.length);
}

/** An endpoint as a socket of this family shows it: IPv4 addresses are mapped into IPv6. */
export function inetAddress(family: typeof AF_INET | typeof AF_INET6, endpoint: Endpoint | undefined): InetAddress {
  if (endpoint === undefined) return { family, ip: family === AF_INET ? ANY4 : ANY6, port: 0 };
  const { port, scope } = endpoint;
  const ip = family === AF_INET6 && endpoint.ip === ANY4 ? ANY6 : endpoint.ip;
  return isIpv4(ip) || scope === undefined ? { family, ip, port } : { family, ip, port, scope };
}
