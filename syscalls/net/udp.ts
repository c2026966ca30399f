import type { HostDatagram } from "../../host/network.ts";
import { type ErrnoName, SyscallError } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import { AF_INET6, AF_UNSPEC, IPPROTO_UDP, MSG_ERRQUEUE, MSG_OOB, SHUT_RDWR, SOCK_DGRAM } from "../abi/socket.ts";
import type { IoVector } from "../files/io-vector.ts";
import { type Endpoint, inetAddress, type SocketAddress } from "./address.ts";
import { type Datagram, DatagramQueue } from "./datagram-queue.ts";
import { type InetFamily, InetSocket } from "./inet.ts";
import { isAny, isIpv4, isLoopback, isMulticast, LOOPBACK4, LOOPBACK6 } from "./ip.ts";
import type { Network } from "./network.ts";
import { RCV_SHUTDOWN, type Received, SEND_SHUTDOWN, type SendOptions, SHUTDOWN_MASK } from "./socket.ts";

/** net/core/rmem_default and wmem_default. */
const DEFAULT_BUFFERS = { send: 212_992, receive: 212_992 };
/** Longest payload: 65,535 without the headers of UDP (8) and IPv4 (20); IPv6's is not counted. */
const MAX_PAYLOAD = 65_507;
const MAX_PAYLOAD6 = 65_527;

/** A UDP socket (udp(7); Linux: net/ipv4/udp.c). */
export class UdpSocket extends InetSocket {
  readonly #received = new DatagramQueue<Datagram>();
  /** The socket's counterpart outside, made when it is needed. */
  #outside: HostDatagram | undefined;
  readonly #groups = new Set<string>();
  multicastLoop = true;

  constructor(network: Network, family: InetFamily, flags: number) {
    super(network, { family, type: SOCK_DGRAM, protocol: IPPROTO_UDP, flags }, DEFAULT_BUFFERS);
  }

  protected override enter(): void {
    this.network.udp.add(this);
  }

  protected override leave(): void {
    this.network.udp.remove(this);
  }

  protected override isTaken(ip: string, port: number): boolean {
    return this.network.udp.isTaken(this, ip, port);
  }

  protected override ephemeralPort(): number {
    return this.network.udp.ephemeral();
  }

  protected override reserve(at: Endpoint): Promise<Endpoint> {
    // What is bound to a group's address receives what is sent there; hosts bind to all addresses for that.
    return this.#open().bind(isMulticast(at.ip) ? { ...at, ip: this.wildcard } : at);
  }

  /** The socket outside; made with the options of now. */
  #open(): HostDatagram {
    const { host } = this.network;
    if (host === undefined) throw new SyscallError("ENETUNREACH");
    if (this.#outside !== undefined) return this.#outside;
    const { v6only, reuseAddress, reusePort } = this;
    const outside = host.datagram({ ipv6: this.family === AF_INET6, v6only, reuseAddress, reusePort });
    outside.start({
      message: (bytes, from) => {
        this.deliver(bytes, from);
        this.network.owner.wakeUp();
      },
      failed: (error) => this.#failed(error),
    });
    if (this.broadcast) outside.setBroadcast(true);
    this.#outside = outside;
    return outside;
  }

