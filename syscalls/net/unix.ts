import type { HostConnection, HostListener } from "../../host/network.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_NONBLOCK } from "../abi/fcntl.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import {
  AF_UNIX,
  AF_UNSPEC,
  MSG_ERRQUEUE,
  MSG_OOB,
  MSG_PEEK,
  SCM_CREDENTIALS,
  SHUT_RD,
  SHUT_RDWR,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  SOMAXCONN,
} from "../abi/socket.ts";
import { confine, namesOf, pathOf } from "../files/confine.ts";
import { type FileDescription, WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import { linkOnHost } from "../files/resolve.ts";
import { NO_NAME, type SocketAddress, type UnixAddress } from "./address.ts";
import type { ControlMessage } from "./control.ts";
import type { Network } from "./network.ts";
import { whoConnects, whoListens } from "./outside-peer.ts";
import { Pending } from "./pending.ts";
import {
  type Credentials,
  IN_PROGRESS,
  RCV_SHUTDOWN,
  type Received,
  SEND_SHUTDOWN,
  type SendOptions,
  SHUTDOWN_MASK,
  Socket,
} from "./socket.ts";
import { UnixQueue } from "./unix-queue.ts";

/** net/core/rmem_default and wmem_default. */
const DEFAULT_BUFFERS = { send: 212_992, receive: 212_992 };
/** Messages that wait at a datagram socket (net/unix/max_dgram_qlen). */
const MAX_QUEUE = 10;
/** What Linux counts for a message beside its bytes (sizeof(struct sk_buff) and its kin). */
const MESSAGE_OVERHEAD = 768;

/** A Unix domain socket (unix(7); Linux: net/unix/af_unix.c). */
export class UnixSocket extends Socket {
  #name = "";
  #state: "unconnected" | "listening" | "connecting" | "connected" = "unconnected";
  #peer: UnixSocket | undefined;
  #outside: HostConnection | undefined;
  #outsidePaused = false;
  #peerName: UnixAddress = NO_NAME;
  #credentials: Credentials | undefined;
  readonly #received = new UnixQueue();
  #noSpace = false;
  #backlog = 0;
  readonly #queue: UnixSocket[] = [];
  /** Sockets that found the queue full, and the names under which they connect. */
  readonly #waiting = new Set<UnixSocket>();
  #waitsFor: UnixSocket | undefined;
  /** Datagram sockets that could not send to this one for want of room. */
  readonly #blocked = new Set<UnixSocket>();
  #listener: HostListener | undefined;

  constructor(network: Network, type: number, flags: number) {
    super(network, { family: AF_UNIX, type, protocol: 0, flags }, DEFAULT_BUFFERS);
  }

  /** Two sockets that are connected with each other (socketpair(2)). */
  static pair(network: Network, type: number, flags: number): [UnixSocket, UnixSocket] {
    const [a, b] = [new UnixSocket(network, type, flags), new UnixSocket(network, type, flags)];
    a.#join(b, NO_NAME);
    b.#join(a, NO_NAME);
    return [a, b];
  }

  #join(peer: UnixSocket, name: UnixAddress): void {
    this.#peer = peer;
    this.#state = "connected";
    this.#peerName = name;
    const { pid, euid, gid } = this.network.owner;
    this.#credentials = { pid, uid: euid, gid };
  }

  get #isDatagram(): boolean {
    return this.type === SOCK_DGRAM;
  }

  override get isListening(): boolean {
    return this.#state === "listening";
  }

  /** Has it a peer, or had it one? */
  get isConnected(): boolean {
    return this.#state === "connected";
  }

  override get buffered(): number {
    if (this.#state === "listening") throw new SyscallError("EINVAL");
    return this.type === SOCK_STREAM ? this.#received.bytes : this.#received.firstLength;
  }

  override bind(address: SocketAddress): Pending | undefined {
    if (this.underway !== undefined) return this.underway;
    if (address.family !== AF_UNIX) throw new SyscallError("EINVAL");
    if (this.#name !== "") throw new SyscallError("EINVAL");
    const { network } = this;
    const { path } = address;
    if (path === "") {
      this.#take(network.abstractName());
      return undefined;
    }
    const isAbstract = path.startsWith("\0");
    const name = isAbstract ? path : this.#absolute(path);
    if (network.unix.has(name)) throw new SyscallError("EADDRINUSE");
    this.#take(name, path);
    if (isAbstract || network.host === undefined) return undefined;
    // The host makes the file, and refuses a name that is there. It serves for all types of sockets.
    const listening = network.host.listen({ path: name }, { v6only: false, reusePort: false }).then(
      (listener) => {
        if (this.closed) listener.close();
        else this.#listener = listener;
      },
      (error: unknown) => {
        this.#forgetName();
        throw error;
      },
    );
    this.underway = new Pending(listening, () => network.owner.wakeUp());
    return this.underway;
  }

  #shownName = "";

  #take(name: string, shown = name): void {
    this.#name = name;
    this.#shownName = shown;
    this.network.unix.set(name, this);
  }

  #forgetName(): void {
    if (this.#name !== "" && this.network.unix.get(this.#name) === this) this.network.unix.delete(this.#name);
    this.#name = "";
    this.#shownName = "";
  }

  /** The name by which a path is known, whatever the working directory. */
  #absolute(path: string): string {
    const { files, host } = this.network.owner;
    if (files.root !== undefined) {
      const readLink = (at: string): string | undefined => linkOnHost(host, at);
      return confine(namesOf(pathOf(files.root)), namesOf(pathOf(files.cwd)), path, true, readLink);
    }
    return path.startsWith("/") ? path : `${files.cwd.path === "/" ? "" : files.cwd.path}/${path}`;
  }

  override listen(backlog: number): Pending | undefined {
    if (this.#isDatagram) throw new SyscallError("ENOTSUP");
    if (this.#name === "") throw new SyscallError("EINVAL");
    if (this.#state !== "unconnected" && this.#state !== "listening") throw new SyscallError("EINVAL");
    this.#backlog = backlog < 0 ? SOMAXCONN : Math.min(backlog, SOMAXCONN);
    if (this.#state === "listening") {
      this.#admit();
      return undefined;
    }
    this.#state = "listening";
    const { pid, euid, gid } = this.network.owner;
    this.#credentials = { pid, uid: euid, gid };
    this.#listener?.accept((connection) => {
      const child = new UnixSocket(this.network, this.type, 0);
      child.#state = "connected";
      child.#shownName = this.#shownName;
      child.#credentials = whoConnects(this.network.owner.host.files, this.#name, { euid, gid });
      child.#useOutside(connection);
      this.#enqueue(child);
      this.network.owner.wakeUp();
    });
    return undefined;
  }

  #useOutside(connection: HostConnection): void {
    this.#outside = connection;
    const wakeUp = (): void => this.network.owner.wakeUp();
    connection.start({
      connected: () => {
        if (this.#state === "connecting") this.#state = "connected";
        this.changed();
        wakeUp();
      },
      data: (bytes) => {
        this.#received.push({ bytes: bytes.slice(), from: undefined, rights: [], credentials: undefined }, true);
        if (this.#received.bytes >= this.receiveBuffer) {
          this.#outsidePaused = true;
          connection.pause();
        }
        this.changed();
        wakeUp();
      },
      ended: () => {
        this.shutdownMask |= RCV_SHUTDOWN;
        this.changed();
        wakeUp();
      },
      drained: () => {
        this.#hasRoom();
        wakeUp();
      },
      failed: (error) => {
        if (this.#state === "connecting") this.#state = "unconnected";
        else this.shutdownMask = SHUTDOWN_MASK;
        this.error = error === "EPIPE" ? undefined : error;
        this.#outside = undefined;
        this.changed();
        wakeUp();
      },
    });
  }

  #enqueue(child: UnixSocket): void {
    this.#queue.push(child.acquire());
    this.changed();
  }

  /** Lets in who waits, as far as the queue goes (unix_recvq_full: one more than the backlog). */
  #admit(): void {
    for (const socket of this.#waiting) {
      if (this.#queue.length > this.#backlog) return;
      this.#waiting.delete(socket);
      socket.#waitsFor = undefined;
      socket.#connectTo(this);
    }
  }

  override accept(flags: number): UnixSocket | undefined {
    if (this.#isDatagram) throw new SyscallError("ENOTSUP");
    if (this.#state !== "listening") throw new SyscallError("EINVAL");
    const child = this.#queue.shift();
    if (child === undefined) {
      if (this.shutdownMask & RCV_SHUTDOWN) throw new SyscallError("EINVAL");
      return undefined;
    }
    child.flags |= flags & O_NONBLOCK;
    this.#admit();
    return child;
  }

  /** The socket that has a name. @throws SyscallError ENOENT, ECONNREFUSED, EPROTOTYPE */
  #find(address: UnixAddress): UnixSocket | undefined {
    const { path } = address;
    if (path === "") throw new SyscallError("EINVAL");
    const isAbstract = path.startsWith("\0");
    const found = this.network.unix.get(isAbstract ? path : this.#absolute(path));
    if (found === undefined) {
      if (isAbstract) throw new SyscallError("ECONNREFUSED");
      if (this.network.host === undefined) throw new SyscallError("ENOENT");
      return undefined;
    }
    if (found.type !== this.type) throw new SyscallError("EPROTOTYPE");
    return found;
  }

  override connect(address: SocketAddress): number {
    if (this.#isDatagram) return this.#connectDatagram(address);
    if (address.family !== AF_UNIX) throw new SyscallError("EINVAL");
    if (this.#state === "connecting") {
      if (this.nonblocking) throw new SyscallError("EALREADY");
      return IN_PROGRESS;
    }
    if (this.#state === "listening") throw new SyscallError("EINVAL");
    if (this.#state === "connected") throw new SyscallError("EISCONN");
    const listener = this.#find(address);
    this.#peerName = address;
    if (listener === undefined) return this.#connectOutside(address);
    if (listener.#state !== "listening" || listener.shutdownMask & RCV_SHUTDOWN) throw new SyscallError("ECONNREFUSED");
    if (listener.#queue.length > listener.#backlog) {
      if (this.nonblocking) throw new SyscallError("EAGAIN");
      this.#state = "connecting";
      this.#waitsFor = listener;
      listener.#waiting.add(this);
      return IN_PROGRESS;
    }
    this.#connectTo(listener);
    return 0;
  }

  #connectOutside(address: UnixAddress): number {
    const { host } = this.network;
    // Hosts offer streams only.
    if (host === undefined || this.type !== SOCK_STREAM) throw new SyscallError("ECONNREFUSED");
    this.#state = "connecting";
    const path = this.#absolute(address.path);
    this.#credentials = whoListens(this.network.owner.host.files, path);
    this.#useOutside(host.connect({ path }, undefined));
    return IN_PROGRESS;
  }

  #connectTo(listener: UnixSocket): void {
    const child = new UnixSocket(this.network, this.type, 0);
    child.#shownName = listener.#shownName;
    child.passCredentials = listener.passCredentials;
    child.#join(this, { family: AF_UNIX, path: this.#shownName });
    this.#join(child, { family: AF_UNIX, path: listener.#shownName });
    listener.#enqueue(child);
    this.changed();
  }

  #connectDatagram(address: SocketAddress): number {
    if (address.family === AF_UNSPEC) {
      this.#peer = undefined;
      this.#state = "unconnected";
      return 0;
    }
    if (address.family !== AF_UNIX) throw new SyscallError("EINVAL");
    const peer = this.#find(address);
    if (peer === undefined) throw new SyscallError(this.#isThere(address.path) ? "ECONNREFUSED" : "ENOENT");
    this.#join(peer, address);
    return 0;
  }

  #isThere(path: string): boolean {
    try {
      this.network.owner.host.files.stat(this.#absolute(path), true);
      return true;
    } catch {
      return false;
    }
  }

  override connectResult(): number | null {
    if (this.#state === "connecting") return null;
    this.throwError();
    return 0;
  }

  override localAddress(): SocketAddress {
    return { family: AF_UNIX, path: this.#shownName };
  }

  override peerAddress(): SocketAddress {
    if (this.#state !== "connected") throw new SyscallError("ENOTCONN");
    return this.#peerName;
  }

  override peerCredentials(): Credentials {
    return this.#credentials ?? super.peerCredentials();
  }

  override controlOf(received: Received): readonly ControlMessage[] {
    if (!this.passCredentials) return [];
    const { pid, uid, gid } = received.credentials ?? { pid: 0, uid: 65_534, gid: 65_534 };
    return [{ level: SOL_SOCKET, type: SCM_CREDENTIALS, data: new Uint8Array(Int32Array.of(pid, uid, gid).buffer) }];
  }

  override send(from: IoVector, options: SendOptions): number {
    if (options.flags & MSG_OOB) throw new SyscallError("ENOTSUP");
    return this.type === SOCK_STREAM ? this.#sendBytes(from, options) : this.#sendMessage(from, options);
  }

  #sendBytes(from: IoVector, options: SendOptions): number {
    if (options.to !== undefined) throw new SyscallError(this.#state === "connected" ? "EISCONN" : "ENOTSUP");
    if (this.#state === "connecting") return WOULD_BLOCK;
    if (this.#state !== "connected") throw new SyscallError("ENOTCONN");
    if (this.shutdownMask & SEND_SHUTDOWN) throw new SyscallError("EPIPE");
    const peer = this.#peer;
    if (this.#outside === undefined && (peer === undefined || peer.closed || peer.shutdownMask & RCV_SHUTDOWN)) {
      throw new SyscallError("EPIPE");
    }
    if (from.remaining === 0) return 0;
    const room = this.#room();
    if (room <= 0) {
      this.#noSpace = true;
      return WOULD_BLOCK;
    }
    const bytes = from.take(Math.min(room, from.remaining));
    if (bytes.length === 0) from.fault();
    if (this.#outside !== undefined) this.#outside.write(bytes);
    else if (peer !== undefined) peer.#arrived(bytes, this, options.rights);
    return bytes.length;
  }

  /** Bytes of a stream that can be sent now. */
  #room(): number {
    if (this.#outside !== undefined) return this.sendBuffer - this.#outside.pending;
    return this.sendBuffer - (this.#peer === undefined ? 0 : this.#peer.#received.bytes);
  }

  #arrived(bytes: Uint8Array, sender: UnixSocket, rights: readonly FileDescription[]): void {
    const { pid, uid, gid } = this.network.owner;
    for (const description of rights) description.acquire();
    // Without a name there is no address at all (unix_copy_addr).
    const from: UnixAddress | undefined =
      sender.#shownName === "" ? undefined : { family: AF_UNIX, path: sender.#shownName };
    this.#received.push({ bytes, from, rights, credentials: { pid, uid, gid } }, this.type === SOCK_STREAM);
    this.changed();
  }

  #sendMessage(from: IoVector, options: SendOptions): number {
    const { to } = options;
    let peer = this.#peer;
    if (to !== undefined && this.#isDatagram) {
      if (to.family !== AF_UNIX) throw new SyscallError("EINVAL");
      peer = this.#find(to);
      if (peer === undefined) throw new SyscallError(this.#isThere(to.path) ? "ECONNREFUSED" : "ENOENT");
    }
    this.throwError();
    if (this.shutdownMask & SEND_SHUTDOWN) throw new SyscallError("EPIPE");
    if (peer === undefined) throw new SyscallError("ENOTCONN");
    if (peer.closed) throw new SyscallError(this.#isDatagram ? "ECONNREFUSED" : "EPIPE");
    if (peer.shutdownMask & RCV_SHUTDOWN) throw new SyscallError("EPIPE");
    // A datagram socket that is connected hears its peer only (unix_may_send).
    if (this.#isDatagram && peer.#peer !== undefined && peer.#peer !== this) throw new SyscallError("EPERM");
    const length = from.remaining;
    if (length > this.sendBuffer - 32) throw new SyscallError("EMSGSIZE");
    if (this.#isFull(peer)) {
      this.#noSpace = true;
      peer.#blocked.add(this);
      return WOULD_BLOCK;
    }
    const bytes = from.take(length);
    if (bytes.length < length) from.fault();
    peer.#arrived(bytes, this, options.rights);
    return length;
  }

  /** Is there no room for one more message? Two datagram sockets that are connected with each other have more of it. */
  #isFull(peer: UnixSocket): boolean {
    if (this.#isDatagram && peer.#peer !== this) return peer.#received.length > MAX_QUEUE;
    return peer.#received.bytes + MESSAGE_OVERHEAD * peer.#received.length >= this.sendBuffer;
  }

  override receive(to: IoVector, flags: number): Received | undefined {
    if (flags & MSG_ERRQUEUE) throw new SyscallError("EAGAIN");
    if (flags & MSG_OOB) throw new SyscallError(this.type === SOCK_STREAM ? "EINVAL" : "ENOTSUP");
    if (!this.#isDatagram && (this.#state === "unconnected" || this.#state === "listening")) {
      throw new SyscallError(this.type === SOCK_STREAM ? "EINVAL" : "ENOTCONN");
    }
    if (this.#received.length > 0) {
      const received =
        this.type === SOCK_STREAM ? this.#received.shiftBytes(to, flags) : this.#received.shiftMessage(to, flags);
      if (!(flags & MSG_PEEK)) this.#consumed();
      return received;
    }
    this.throwError();
    if (this.shutdownMask & RCV_SHUTDOWN) return { count: 0, length: 0, from: undefined, flags: 0, rights: [] };
    return undefined;
  }

  #consumed(): void {
    if (this.#outside !== undefined && this.#outsidePaused && this.#received.bytes < this.receiveBuffer) {
      this.#outsidePaused = false;
      this.#outside.resume();
    }
    if (this.#peer !== undefined) this.#peer.#hasRoom();
    for (const sender of [...this.#blocked]) {
      this.#blocked.delete(sender);
      sender.#hasRoom();
    }
  }

  #hasRoom(): void {
    if (!this.#noSpace || !this.#isWritable) return;
    this.#noSpace = false;
    this.changed();
  }

  /** include/net/af_unix.h, unix_writable: a quarter of the buffer must be free of what others have not read. */
  get #isWritable(): boolean {
    if (this.type === SOCK_STREAM) return this.#room() * 4 >= this.sendBuffer;
    const peer = this.#peer;
    if (peer === undefined) return true;
    return !this.#isFull(peer);
  }

  override shutdown(how: number): void {
    const mask = how === SHUT_RDWR ? SHUTDOWN_MASK : how + 1;
    this.shutdownMask |= mask;
    if (this.type !== SOCK_DGRAM) {
      // What one side no longer sends, the other no longer receives, and the other way round.
      const other = ((mask & RCV_SHUTDOWN) << 1) | ((mask & SEND_SHUTDOWN) >> 1);
      if (this.#peer !== undefined) {
        this.#peer.shutdownMask |= other;
        this.#peer.changed();
      }
      if (how !== SHUT_RD) this.#outside?.finish();
    }
    this.changed();
  }

  /** net/unix/af_unix.c, unix_poll and unix_dgram_poll. */
  override poll(): number {
    let mask = 0;
    const { shutdownMask } = this;
    if (this.error !== undefined) mask |= POLLERR;
    if (shutdownMask === SHUTDOWN_MASK) mask |= POLLHUP;
    if (shutdownMask & RCV_SHUTDOWN) mask |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (this.#received.length > 0 || this.#queue.length > 0) mask |= POLLIN | POLLRDNORM;
    if (this.type !== SOCK_DGRAM && this.#state === "unconnected") mask |= POLLHUP;
    if (this.#state === "connecting" || this.#state === "listening") return mask;
    if (this.#isWritable) mask |= POLLOUT | POLLWRNORM;
    else {
      this.#noSpace = true;
      if (this.type !== SOCK_STREAM && this.#peer !== undefined) this.#peer.#blocked.add(this);
    }
    return mask;
  }

  protected override destroy(): void {
    this.closed = true;
    const hadUnread = this.#received.length > 0 || this.#state === "listening";
    this.#received.clear();
    this.#listener?.close();
    if (this.#waitsFor !== undefined) this.#waitsFor.#waiting.delete(this);
    for (const child of this.#queue.splice(0)) child.release();
    for (const socket of [...this.#waiting]) {
      socket.#state = "unconnected";
      socket.error = "ECONNREFUSED";
      socket.changed();
    }
    const peer = this.#peer;
    this.#peer = undefined;
    if (peer !== undefined && !this.#isDatagram && !peer.closed) {
      if (hadUnread) peer.error = "ECONNRESET";
      peer.shutdownMask = SHUTDOWN_MASK;
      peer.changed();
    }
    for (const sender of [...this.#blocked]) sender.changed();
    if (this.#outside !== undefined) {
      if (this.#state === "connecting") this.#outside.reset();
      else this.#outside.close();
    }
    this.#forgetName();
  }
}
