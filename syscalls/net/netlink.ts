import type { HostInterfaceAddress } from "../../host/network.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import { AF_INET, AF_INET6, AF_NETLINK, AF_UNSPEC } from "../abi/socket.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { SocketAddress } from "./address.ts";
import { DatagramQueue } from "./datagram-queue.ts";
import { ETHERNET_MTU, interfaceNumbers, LOOPBACK_MTU } from "./interfaces.ts";
import { canonicalIp, ipv4Bytes, ipv6Bytes, isIpv4, isLinkLocal6, isLoopback } from "./ip.ts";
import type { Network } from "./network.ts";
import type { Pending } from "./pending.ts";
import { type Received, type SendOptions, Socket } from "./socket.ts";

// include/uapi/linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, if.h.
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_MULTI = 2;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const IFLA_ADDRESS = 1;
const IFLA_BROADCAST = 2;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_PERMANENT = 0x80;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const IFF_UP_RUNNING = 0x1 | 0x40 | 0x1_0000;
const IFF_LOOPBACK = 0x8;
const IFF_BROADCAST_MULTICAST = 0x2 | 0x1000;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
const HEADER = 16;

const BUFFERS = { send: 212_992, receive: 212_992 };

const align = (size: number): number => Math.ceil(size / 4) * 4;

function bytesOf(size: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  fill(new DataView(bytes.buffer));
  return bytes;
}

const u32 = (value: number): Uint8Array => bytesOf(4, (view) => view.setUint32(0, value, true));

function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** struct rtattr: length and type, then the value, padded to 4 bytes. */
function attribute(type: number, value: Uint8Array): Uint8Array {
  return bytesOf(align(4 + value.length), (view) => {
    view.setUint16(0, 4 + value.length, true);
    view.setUint16(2, type, true);
    new Uint8Array(view.buffer).set(value, 4);
  });
}

const text = (name: string): Uint8Array => new TextEncoder().encode(`${name}\0`);

/**
 * A routing netlink socket (rtnetlink(7)), as far as net.Interfaces and getifaddrs(3) need it: it tells the interfaces and
 * their addresses.
 */
export class NetlinkSocket extends Socket {
  readonly #replies = new DatagramQueue<{ bytes: Uint8Array; from: SocketAddress }>();
  #port = 0;

  constructor(network: Network, type: number, flags: number) {
    super(network, { family: AF_NETLINK, type, protocol: 0, flags }, BUFFERS);
  }

  override get buffered(): number {
    return this.#replies.first?.bytes.length ?? 0;
  }

  override bind(address: SocketAddress): Pending | undefined {
    if (address.family !== AF_NETLINK) throw new SyscallError("EINVAL");
    this.#port = address.port === 0 ? this.#freePort() : address.port;
    return undefined;
  }

  /** The kernel gives a process's first socket its process id. */
  #freePort(): number {
    return this.#port === 0 ? this.network.owner.pid : this.#port;
  }

  override connect(address: SocketAddress): number {
    if (address.family !== AF_UNSPEC && address.family !== AF_NETLINK) throw new SyscallError("EINVAL");
    this.#port = this.#freePort();
    return 0;
  }

  override shutdown(_how: number): void {
    throw new SyscallError("ENOTSUP");
  }

  override localAddress(): SocketAddress {
    return { family: AF_NETLINK, port: this.#port, groups: 0 };
  }

  override peerAddress(): SocketAddress {
    return { family: AF_NETLINK, port: 0, groups: 0 };
  }

  override send(from: IoVector, _options: SendOptions): number {
    const length = from.remaining;
    const request = from.take(length);
    if (request.length < length) from.fault();
    this.#port = this.#freePort();
    for (let at = 0; at + HEADER <= request.length; ) {
      const size = new DataView(request.buffer, request.byteOffset + at).getUint32(0, true);
      if (size < HEADER || at + size > request.length) break;
      this.#answer(request.subarray(at, at + size));
      at += align(size);
    }
    this.changed();
    return length;
  }

  #answer(request: Uint8Array): void {
    const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
    const [type, flags, sequence] = [view.getUint16(4, true), view.getUint16(6, true), view.getUint32(8, true)];
    const family = request.length > HEADER ? request[HEADER] : AF_UNSPEC;
    const addresses = this.network.interfaces();
    const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
    if (isDump && type === RTM_GETLINK) this.#dump(sequence, RTM_NEWLINK, links(addresses));
    else if (isDump && type === RTM_GETADDR) this.#dump(sequence, RTM_NEWADDR, addressRecords(addresses, family));
    else if (type >= 16 || flags & NLM_F_ACK) this.#refuse(request, sequence, type >= 16 ? errno.ENOTSUP : 0);
  }

  #message(type: number, flags: number, sequence: number, payload: Uint8Array): Uint8Array {
    const header = bytesOf(HEADER, (view) => {
      view.setUint32(0, HEADER + payload.length, true);
      view.setUint16(4, type, true);
      view.setUint16(6, flags, true);
      view.setUint32(8, sequence, true);
      view.setUint32(12, this.#port, true);
    });
    return join([header, payload]);
  }

  #reply(bytes: Uint8Array): void {
    this.#replies.push({ bytes, from: this.peerAddress() });
  }

  #dump(sequence: number, type: number, records: readonly Uint8Array[]): void {
    const messages = records.map((record) => this.#message(type, NLM_F_MULTI, sequence, record));
    // Each reply fits the page that readers offer at least.
    for (const message of messages) this.#reply(message);
    this.#reply(this.#message(NLMSG_DONE, NLM_F_MULTI, sequence, u32(0)));
  }

  #refuse(request: Uint8Array, sequence: number, error: number): void {
    this.#reply(this.#message(NLMSG_ERROR, 0, sequence, join([u32(-error), request.subarray(0, HEADER)])));
  }

  override receive(to: IoVector, flags: number): Received | undefined {
    return this.#replies.receive(to, flags);
  }

  override poll(): number {
    return POLLOUT | POLLWRNORM | (this.#replies.length > 0 ? POLLIN | POLLRDNORM : 0);
  }
}