  #failed(error: ErrnoName): void {
    if (this.closed) return;
    this.error = error;
    this.changed();
    this.network.owner.wakeUp();
  }

  /** SO_BROADCAST. */
  setBroadcast(on: boolean): void {
    this.broadcast = on;
    this.#outside?.setBroadcast(on);
  }

  /** IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP. @throws SyscallError EADDRINUSE, EADDRNOTAVAIL, EINVAL */
  setMembership(group: string, interfaceIp: string | undefined, joined: boolean): void {
    if (!isMulticast(group)) throw new SyscallError("EINVAL");
    if (joined === this.#groups.has(group)) throw new SyscallError(joined ? "EADDRINUSE" : "EADDRNOTAVAIL");
    if (this.network.host !== undefined) this.#open().setMembership(group, interfaceIp, joined);
    if (joined) this.#groups.add(group);
    else this.#groups.delete(group);
  }

  /** Size of the next message (udp(7), FIONREAD). */
  override get buffered(): number {
    return this.#received.first?.bytes.length ?? 0;
  }

  override connect(address: SocketAddress): number {
    if (address.family === AF_UNSPEC) {
      this.remote = undefined;
      return 0;
    }
    const to = this.target(this.own(address));
    if (!this.network.isLocal(to.ip) && this.network.host === undefined) throw new SyscallError("ENETUNREACH");
    const ip = this.#sourceFor(to.ip);
    if (this.local === undefined) this.autoBind(ip);
    else if (isAny(this.local.ip)) this.setLocal({ ...this.local, ip });
    this.remote = to;
    return 0;
  }

  /** The local address from which a destination is reached. */
  #sourceFor(ip: string): string {
    if (isLoopback(ip)) return isIpv4(ip) ? LOOPBACK4 : LOOPBACK6;
    if (this.network.isLocal(ip)) return ip;
    const outside = this.network.interfaces().find((each) => !each.isLoopback && isIpv4(each.ip) === isIpv4(ip));
    return outside?.ip ?? (isIpv4(ip) ? LOOPBACK4 : LOOPBACK6);
  }

  override send(from: IoVector, options: SendOptions): number {
    if (options.flags & MSG_OOB) throw new SyscallError("ENOTSUP");
    const length = from.remaining;
    const limit = this.family === AF_INET6 ? MAX_PAYLOAD6 : MAX_PAYLOAD;
    if (length > limit) throw new SyscallError("EMSGSIZE");
    let to = this.remote;
    if (options.to !== undefined && options.to.family !== AF_UNSPEC) {
      const own = this.#destination(options.to);
      if (own.port === 0) throw new SyscallError("EINVAL");
      to = this.target(own);
    }
    if (to === undefined) throw new SyscallError("EDESTADDRREQ");
    this.throwError();
    if (this.shutdownMask & SEND_SHUTDOWN) throw new SyscallError("EPIPE");
    if (to.ip === "255.255.255.255" && !this.broadcast) throw new SyscallError("EACCES");
    const isLocal = this.network.isLocal(to.ip);
    if (!isLocal && !isMulticast(to.ip) && this.network.host === undefined) throw new SyscallError("ENETUNREACH");
    const bytes = from.take(length);
    if (bytes.length < length) from.fault();
    this.autoBind(this.wildcard);
    this.#route(bytes, to, isLocal);
    return length;
  }

  /** A destination of a single message: an IPv6 socket takes IPv4 addresses as well (net/ipv6/udp.c, udpv6_sendmsg). */
  #destination(address: SocketAddress): Endpoint {
    if (this.family === AF_INET6 && "ip" in address && address.family !== AF_INET6 && !this.v6only) return address;
    return this.own(address);
  }

  #route(bytes: Uint8Array, to: Endpoint, isLocal: boolean): void {
    const local = this.local as Endpoint;
    const source = isAny(local.ip) ? { ...local, ip: this.#sourceFor(to.ip) } : local;
    if (isMulticast(to.ip)) {
      if (this.network.host === undefined) this.#multicast(bytes, to, source);
      else this.#sendOutside(bytes, to);
      return;
    }
    if (isLocal) {
      const receiver = this.network.udp.find(to.ip, to.port, (socket) => socket.#score(to, source));
      if (receiver !== undefined) {
        receiver.deliver(bytes, source);
        return;
      }
      if (this.network.host === undefined) {
        // The port is unreachable, which only connected sockets are told (net/ipv4/udp.c, __udp4_lib_err).
        if (this.remote !== undefined) this.#failed("ECONNREFUSED");
        return;
      }
    }
    this.#sendOutside(bytes, to);
  }

  #sendOutside(bytes: Uint8Array, to: Endpoint): void {
    const isNew = this.#outside === undefined;
    const outside = this.#open();
    if (isNew && this.local !== undefined) {
      // Answers should find the port that the guest knows of; if the host has it in use, any other will do.
      const { port } = this.local;
      const any = { ip: this.wildcard, port: 0 };
      outside
        .bind({ ...any, port })
        .catch(() => outside.bind(any))
        .catch(() => {});
    }
    // A connected socket is told when nobody is there.
    if (this.remote?.ip === to.ip && this.remote.port === to.port) outside.connect(to);
    outside.send(bytes, to);
  }

  #multicast(bytes: Uint8Array, to: Endpoint, source: Endpoint): void {
    for (const socket of this.network.udp.all(to.port)) {
      if (socket.#groups.has(to.ip) && this.multicastLoop) socket.deliver(bytes, source);
    }
  }

  /** How well this socket suits a message; a connected one takes only what its peer sends. */
  #score(_to: Endpoint, source: Endpoint): number {
    if (this.remote === undefined) return 1;
    return this.remote.port === source.port && this.remote.ip === source.ip ? 2 : 0;
  }

  /** A message has come; what does not fit into the buffer is lost. */
  deliver(bytes: Uint8Array, from: Endpoint): void {
    if (this.closed || this.#received.charge >= this.receiveBuffer) return;
    if (this.remote !== undefined && this.#score(this.remote, from) === 0) return;
    this.#received.push({ bytes, from: inetAddress(this.family, from) });
    this.changed();
  }

  override receive(to: IoVector, flags: number): Received | undefined {
    if (flags & MSG_ERRQUEUE) throw new SyscallError("EAGAIN");
    if (flags & MSG_OOB) throw new SyscallError("ENOTSUP");
    this.throwError();
    const received = this.#received.receive(to, flags);
    if (received !== undefined) return received;
    if (this.shutdownMask & RCV_SHUTDOWN) return { count: 0, length: 0, from: undefined, flags: 0, rights: [] };
    return undefined;
  }

  override shutdown(how: number): void {
    this.shutdownMask |= how === SHUT_RDWR ? SHUTDOWN_MASK : how + 1;
    this.changed();
    // It has taken effect all the same (net/ipv4/af_inet.c, inet_shutdown).
    if (this.remote === undefined) throw new SyscallError("ENOTCONN");
  }

  /** net/core/datagram.c, datagram_poll. */
  override poll(): number {
    let mask = POLLOUT | POLLWRNORM;
    if (this.error !== undefined) mask |= POLLERR;
    if (this.shutdownMask & RCV_SHUTDOWN) mask |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (this.shutdownMask === SHUTDOWN_MASK) mask |= POLLHUP;
    if (this.#received.length > 0) mask |= POLLIN | POLLRDNORM;
    return mask;
  }

  protected override destroy(): void {
    this.closed = true;
    this.#outside?.close();
    this.#outside = undefined;
    this.setLocal(undefined);
  }
}
