import type { HostConnection, HostListener } from "../../host/network.ts";
import { SyscallError } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import {
  AF_UNSPEC,
  IPPROTO_TCP,
  MSG_ERRQUEUE,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  SHUT_RD,
  SHUT_RDWR,
  SOCK_STREAM,
  SOMAXCONN,
  TCP_INQ,
} from "../abi/socket.ts";
import { WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import { type Endpoint, inetAddress, type SocketAddress } from "./address.ts";
import { ByteQueue } from "./byte-queue.ts";
import type { ControlMessage } from "./control.ts";
import { HostPeer } from "./host-peer.ts";
import { type InetFamily, InetSocket } from "./inet.ts";
import { isIpv4, isLoopback, LOOPBACK4, LOOPBACK6 } from "./ip.ts";
import type { Network } from "./network.ts";
import type { Pending } from "./pending.ts";
import { IN_PROGRESS, RCV_SHUTDOWN, type Received, SEND_SHUTDOWN, type SendOptions, SHUTDOWN_MASK } from "./socket.ts";

/** What SO_SNDBUF and SO_RCVBUF say of a new socket (net/ipv4/tcp_wmem and tcp_rmem, the middle ones). */
const DEFAULT_BUFFERS = { send: 16_384, receive: 131_072 };
/** What Linux makes of the send buffer of a connection over the loopback interface, unless SO_SNDBUF was set. */
const TUNED_SEND_BUFFER = 2_626_560;

/** Bytes of a stream, which come without an address or descriptors. */
const received = (count: number, length: number): Received => ({
  count,
  length,
  from: undefined,
  flags: 0,
  rights: NONE,
});
const NONE: readonly never[] = [];

/** The other end of a connection: a socket of the guest, or one of the host. */
export interface TcpPeer {
  /** Bytes that it takes now. */
  room(sender: TcpSocket): number;
  /** Takes the next `count` bytes, less only at a fault or if the connection has failed (0). @returns how many */
  deliver(from: IoVector, count: number, sender: TcpSocket): number;
  /** The sender will send no more (FIN). */
  finish(): void;
  /** The connection is broken off (RST). */
  reset(): void;
  /** The sender has read something: there is room at its side. */
  consumed(): void;
  /** The sender is closed; all it sent is to arrive. */
  abandon(sender: TcpSocket): void;
  setNoDelay(on: boolean): void;
}

/** A TCP socket (tcp(7); Linux: net/ipv4/tcp.c). */
export class TcpSocket extends InetSocket implements TcpPeer {
  #state: "closed" | "listening" | "connecting" | "connected" = "closed";
  #peer: TcpPeer | undefined;
  readonly #received = new ByteQueue();
  /** The peer has sent a FIN (Linux: SOCK_DONE). */
  #done = false;
  /** A connection that connect(2) has not reported yet. */
  #unreported = false;
  /** A writer has been told that there is no room (Linux: SOCK_NOSPACE). */
  #noSpace = false;
  /** Has SO_SNDBUF been set? */
  sendBufferFixed = false;
  /** Bytes that went out and came in since the connection began. */
  bytesSent = 0;
  bytesReceived = 0;
  noDelay = false;
  // Of listening sockets:
  #backlog = 0;
  readonly #queue: TcpSocket[] = [];
  /** Sockets of the guest that found the queue full. */
  readonly #parked = new Set<TcpSocket>();
  #listener: HostListener | undefined;
  /** Of a connecting socket: where it is parked. */
  #waitsFor: TcpSocket | undefined;

  constructor(network: Network, family: InetFamily, flags: number) {
    super(network, { family, type: SOCK_STREAM, protocol: IPPROTO_TCP, flags }, DEFAULT_BUFFERS);
  }

  protected override enter(): void {
    this.network.tcp.add(this);
  }

  protected override leave(): void {
    this.network.tcp.remove(this);
  }

  protected override isTaken(ip: string, port: number): boolean {
    return this.network.tcp.isTaken(this, ip, port);
  }

  protected override ephemeralPort(): number {
    return this.network.tcp.ephemeral();
  }

  protected override async reserve(at: Endpoint): Promise<Endpoint> {
    const { host } = this.network;
    if (host === undefined) return at;
    const listener = await host.listen(at, { v6only: this.v6only, reusePort: this.reusePort });
    if (this.closed) listener.close();
    else this.#listener = listener;
    return listener.local;
  }

  override get isListening(): boolean {
    return this.#state === "listening";
  }

  override get buffered(): number {
    if (this.#state === "listening") throw new SyscallError("EINVAL");
    return this.#received.size;
  }

  override listen(backlog: number): Pending | undefined {
    if (this.underway !== undefined) return this.underway;
    if (this.#state !== "closed" && this.#state !== "listening") throw new SyscallError("EINVAL");
    this.#backlog = Math.min(backlog < 0 ? SOMAXCONN : backlog, SOMAXCONN);
    if (this.#state === "listening") return undefined;
    if (this.local === undefined) {
      const pending = this.bindTo({ ip: this.wildcard, port: 0 });
      if (pending !== undefined) return pending;
    }
    // Sockets that share an address may not both listen (inet_csk_listen_start).
    const { ip, port } = this.local as Endpoint;
    this.#state = "listening";
    if (this.isTaken(ip, port)) {
      this.#state = "closed";
      throw new SyscallError("EADDRINUSE");
    }
    this.shutdownMask = 0;
    this.#listener?.accept((connection) => this.#arrived(connection));
    return undefined;
  }

  /** A connection from outside. */
  #arrived(connection: HostConnection): void {
    const child = new TcpSocket(this.network, this.family, 0);
    child.#inherit(this);
    child.#established(connection.local, connection.remote, new HostPeer(child, connection));
    this.#enqueue(child);
    this.network.owner.wakeUp();
  }

  /** Options that an accepted socket has from the listening one (net/core/sock.c, sk_clone_lock). */
  #inherit(listener: TcpSocket): void {
    this.v6only = listener.v6only;
    this.sendBuffer = listener.sendBuffer;
    this.sendBufferFixed = listener.sendBufferFixed;
    this.receiveBuffer = listener.receiveBuffer;
    this.linger = listener.linger;
    this.keepAlive = listener.keepAlive;
    this.noDelay = listener.noDelay;
    this.reuseAddress = listener.reuseAddress;
    this.receiveTimeout = listener.receiveTimeout;
    this.sendTimeout = listener.sendTimeout;
    for (const [key, value] of listener.remembered) this.remembered.set(key, value);
  }

  #established(local: Endpoint, remote: Endpoint, peer: TcpPeer): void {
    this.local ??= local;
    this.remote = remote;
    this.#peer = peer;
    this.#state = "connected";
    this.shutdownMask = 0;
    this.#done = false;
    if (!this.sendBufferFixed) this.sendBuffer = TUNED_SEND_BUFFER;
    if (this.noDelay) peer.setNoDelay(true);
  }

  #enqueue(child: TcpSocket): void {
    this.#queue.push(child.acquire());
    this.changed();
  }

  override accept(flags: number): TcpSocket | undefined {
    if (this.#state !== "listening") throw new SyscallError("EINVAL");
    const child = this.#queue.shift();
    if (child === undefined) return undefined;
    child.flags |= flags;
    for (const parked of this.#parked) {
      if (this.#isFull) break;
      this.#parked.delete(parked);
      parked.#waitsFor = undefined;
      parked.#connectTo(this);
    }
    return child;
  }

  /** Linux takes one more than it was asked to (include/net/sock.h, sk_acceptq_is_full). */
  get #isFull(): boolean {
    return this.#queue.length > this.#backlog;
  }

  override connect(address: SocketAddress): number {
    if (address.family === AF_UNSPEC) return this.#disconnect();
    if (this.#state === "connecting") {
      if (this.nonblocking) throw new SyscallError("EALREADY");
      return IN_PROGRESS;
    }
    const to = this.target(this.own(address));
    if (this.#state === "connected" && this.#unreported) {
      this.#unreported = false;
      return 0;
    }
    if (this.#state !== "closed") throw new SyscallError("EISCONN");
    if (this.#unreported) {
      // The attempt before has failed, and this call tells (net/ipv4/af_inet.c, __inet_stream_connect).
      this.#unreported = false;
      this.shutdownMask = 0;
      this.throwError();
      throw new SyscallError("ECONNABORTED");
    }
    this.throwError();
    this.remote = to;
    this.#state = "connecting";
    this.#unreported = true;
    this.shutdownMask = 0;
    try {
      this.#start(to);
    } catch (error) {
      this.#state = "closed";
      this.remote = undefined;
      throw error;
    }
    return IN_PROGRESS;
  }

  #start(to: Endpoint): void {
    const { network } = this;
    const isLocal = network.isLocal(to.ip);
    if (isLocal) {
      const listener = network.tcp.find(to.ip, to.port, (socket) => (socket.isListening ? 1 : 0));
      if (listener !== undefined) {
        this.#autoBindFor(to);
        if (!listener.#isFull) this.#connectTo(listener);
        else {
          this.#waitsFor = listener;
          listener.#parked.add(this);
        }
        return;
      }
    }
    const { host } = network;
    const isOurs = network.tcp.find(to.ip, to.port, (socket) => (socket.remote === undefined ? 1 : 0)) !== undefined;
    if (host !== undefined && !(isLocal && isOurs)) {
      // The host binds again what it kept for a bind(2).
      this.#listener?.close();
      this.#listener = undefined;
      const connection = host.connect(to, this.local);
      this.#peer = new HostPeer(this, connection);
      return;
    }
    if (!isLocal) throw new SyscallError("ENETUNREACH");
    this.#autoBindFor(to);
    this.#failConnect("ECONNREFUSED");
  }

  #autoBindFor(to: Endpoint): void {
    const ip = isLoopback(to.ip) ? (isIpv4(to.ip) ? LOOPBACK4 : LOOPBACK6) : to.ip;
    if (this.local === undefined) this.autoBind(ip);
    else if (this.local.ip === this.wildcard) this.setLocal({ ...this.local, ip });
  }

  /** The connection within the guest comes about. */
  #connectTo(listener: TcpSocket): void {
    const [local, remote] = [this.local as Endpoint, this.remote as Endpoint];
    const child = new TcpSocket(this.network, listener.family, 0);
    child.#inherit(listener);
    child.#established(remote, local, this);
    this.#established(local, remote, child);
    listener.#enqueue(child);
    this.changed();
  }

  /** The host has connected. */
  hostConnected(connection: HostConnection): void {
    if (this.#state !== "connecting" || this.#peer === undefined) return;
    const { local, remote } = connection;
    if (this.local === undefined) this.setLocal(local);
    else if (this.local.ip === this.wildcard) this.setLocal({ ...this.local, ip: local.ip });
    this.#established(local, remote, this.#peer);
    this.changed();
  }

  /** The host could not connect. */
  hostFailed(error: Parameters<TcpSocket["reset"]>[0]): void {
    if (this.#state === "connecting") this.#failConnect(error ?? "ECONNREFUSED");
    else this.reset(error);
    this.network.owner.wakeUp();
  }

  /** Gives up its place before a full queue. */
  #unpark(): void {
    if (this.#waitsFor !== undefined) this.#waitsFor.#parked.delete(this);
    this.#waitsFor = undefined;
  }

  #failConnect(error: NonNullable<TcpSocket["error"]>): void {
    this.#state = "closed";
    this.#peer = undefined;
    this.remote = undefined;
    this.error = error;
    this.shutdownMask = SHUTDOWN_MASK;
    this.changed();
  }

  override connectResult(): number | null {
    if (this.#state === "connecting") return null;
    this.#unreported = false;
    if (this.#state === "closed" && this.error !== undefined) this.shutdownMask = 0;
    this.throwError();
    return 0;
  }

  /** connect(2) with AF_UNSPEC (net/ipv4/tcp.c, tcp_disconnect). */
  #disconnect(): number {
    if (this.#state === "listening") this.#stopListening();
    else if (this.#peer !== undefined) this.#peer.reset();
    this.#unpark();
    this.#peer = undefined;
    this.#state = "closed";
    this.remote = undefined;
    this.#received.discard(this.#received.size);
    this.shutdownMask = 0;
    this.changed();
    return 0;
  }

  override send(from: IoVector, options: SendOptions): number {
    if (options.flags & MSG_OOB) throw new SyscallError("ENOTSUP");
    this.throwError();
    if (this.shutdownMask & SEND_SHUTDOWN) throw new SyscallError("EPIPE");
    if (this.#state === "connecting") return WOULD_BLOCK;
    if (this.#state !== "connected" || this.#peer === undefined) throw new SyscallError("EPIPE");
    if (from.remaining === 0) return 0;
    const room = this.#peer.room(this);
    if (room <= 0) {
      this.#noSpace = true;
      return WOULD_BLOCK;
    }
    const count = this.#peer.deliver(from, Math.min(room, from.remaining), this);
    if (count === 0) {
      // What ended the connection in that moment, or a bad pointer.
      this.throwError();
      from.fault();
    }
    this.bytesSent += count;
    return count;
  }

  override receive(to: IoVector, flags: number): Received | undefined {
    if (flags & MSG_ERRQUEUE) throw new SyscallError("EAGAIN");
    if (flags & MSG_OOB) throw new SyscallError("EINVAL");
    if (this.#state === "listening") throw new SyscallError("ENOTCONN");
    if (this.#received.size > 0) {
      if (to.remaining === 0) return received(0, 0);
      const count = this.#take(to, flags);
      if (count === 0) to.fault();
      return received(flags & MSG_TRUNC ? 0 : count, count);
    }
    if (!this.#done) {
      this.throwError();
      if (!(this.shutdownMask & RCV_SHUTDOWN)) {
        if (this.#state === "closed") throw new SyscallError("ENOTCONN");
        return undefined;
      }
    }
    return received(0, 0);
  }

  /** Moves, copies or throws away what is there. */
  #take(to: IoVector, flags: number): number {
    // With MSG_TRUNC TCP drops bytes instead of storing them (tcp(7)).
    if (flags & MSG_PEEK)
      return flags & MSG_TRUNC ? Math.min(to.remaining, this.#received.size) : this.#received.peek(to);
    const count = flags & MSG_TRUNC ? this.#received.discard(to.remaining) : this.#received.shift(to);
    if (count > 0) this.#peer?.consumed();
    return count;
  }

  override shutdown(how: number): void {
    if (this.#state === "listening") {
      if (how === SHUT_RD || how === SHUT_RDWR) this.#stopListening();
      return;
    }
    if (this.#state === "connecting") {
      this.#disconnect();
      return;
    }
    const mask = how === SHUT_RDWR ? SHUTDOWN_MASK : how + 1;
    if (this.#state === "closed") {
      // It takes effect although it fails (net/ipv4/af_inet.c, inet_shutdown).
      this.shutdownMask |= mask;
      this.changed();
      throw new SyscallError("ENOTCONN");
    }
    const finishes = mask & SEND_SHUTDOWN && !(this.shutdownMask & SEND_SHUTDOWN);
    this.shutdownMask |= mask;
    if (finishes) this.#peer?.finish();
    this.changed();
  }

  override peerAddress(): SocketAddress {
    if (this.#state !== "connected") throw new SyscallError("ENOTCONN");
    return super.peerAddress();
  }

  /** Whom the socket was connected with, also if that is over. */
  lastPeerAddress(): SocketAddress {
    return inetAddress(this.family, this.remote);
  }

  /** The state as Linux numbers it (include/net/tcp_states.h). */
  get linuxState(): number {
    if (this.#state === "listening") return 10;
    if (this.#state === "connecting") return 2;
    if (this.#state === "closed") return 7;
    const { shutdownMask } = this;
    // FIN_WAIT2, CLOSE_WAIT, LAST_ACK, ESTABLISHED.
    if (shutdownMask & SEND_SHUTDOWN) return this.#done ? 9 : 5;
    return this.#done ? 8 : 1;
  }

  /** Is the peer on this computer? */
  get isWithinComputer(): boolean {
    return this.remote !== undefined && this.network.isLocal(this.remote.ip);
  }

  /** With TCP_INQ: how many bytes are left to read (net/ipv4/tcp.c, tcp_inq_hint). */
  override controlOf(_received: Received): readonly ControlMessage[] {
    if (!this.isOn(IPPROTO_TCP, TCP_INQ)) return [];
    const left = this.#received.size === 0 && this.#done ? 1 : this.#received.size;
    return [{ level: IPPROTO_TCP, type: TCP_INQ, data: new Uint8Array(Int32Array.of(left).buffer) }];
  }

  setNoDelay(_on: boolean): void {
    // Nothing is delayed between sockets of the guest.
  }

  /** TCP_NODELAY. */
  delay(off: boolean): void {
    this.noDelay = off;
    this.#peer?.setNoDelay(off);
  }

  /** net/ipv4/tcp.c, tcp_poll. */
  override poll(): number {
    if (this.#state === "listening") return this.#queue.length > 0 ? POLLIN | POLLRDNORM : 0;
    let mask = 0;
    const { shutdownMask } = this;
    if (shutdownMask === SHUTDOWN_MASK || this.#state === "closed") mask |= POLLHUP;
    if (shutdownMask & RCV_SHUTDOWN) mask |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (this.#state !== "connecting") {
      if (this.#received.size > 0) mask |= POLLIN | POLLRDNORM;
      if (shutdownMask & SEND_SHUTDOWN || this.#isWritable) mask |= POLLOUT | POLLWRNORM;
      else this.#noSpace = true;
    }
    if (this.error !== undefined) mask |= POLLERR;
    return mask;
  }

  /** A third of the buffer must be free (include/net/sock.h, sk_stream_is_writable). */
  get #isWritable(): boolean {
    return this.#peer === undefined || this.#peer.room(this) * 3 >= this.sendBuffer;
  }

  // The other end's view of this socket.

  room(sender: TcpSocket): number {
    if (this.closed) return sender.sendBuffer;
    // What Linux keeps in two places lies in one here: half the receive buffer is the window (tcp_win_from_space).
    return sender.sendBuffer + Math.floor(this.receiveBuffer / 2) - this.#received.size;
  }

  deliver(from: IoVector, count: number, sender: TcpSocket): number {
    const bytes = from.take(count);
    // Nobody is there any more: a reset is the answer (tcp_rcv_state_process).
    if (this.closed && bytes.length > 0) sender.reset();
    else if (bytes.length > 0) this.arrived(bytes, false);
    return bytes.length;
  }

  /** Bytes have come. @param borrowed the caller uses `bytes` for others afterwards */
  arrived(bytes: Uint8Array, borrowed: boolean): void {
    this.#received.push(bytes, borrowed);
    this.bytesReceived += bytes.length;
    this.changed();
  }

  /** Is more here than the receive buffer is for? */
  get isCongested(): boolean {
    return this.#received.size >= this.receiveBuffer;
  }

  finish(): void {
    if (this.#state !== "connected") return;
    this.#done = true;
    this.shutdownMask |= RCV_SHUTDOWN;
    this.changed();
  }

  /** net/ipv4/tcp_input.c, tcp_reset: after a FIN the error is EPIPE. */
  reset(error: TcpSocket["error"] = this.#done ? "EPIPE" : "ECONNRESET"): void {
    if (this.#state !== "connected") return;
    this.#state = "closed";
    this.#peer = undefined;
    this.error = error;
    this.shutdownMask = SHUTDOWN_MASK;
    this.changed();
  }

  consumed(): void {
    if (!this.#noSpace || !this.#isWritable) return;
    this.#noSpace = false;
    this.changed();
  }

  abandon(_sender: TcpSocket): void {
    this.finish();
  }

  #stopListening(): void {
    this.#listener?.close();
    this.#listener = undefined;
    this.#state = "closed";
    this.shutdownMask = SHUTDOWN_MASK;
    for (const child of this.#queue.splice(0)) {
      child.#peer?.reset();
      child.#peer = undefined;
      child.release();
    }
    for (const parked of [...this.#parked]) {
      parked.#waitsFor = undefined;
      parked.#failConnect("ECONNREFUSED");
    }
    this.#parked.clear();
    this.changed();
  }

  protected override destroy(): void {
    this.closed = true;
    if (this.#state === "listening") this.#stopListening();
    this.#listener?.close();
    this.#listener = undefined;
    this.#unpark();
    const peer = this.#peer;
    this.#peer = undefined;
    if (peer !== undefined) {
      // Unread bytes, or SO_LINGER with no time, make a close a reset (net/ipv4/tcp.c, __tcp_close).
      if (this.#received.size > 0 || this.linger === 0 || this.#state === "connecting") peer.reset();
      else peer.abandon(this);
    }
    this.#state = "closed";
    this.setLocal(undefined);
  }
}