/** struct ifinfomsg (type at 2, index at 4, flags at 8) with attributes, for each interface. */
function links(addresses: readonly HostInterfaceAddress[]): Uint8Array[] {
  return [...interfaceNumbers(addresses)].map(([name, index]) => {
    const own = addresses.find((each) => each.name === name) as HostInterfaceAddress;
    const { isLoopback: loopback, mac } = own;
    const hardware = Uint8Array.from(mac.split(":"), (digits) => Number.parseInt(digits, 16));
    const info = bytesOf(16, (view) => {
      view.setUint16(2, loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER, true);
      view.setInt32(4, index, true);
      view.setUint32(8, IFF_UP_RUNNING | (loopback ? IFF_LOOPBACK : IFF_BROADCAST_MULTICAST), true);
    });
    return join([
      info,
      attribute(IFLA_IFNAME, text(name)),
      attribute(IFLA_MTU, u32(loopback ? LOOPBACK_MTU : ETHERNET_MTU)),
      attribute(IFLA_ADDRESS, hardware),
      attribute(IFLA_BROADCAST, new Uint8Array(6).fill(loopback ? 0 : 0xff)),
    ]);
  });
}

/** struct ifaddrmsg (family, prefix, flags, scope, index at 4) with attributes, for each address of the family. */
function addressRecords(addresses: readonly HostInterfaceAddress[], family: number): Uint8Array[] {
  const indices = interfaceNumbers(addresses);
  const records: Uint8Array[] = [];
  for (const { name, ip: hostIp, prefix, isLoopback: loopback } of addresses) {
    const ip = canonicalIp(hostIp);
    const own = isIpv4(ip) ? AF_INET : AF_INET6;
    if (family !== AF_UNSPEC && family !== own) continue;
    const bytes = own === AF_INET ? ipv4Bytes(ip) : ipv6Bytes(ip);
    const scope = isLoopback(ip) ? RT_SCOPE_HOST : isLinkLocal6(ip) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    const info = bytesOf(8, (view) => {
      view.setUint8(0, own);
      view.setUint8(1, prefix);
      view.setUint8(2, IFA_F_PERMANENT);
      view.setUint8(3, scope);
      view.setUint32(4, indices.get(name) ?? 0, true);
    });
    const parts = [info, attribute(IFA_ADDRESS, bytes)];
    if (own === AF_INET) {
      parts.push(attribute(IFA_LOCAL, bytes));
      if (!loopback) parts.push(attribute(IFA_BROADCAST, broadcastOf(bytes, prefix)));
      parts.push(attribute(IFA_LABEL, text(name)));
    }
    parts.push(attribute(IFA_FLAGS, u32(IFA_F_PERMANENT)));
    records.push(join(parts));
  }
  return records;
}

function broadcastOf(ip: Uint8Array, prefix: number): Uint8Array {
  return ip.map((byte, i) => byte | (0xff >> Math.max(0, Math.min(8, prefix - 8 * i))));
}
